"""Prepares a data set, once: images (needs pip install 'inverse_matching[data]') or speech ('inverse_matching[speech]').

    python -m launch.prepare_data --dataset=mnist --data_dir=runs/data
    python -m launch.prepare_data --dataset=mnist --data_dir=runs/data --archives=archives
    python -m launch.prepare_data --dataset=spoken_digit --data_dir=runs/data --archives=archives
    python -m launch.prepare_data --dataset=recordings --data_dir=runs/data --archives=my/recordings --rate=16000

The second takes the original files from archives/mnist and needs no network; the third, those of archives/spoken_digit; the
last, all wav and flac files in a folder.
"""
from absl import flags

from inverse_matching.data.images import prepare as prepare_images
from inverse_matching.data.images import tfds as tfds_images
from inverse_matching.data.speech import recordings
from inverse_matching.data.speech.corpora import CORPORA
from inverse_matching.errors import InputError

from . import common

FLAGS = common.FLAGS
flags.DEFINE_enum('dataset', None, [*tfds_images.SETS, *CORPORA], 'Data set.', required=True)
flags.DEFINE_string('data_dir', None, 'Folder of prepared data sets, as in config.data.data_dir; default: the environment '
                    'variable TFDS_DATA_DIR, else ~/tensorflow_datasets.')
flags.DEFINE_string('archives', None, 'Folder that holds the original files in a folder of the name of the data set; nothing '
                    'is downloaded then. For --dataset=recordings, a folder or an archive of wav or flac files.')
flags.DEFINE_integer('rate', None, 'Samples per second of speech; default: that of the data set.')
flags.DEFINE_string('speaker', None, 'Whose recordings of spoken_digit to take, or all; default: jackson.')


def main() -> None:
  if FLAGS.dataset in CORPORA:
    return recordings.prepare(FLAGS.dataset, FLAGS.data_dir, FLAGS.archives, rate=FLAGS.rate, speaker=FLAGS.speaker)
  for flag in ('rate', 'speaker'):
    if FLAGS[flag].present:
      raise InputError(f'--{flag} is for speech, and {FLAGS.dataset} has images: leave it out.')
  prepare_images.prepare(FLAGS.dataset, FLAGS.data_dir, FLAGS.archives)


if __name__ == '__main__':
  common.run(main)
