"""The sections that configs of images share: heads and kinds of teachers, students, what the figures need."""
from typing import Any, Mapping

from ml_collections.config_dict import placeholder

# Fields of a PixelCNN++ teacher besides its network. None: the default, which for `elementwise` is gaussian.
HEAD = dict(
    elementwise=placeholder(str),  # the map of a sub-pixel, given those before it
    num_mixtures=placeholder(int),  # components of a mixture of logistics
    num_units=placeholder(int), num_layers=placeholder(int),  # of `neural`
    prior=placeholder(str),  # of z: normal or uniform
    levels=placeholder(int),  # of discrete data
    max_log_scale=placeholder(float),  # the bound of log sigma; None is 7
    network_input=placeholder(str),  # intensity: tanh(x / 2), with data.logit_lambda; None is x
    order=placeholder(str))  # of the pixels: raster, reversed, columns or random


def teacher_kinds(levels: int, transformer: Mapping[str, Any]) -> dict[str, Any]:
  """Kind of teacher -> overlay.

  Args:
    levels: of the data.
    transformer: the settings of that teacher.
  """
  # Discrete data: no logit, and so no intensity of one.
  levels_of = lambda **teacher: dict(teacher=dict(teacher, network_input=placeholder(str)),
                                     data=dict(logit_lambda=placeholder(float), end_noise=placeholder(str)))
  return {
      'gaussian': {},
      # In the space of the discrete ones: what differs from them is the head alone.
      'gaussian_in_levels': levels_of(),
      'logistic': dict(teacher=dict(elementwise='logistic')),
      'mixture_of_logistics': dict(teacher=dict(elementwise='mixture_of_logistics', num_mixtures=5)),
      'neural': dict(teacher=dict(elementwise='neural', num_units=8, num_layers=2)),
      'categorical': levels_of(elementwise='categorical', levels=levels),
      'discretized_mixture_of_logistics': levels_of(elementwise='discretized_mixture_of_logistics', num_mixtures=5,
                                                    levels=levels),
      'column_order': dict(teacher=dict(order='columns'), student=dict(order='columns')),
      'random_order': dict(teacher=dict(order='random'), student=dict(order='random')),
      'transformer': dict(teacher=dict(name='transformer', **transformer)),
  }


KINDS = tuple(teacher_kinds(levels=2, transformer={}))
SMOKE_KINDS = ('mixture_of_logistics', 'categorical', 'transformer')


def loss(name: str, *, distance: str = 'l2', noise_std: float = 0.0, estimator: str = 'total') -> dict[str, Any]:
  """The section config.loss.

  Args:
    name: of the loss.
    distance: l1, l2, or l1_l2, the mean of both.
    noise_std: standard deviation of what x-reconstruction adds to z = T(x).
    estimator: of the gradient of reverse KL, total or path.
  """
  return dict(name=name, distance=distance, noise_std=noise_std, estimator=estimator)


def x_reconstruction(resnet: Mapping[str, Any], distance: str, noise_std: float = 0.0) -> dict[str, Any]:
  """The overlay of a ResNet student; for the settings of its loss see `loss`."""
  return dict(student=dict(resnet), loss=loss('x_reconstruction', distance=distance, noise_std=noise_std))


def few_step(resnet: Mapping[str, Any]) -> dict[str, Any]:
  """The section config.student of a student of a few steps with the network of a ResNet."""
  shared = ('num_blocks', 'num_filters', 'dilations', 'dropout')
  return {'name': 'few_step', 'num_steps': 1, **{name: resnet[name] for name in shared}}


def arms(resnet: Mapping[str, Any], **sections: Mapping[str, Any]) -> dict[str, Any]:
  """Name of a student, network/loss -> overlay; `resnet` is the section config.student of all ResNets, and other sections are
  overlays for all students."""
  students = {
      'flow/reverse_kl': dict(loss=loss('reverse_kl')),
      'flow/reverse_kl_path': dict(loss=loss('reverse_kl', estimator='path')),
      'flow/z_reconstruction': dict(loss=loss('z_reconstruction')),
      'flow/x_reconstruction': dict(loss=loss('x_reconstruction')),
      'flow/oracle_prediction': dict(loss=loss('oracle_prediction')),
      # Not the paper's.
      'flow/mixture': dict(loss=dict(loss('mixture'), alpha_end=0.5)),
      'flow/oracle_prediction_on': dict(loss=loss('oracle_prediction')),  # trained on, beside other objectives that are
      'flow/energy_score': dict(loss=loss('energy_score')),
      'flow/energy_oracle': dict(loss=loss('energy_oracle')),
      'resnet/energy_score': dict(student=dict(resnet), loss=loss('energy_score')),
      'resnet/energy_oracle': dict(student=dict(resnet), loss=loss('energy_oracle')),
      'resnet/x_reconstruction_l2_denoising': dict(
          student=dict(resnet), loss=dict(loss('x_reconstruction'), data_noise_std=0.1)),
      'few_step/flow_matching': dict(student=few_step(resnet), loss=dict(loss('flow_matching'), data_noise_std=0.05)),
      'few_step/flow_matching_independent': dict(student=few_step(resnet), loss=dict(loss('flow_matching'),
                                                                                      coupling='independent')),
      # The paper's noise is "N(0, 0.5)": taken as a standard deviation here.
      'resnet/x_reconstruction_l2': x_reconstruction(resnet, 'l2'),
      'resnet/x_reconstruction_l1': x_reconstruction(resnet, 'l1'),
      'resnet/x_reconstruction_l2_noise': x_reconstruction(resnet, 'l2', noise_std=0.5),
      'resnet/x_reconstruction_l1_noise': x_reconstruction(resnet, 'l1', noise_std=0.5),
      'resnet/x_reconstruction_l1_l2_noise': x_reconstruction(resnet, 'l1_l2', noise_std=0.5),
      'resnet/oracle_prediction_features': dict(student=dict(resnet), loss=loss('oracle_prediction', distance='features')),
      'resnet/oracle_prediction_l2': dict(student=dict(resnet), loss=loss('oracle_prediction')),
      'resnet/oracle_prediction_l1': dict(student=dict(resnet), loss=loss('oracle_prediction', distance='l1')),
  }
  return {name: {**overlay, **sections} for name, overlay in students.items()}


# Arms of the figures, in the order of their panels.
FIGURE_4 = ('flow/reverse_kl', 'flow/z_reconstruction', 'flow/x_reconstruction', 'flow/oracle_prediction')
FIGURE_5 = ('resnet/x_reconstruction_l2', 'resnet/x_reconstruction_l1', 'resnet/x_reconstruction_l2_noise',
            'resnet/x_reconstruction_l1_noise', 'resnet/x_reconstruction_l1_l2_noise')
FIGURE_6 = ('resnet/x_reconstruction_l1_noise',)
WARM_START = dict(  # objectives from random weights and from those of a good student
    good='flow/oracle_prediction',  # the arm of that student
    arms=('flow/reverse_kl',), control='flow/oracle_prediction',  # what trains on beside them
    rates=dict(random=(1e-3,), good=(1e-4, 1e-3)),  # of learning, each of which is followed
    every=100,  # updates between two checkpoints
    updates=(0, 100, 500, 2000),  # at which samples are drawn; multiples of these, and the last ends the run
    num_seeds=dict(random=3, good=3),
    training={})  # sections that overlay those of the arm
FACTORS = dict(  # what moves an objective: levels, low and high
    arm='flow/reverse_kl', good='flow/oracle_prediction',  # whose objective; whose student is a good start
    levels=dict(batch_size=(64, 256), learning_rate=(1e-4, 1e-3), start=('random', 'good')),
    updates=1000, every=250, num_seeds=3)
SMOKE_FACTORS = dict(FACTORS, levels=dict(FACTORS['levels'], batch_size=(32, 64)), updates=2, every=1, num_seeds=2)
SMOKE_WARM_START = dict(WARM_START, rates=dict(random=(1e-3,), good=(1e-3,)), every=50, updates=(0, 100),
                        num_seeds=dict(random=1, good=1))
BUDGET = dict(  # what distillation buys
    arms=('resnet/oracle_prediction_l2', 'resnet/x_reconstruction_l2', 'resnet/energy_score',
          'resnet/oracle_prediction_features', 'few_step/flow_matching', 'few_step/flow_matching_independent',
          'resnet/x_reconstruction_l2_noise',
          'resnet/energy_oracle', 'resnet/oracle_prediction_l1', 'flow/oracle_prediction', 'flow/reverse_kl', 'flow/mixture',
          'resnet/x_reconstruction_l2_denoising', 'flow/oracle_prediction_on'),
    baseline=dict(  # that others are compared with, by their network; that of resnet in full size too
        resnet='resnet/oracle_prediction_l2', few_step='resnet/oracle_prediction_l2', flow='flow/oracle_prediction'),
    matched=('resnet/x_reconstruction_l2_noise', 'resnet/x_reconstruction_l2_denoising'),  # sampled from a wide prior too
    comparisons=(  # further ones in the same size; reverse KL and the mixture begin with a trained student, as does `_on`
        ('resnet/x_reconstruction_l2_noise', 'resnet/x_reconstruction_l2'),
        ('resnet/x_reconstruction_l2_denoising', 'resnet/x_reconstruction_l2'),
        ('few_step/flow_matching', 'few_step/flow_matching_independent'),
        ('flow/reverse_kl', 'flow/oracle_prediction_on'), ('flow/mixture', 'flow/oracle_prediction_on'),
        ('flow/oracle_prediction', 'resnet/oracle_prediction_l2')),
    classifier_seed=1,  # of one that measures, beside that of the evaluation
    small=('1/16', '1/4'), full='1',  # the sizes of all arms, and that of the best ones
    num_seeds=3, num_best=2,  # of training; arms beside the baseline that are trained in the full size too
    passes=1500, every=300, tuning=300,  # of the student; in all, between checkpoints, and to choose the rate by
    rates=(5e-4, 2e-3, 8e-3), steps=(1, 2, 4),  # to choose from; of few_step
    course=1000, choice=2000,  # samples at each checkpoint, to follow a training and to choose one
    then={arm: dict(first='flow/oracle_prediction', passes=300, every=30, rates=(3e-5, 1e-4, 3e-4))  # how an arm begins
          for arm in ('flow/reverse_kl', 'flow/mixture', 'flow/oracle_prediction_on')})
SMOKE_BUDGET = dict(
    BUDGET, small=('1/4',), num_seeds=2, num_best=1, passes=12, every=6, tuning=6, rates=(1e-3,), steps=(1, 2), course=40,
    choice=40, then={arm: dict(first='flow/oracle_prediction', passes=6, every=3, rates=(1e-4,))
          for arm in ('flow/reverse_kl', 'flow/mixture', 'flow/oracle_prediction_on')})


def sizes(flow: Mapping[str, Mapping[str, Any]], resnet: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
  """config.budget.sizes: size -> network -> settings; `flow` and `resnet`, which is few_step too, have them by size."""
  return {size: dict(flow=dict(flow[size]), resnet=dict(resnet[size]), few_step=dict(resnet[size])) for size in flow}


TEACHERS_STUDY = ('resnet/x_reconstruction_l1', 'resnet/oracle_prediction_l1')  # ResNets suit a teacher of any order
MAIN = dict(figures={'5': ('resnet/x_reconstruction_l1', 'resnet/x_reconstruction_l1_noise')})  # overlay of the word `main`
PATH = dict(figures={'4': ('flow/reverse_kl', 'flow/reverse_kl_path', *FIGURE_4[1:])})  # overlay of the word `path`
