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
    package_data={'launch': ['*.sh', '*.yaml']},
    install_requires=[
        'absl-py',
        'array_record; sys_platform != "win32"',
        'flax',
        'grain',
        'jax>=0.10',
        'matplotlib',
        'ml_collections>=1',
        'numpy>=2',
        'optax>=0.2.6',
        'orbax-checkpoint>=0.12',
        'pillow',
        'safetensors',
        'scikit-learn',
        'scipy',
        'tensorflow-datasets>=4.9.10',  # reads without TensorFlow
        'threadpoolctl',
        'tqdm',
    ],
    extras_require={
        'data': [  # to prepare image data sets
            'importlib_resources',  # tensorflow-datasets needs it, and does not say so
            'tensorflow-cpu; sys_platform == "linux" and platform_machine == "x86_64"',
            'tensorflow; sys_platform != "linux" or platform_machine != "x86_64"',
        ],
        'eval': ['pystoi'],
        'speech': [
            'importlib_resources',  # see above
            'pyworld-prebuilt',  # pyworld, which has no wheels, under the same name
            'soundfile',
        ],
        'tensorboard': ['tensorboardX'],
        'test': ['chex', 'hypothesis', 'importlib_resources', 'ipykernel', 'nbclient', 'nbformat', 'pystoi', 'pytest',
                 'pytest-xdist', 'pyworld-prebuilt', 'ruff', 'setuptools>=77', 'soundfile'],
    },
)
