#!/usr/bin/env bash
# A command of this package on all workers of a TPU slice, by gcloud. Once, then as often as needed:
#
#   TPU=my-tpu ZONE=us-central2-b launch/tpu_vm.sh install
#   TPU=my-tpu ZONE=us-central2-b launch/tpu_vm.sh train_teacher --config=configs/mnist.py:paper --config.data.data_dir=/shared/data \
#     --workdir=/shared/mnist/teacher
#
# The workdir and the prepared data must be on a disk that all workers have mounted, such as Filestore. After a preemption, and when the slice is there
# again, the same call goes on.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
module=${1:?install, or name a command, such as train_teacher}
shift

tpu() {
  gcloud compute tpus tpu-vm "$1" --zone="${ZONE:?set ZONE}" --worker=all "${@:2}"
}

if [ "$module" = install ]; then
  archive=$(mktemp)
  trap 'rm -f "$archive"' EXIT
  git archive --format=tar.gz --output="$archive" HEAD
  tpu scp "$archive" "${TPU:?set TPU}:inverse_matching.tar.gz"
  tpu ssh "$TPU" --command='mkdir -p inverse_matching && tar -C inverse_matching -xzf inverse_matching.tar.gz &&
    make -C inverse_matching install && inverse_matching/.venv/bin/pip install --upgrade "jax[tpu]"'
else
  tpu ssh "${TPU:?set TPU}" --command="cd inverse_matching && .venv/bin/python -m launch.$module $(printf '%q ' "$@")--distributed"
fi
