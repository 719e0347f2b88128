"""Installs the package inverse_matching, with launch/ and configs/ inside of it. Tested versions are in requirements.lock."""
import pathlib
import re

import setuptools

ROOT = pathlib.Path(__file__).parent
VERSION = re.search(r"^__version__ = '(.*)'$", (ROOT / 'inverse_matching/__init__.py').read_text(encoding='utf-8'), re.M)[1]
# Inside the package, since other packages and users have folders of those names.
INSIDE = {'inverse_matching.launch': 'launch', 'inverse_matching.configs': 'configs'}

setuptools.setup(
    name='inverse_matching',
    version=VERSION,
    description='Distils autoregressive models into samplers of one pass, in JAX.',
    long_description=(ROOT / 'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    python_requires='>=3.11',
    packages=[*setuptools.find_packages(include=['inverse_matching', 'inverse_matching.*']), *INSIDE],
    package_dir=INSIDE,
    package_data={'inverse_matching': ['py.typed']},
    entry_points={'console_scripts': ['inverse-matching = inverse_matching.launch.console:main']},
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
        'mos': ['librosa', 'onnxruntime', 'requests', 'speechmos'],  # which does not say what it needs
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
