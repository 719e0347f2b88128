#!/usr/bin/env bash
# Every figure of the paper, in its own setting, on all devices of this machine:
#
#   TFDS_DATA_DIR=runs/data launch/paper.sh runs/paper
#
# Days on one GPU; SCALE=gpu trains less. Stopped and called again it goes on. PYTHON names the Python, by default that of
# `make install`; preparing the data sets needs the extras [data,speech].
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
folder=${1:?name a folder}
scale=${SCALE:-paper}
python=${PYTHON:-.venv/bin/python}

for dataset in mnist fashion_mnist cifar10 ljspeech; do
  "$python" -m launch.prepare_data --dataset="$dataset"
done

reproduce() {
  "$python" -m launch.reproduce --figure="$1" --config="configs/$2.py:$scale" --workdir="$folder/$2"
}

"$python" -m launch.reproduce --figure=1,2,3,proposition1 --workdir="$folder/gaussian"
reproduce 4,5,appendix_a mnist
reproduce 4,5 fashion_mnist
reproduce 6 cifar10
reproduce vocoder vocoder
