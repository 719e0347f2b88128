"""The neural vocoder of section 4.1.4: SampleRNN teacher, WaveNet student, WORLD features.

    python -m launch.prepare_data --dataset=spoken_digit --data_dir=runs/data
    TFDS_DATA_DIR=runs/data python -m launch.reproduce --figure=vocoder --config=configs/vocoder.py:demo --workdir=runs/vocoder

| variant | what it is | hardware and time |
| --- | --- | --- |
| demo | one speaker of spoken_digit, 8 kHz (the default) | 1 h 40 min on one CPU core: results/vocoder |
| gpu | ljspeech at 16 kHz, half the paper's widths | a GPU; not run yet |
| paper | ljspeech at 16 kHz: teacher 1024 wide, six flows of 10 layers of 64 channels | a GPU; not run yet |
| smoke | synthetic speech, to see that all works; needs no data | 2 CPU cores, minutes |

With commas between: the name of an arm puts its loss into the config, for launch.distill. The paper gives the frame sizes of
neither network, no widths of the teacher, no data and no number of steps; those here are of related public work.

The demo departs from the paper in one thing: its features tell the phase of the voice too (config.data.phase). With three
minutes of one voice and minutes of training, a teacher that has to find the phase by itself whispers: voiced recall 0.73 on
held-out utterances after 4,320 steps.
"""
import ml_collections

from configs import common

SPECTRUM = dict(kind='magnitude', weight=1.0)
ARMS = ('flow/x_reconstruction', 'flow/oracle_prediction', 'flow/regularized_kl', 'flow/regularized_kl_spectral')

SCALES = {
    'demo': dict(
        data=dict(name='spoken_digit', phase=True, crop_frames=60, burn_in_frames=20), hop=40,
        teacher=dict(frame_sizes=(40, 8), width=128), student=dict(num_flows=6, num_layers=7, width=24),
        optimizer=dict(learning_rate=0.002, decay_rate=0.75), train=dict(batch_size=4, num_epochs=10),
        teacher_study=dict(optimizer=dict(name='adam', learning_rate=0.002, decay_rate=0.95),
                           train=dict(batch_size=8, num_epochs=60)),
        num_drawn=3600, num_seeds=3),
    'gpu': dict(
        data=dict(name='ljspeech', crop_frames=120, burn_in_frames=20), hop=80,
        teacher=dict(frame_sizes=(80, 10), width=512), student=dict(num_flows=6, num_layers=10, width=32),
        optimizer=dict(learning_rate=0.001, decay_rate=0.98), train=dict(batch_size=16, num_epochs=50),
        teacher_study=dict(optimizer=dict(name='adam', learning_rate=0.001, decay_rate=0.98),
                           train=dict(batch_size=32, num_epochs=100)),
        num_drawn=20000, num_seeds=3),
    'paper': dict(
        data=dict(name='ljspeech', crop_frames=200, burn_in_frames=80), hop=80,
        teacher=dict(frame_sizes=(80, 10), width=1024), student=dict(num_flows=6, num_layers=10, width=64),
        optimizer=dict(learning_rate=0.001, decay_rate=0.99), train=dict(batch_size=8, num_epochs=200),
        teacher_study=dict(optimizer=dict(name='adam', learning_rate=0.001, decay_rate=0.99),
                           train=dict(batch_size=32, num_epochs=200)),
        num_drawn=50000, num_seeds=3),
    'smoke': dict(
        data=dict(name='synthetic', num_train=8, num_held_out=3, crop_frames=40, burn_in_frames=10), hop=40,
        teacher=dict(frame_sizes=(40, 8), width=16), student=dict(num_flows=2, num_layers=4, width=8),
        optimizer=dict(learning_rate=0.002, decay_rate=0.9), train=dict(batch_size=4, num_epochs=1),
        teacher_study=dict(optimizer=dict(name='adam', learning_rate=0.002, decay_rate=0.9),
                           train=dict(batch_size=4, num_epochs=1)),
        num_drawn=16, num_seeds=1),
}
TRAIN = dict(seed=0, ema_decay=0.999, grad_clip=10.0, log_every_steps=10, evaluate_every_epochs=5, checkpoint_every_epochs=1,
             keep_checkpoints=2)


def get_config(variant: str = 'demo') -> ml_collections.ConfigDict:
  """Config of a variant; see above."""
  parts = variant.split(',')
  scales = [part for part in parts if part in SCALES] or ['demo']
  if len(scales) > 1:
    raise ValueError(f'configs/vocoder.py takes one of {", ".join(SCALES)}, not {" and ".join(scales)}.')
  scale = SCALES[scales[0]]
  number = ml_collections.config_dict.placeholder
  config = ml_collections.ConfigDict()
  config.data = {**dict(dither=0.0005, phase=False, split_seed=0, num_train=number(int), num_held_out=number(int)),
                 **scale['data']}
  if scale['data']['name'] != 'synthetic':
    config.data.data_dir = number(str)
  config.teacher = dict(name='samplernn', **scale['teacher'])
  config.student = dict(name='wavenet', **scale['student'])
  config.optimizer = dict(name='adam', **scale['optimizer'])
  config.train = {**TRAIN, **scale['train']}
  # Takes the place of sections of the students while the teacher trains.
  # Its loss is the sum over a crop, not the mean, and so are its gradients.
  config.teacher_study = dict(optimizer=scale['teacher_study']['optimizer'],
                              train={**TRAIN, 'grad_clip': 20000.0, **scale['teacher_study']['train']})
  config.pairs = dict(num=number(int), num_drawn=scale['num_drawn'], seed=1, solver='auto')
  config.evaluation = dict(seed=2, num_seeds=scale['num_seeds'])
  hop = scale['hop']  # 5 ms; the window is of 50 ms and moves by 12.5 (ClariNet)
  spectrum = dict(SPECTRUM, fft_size=2**(10 * hop - 1).bit_length(), window=10 * hop, hop=5 * hop // 2)
  l1 = dict(distance='l1', noise_std=0.0)
  losses = {
      'flow/x_reconstruction': dict(name='x_reconstruction', **l1),
      'flow/reverse_kl': dict(name='reverse_kl', estimator='total'),
      'flow/regularized_kl': dict(name='regularized_kl', regularization=4.0, floor=-7.0),
      'flow/regularized_kl_spectral': dict(name='regularized_kl', regularization=4.0, floor=-7.0, spectrum=spectrum),
      'flow/regularized_kl_power': dict(name='regularized_kl', regularization=4.0, floor=-7.0,
                                        spectrum=dict(spectrum, kind='power', time_average=True)),
      'flow/z_reconstruction': dict(name='z_reconstruction', distance='l1'),
      'flow/oracle_prediction': dict(name='oracle_prediction', distance='l1'),
  }
  config.arms = {arm: dict(loss=loss) for arm, loss in losses.items()}
  # Where the teacher runs away (above 2 in 22 of the demo's 3,600 draws), the distance is up to a thousand times the usual one.
  config.arms['flow/oracle_prediction'].train = {**config.train, 'grad_clip': 0.1}
  config.loss = losses['flow/x_reconstruction']
  config.figures = {'vocoder': ARMS}
  common.apply_arms(config, 'configs/vocoder.py', parts, tuple(SCALES))
  return config
