#!/usr/bin/env bash
# Train under Slurm, on any number of nodes; a pre-empted job saves, is requeued and resumes.
#
#   sbatch --nodes 2 --gpus-per-node 8 tools/slurm_train.sh CONFIG WORK_DIR [options of train.py]
#
#SBATCH --job-name=pftrack
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=64
#SBATCH --signal=B:USR1@180
#SBATCH --requeue
#SBATCH --open-mode=append
set -euo pipefail

if [ $# -lt 2 ]; then
    echo "error: usage: sbatch tools/slurm_train.sh CONFIG WORK_DIR [options of train.py]" >&2
    exit 2
fi
config=$1 work_dir=$2
shift 2
here=${SLURM_SUBMIT_DIR:-$PWD}/tools
gpus=${SLURM_GPUS_ON_NODE:-8}
NNODES=${SLURM_NNODES:-1}
# Read in full, then cut: a pipe closed after its first line would stop this script (pipefail).
hosts=$(scontrol show hostnames "${SLURM_JOB_NODELIST:?start this script with sbatch}")
MASTER_ADDR=${hosts%%$'\n'*}
JOB_ID=${SLURM_JOB_ID}
if ! [[ $JOB_ID =~ ^[0-9]+$ ]]; then # it is computed with below
    echo "error: SLURM_JOB_ID=$JOB_ID is no number" >&2
    exit 2
fi
PORT=$((20000 + SLURM_JOB_ID % 20000))
export NNODES MASTER_ADDR JOB_ID PORT

# shellcheck disable=SC2016  # SLURM_NODEID is each task's own
srun bash -c 'NODE_RANK=$SLURM_NODEID exec bash "$@"' task \
    "$here/dist_train.sh" "$config" "$gpus" --work-dir "$work_dir" --auto-resume "$@" &
step=$!
# Slurm warns this shell 180 s before the end: pass it on, wait for the save, queue again.
trap 'kill -TERM "$step"; wait "$step" || true; scontrol requeue "$SLURM_JOB_ID"' USR1
wait "$step"
