"""Installs the packages inverse_matching, launch and configs. The versions that are tested are in requirements.lock."""
import pathlib

import setuptools

ROOT = pathlib.Path(__file__).parent

setuptools.setup(
    name='inverse_matching',
    version='0.1.0',
    description='Distils autoregressive models into samplers of one pass, in JAX.',
    long_description=(ROOT / 'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    python_requires='>=3.11',
    packages=setuptools.find_packages(include=['inverse_matching', 'inverse_matching.*', 'launch', 'configs']),
    install_requires=[
        'absl-py',
        'flax',
        'grain',
        'jax>=0.10',
        'matplotlib',
        'ml_collections>=1',
        'numpy>=2',
        'optax>=0.2.6',
        'orbax-checkpoint>=0.12',
        'pillow',
        'scikit-learn',
        'scipy',
        'threadpoolctl',
        'tqdm',
    ],
    extras_require={
        'data': ['importlib_resources', 'tensorflow-cpu', 'tensorflow-datasets'],
        'tensorboard': ['tensorboardX'],
        'test': ['chex', 'hypothesis', 'pytest', 'pytest-xdist', 'ruff', 'setuptools>=77'],
    },
)
