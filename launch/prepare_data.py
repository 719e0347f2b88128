"""Prepares an image data set, once; needs TensorFlow: pip install 'inverse_matching[data]'.

    python -m launch.prepare_data --dataset=mnist --data_dir=runs/data
    python -m launch.prepare_data --dataset=mnist --data_dir=runs/data --archives=archives

The second takes the original files from archives/mnist and needs no network.
"""
from absl import flags

from inverse_matching.data import prepare, tfds_images
from launch import common

FLAGS = common.FLAGS
flags.DEFINE_enum('dataset', None, list(tfds_images.SIZES), 'Data set.', required=True)
flags.DEFINE_string('data_dir', None, 'Folder of prepared data sets, as in config.data.data_dir; default: the environment '
                    'variable TFDS_DATA_DIR, else ~/tensorflow_datasets.')
flags.DEFINE_string('archives', None, 'Folder that holds the original files in a folder of the name of the data set; nothing '
                    'is downloaded then.')


def main() -> None:
  prepare.prepare(FLAGS.dataset, FLAGS.data_dir, FLAGS.archives)


if __name__ == '__main__':
  common.run(main)
