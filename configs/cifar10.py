"""CIFAR-10: figure 6 of the paper, a PixelCNN teacher beside a ResNet student (l1 x-reconstruction with noise).

    python -m launch.prepare_data --dataset=cifar10 --data_dir=runs/data
    TFDS_DATA_DIR=runs/data python -m launch.reproduce --figure=6 --config=configs/cifar10.py:cpu --workdir=runs/cifar10

The paper does not describe this teacher: it is that of MNIST here, with the three colours of a pixel one after the other.

| variant | what it is | hardware and time for figure 6 | teacher's bits/dim, held out |
| --- | --- | --- | --- |
| paper | 3 blocks, 32 filters, 100 epochs (the default) | a GPU; not run yet | not run yet |
| gpu | the same network, 15 epochs, with averaging and clipping | a GPU, minutes an arm; not run yet | not run yet |
| cpu | 25,000 images; teacher 2 blocks, 24 filters, 12 epochs; students 1 block, 15 | 2 CPU cores, half a day | not run yet |
| tiny | 4,000 images, 1 block, 12 filters, 4 epochs | 2 CPU cores, 26 minutes beside other work | 4.77 |
| smoke | the same path, to see that all works | 2 CPU cores, minutes | means nothing |

Figures 4 and 5 work too. With commas between: `path` adds reverse KL with the path derivative to figure 4; the name of an arm
puts its student and loss into the config, for launch.distill; a kind of teacher (see configs/digits.py) takes another one.
"""
import ml_collections

from inverse_matching.recipes import tfds_images


def get_config(variant: str = 'paper') -> ml_collections.ConfigDict:
  """Config of a variant; see above."""
  return tfds_images.config('cifar10', variant)
