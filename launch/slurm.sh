#!/usr/bin/env bash
# A command of this package by several processes on a Slurm cluster, one process per GPU:
#
#   sbatch --nodes=2 launch/slurm.sh train_teacher --config=configs/mnist.py:paper --workdir=runs/mnist/teacher
#
# The folder of the call and the workdir must be seen by all nodes. Before the time limit and on preemption the processes save
# and end, and the job is queued again. PYTHON names the Python, by default that of `make install`.
#SBATCH --job-name=inverse_matching
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=8
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
#SBATCH --signal=B:TERM@120
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x-%j.log
set -euo pipefail
module=${1:?name a command, such as train_teacher}
shift

stopped=
srun --kill-on-bad-exit=1 --cpus-per-task="${SLURM_CPUS_PER_TASK:-1}" \
  "${PYTHON:-.venv/bin/python}" -m "launch.$module" "$@" --distributed &
trap 'stopped=yes; kill -TERM "$!"' TERM  # srun passes it on
status=0
wait "$!" || status=$?
if [ -n "$stopped" ]; then
  status=0
  wait "$!" || status=$?  # the first wait ended with the signal
  scontrol requeue "$SLURM_JOB_ID"
  [ "$status" != 75 ] || status=0  # saved, and in the queue again
fi
exit "$status"
