#!/usr/bin/env bash
# Every figure of the paper, in its own setting, on all devices of this machine:
#
#   TFDS_DATA_DIR=runs/data launch/paper.sh runs/paper
#
# Days on one GPU; SCALE=gpu trains less. Stopped and called again it goes on. PYTHON names the Python, by default that of
# `make install`; preparing the data sets needs the extras [data,speech]. Speech is made from recordings that are there already,
# in a folder `ljspeech` of the one that ARCHIVES names, by default archives (docs/data.md): without them the vocoder is left out.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
folder=${1:?name a folder}
scale=${SCALE:-paper}
python=${PYTHON:-.venv/bin/python}

archives=${ARCHIVES:-archives}

for dataset in mnist fashion_mnist cifar10; do
  "$python" -m launch.prepare_data --dataset="$dataset"
done

reproduce() {
  "$python" -m launch.reproduce --figure="$1" --config="configs/$2.py:$scale" --workdir="$folder/$2"
}

"$python" -m launch.reproduce --figure=1,2,3,proposition1 --workdir="$folder/gaussian"
reproduce 4,5,appendix_a mnist
reproduce 4,5 fashion_mnist
reproduce 6 cifar10
if [ -d "$archives/ljspeech" ]; then
  "$python" -m launch.prepare_data --dataset=ljspeech --archives="$archives" --rate=16000
  reproduce vocoder vocoder
else
  echo "No $archives/ljspeech: every figure but that of the vocoder is made." >&2
fi
