"""Fashion-MNIST: figures 4 and 5 of the paper.

    python -m launch.prepare_data --dataset=fashion_mnist --data_dir=runs/data
    TFDS_DATA_DIR=runs/data python -m launch.reproduce --figure=4,5 --config=configs/fashion_mnist.py:cpu \
      --workdir=runs/fashion_mnist

| variant | what it is | hardware and time for figures 4 and 5 | teacher's bits/dim, held out |
| --- | --- | --- | --- |
| paper | section 4.1.2: 3 blocks, 32 filters, 100 epochs (the default) | a GPU; not run yet | not run yet |
| gpu | the same network, 15 epochs, with averaging and clipping | a GPU, minutes an arm; not run yet | not run yet |
| cpu | all images; teacher 2 blocks, 24 filters, 6 epochs; students 1 block, 4 | 2 CPU cores, half a day | not run yet |
| tiny | 4,000 images, 1 block, 12 filters, 4 epochs | 2 CPU cores, 56 minutes beside other work | 3.58 |
| smoke | the same path, to see that all works | 2 CPU cores, minutes | means nothing |

At the scale `cpu` black pixels have normal noise in the logit (config.data.end_noise).

With commas between: `path` adds reverse KL with the path derivative to figure 4, whose reverse KL has the total derivative;
the name of an arm puts its student and loss into the config, for launch.distill; a kind of teacher, such as `categorical` or
`transformer` (see configs/digits.py), takes another one.
"""
import ml_collections

from inverse_matching.recipes import tfds_images


def get_config(variant: str = 'paper') -> ml_collections.ConfigDict:
  """Config of a variant; see above."""
  return tfds_images.config('fashion_mnist', variant)
