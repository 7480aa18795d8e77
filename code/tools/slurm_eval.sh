#!/usr/bin/env bash
# Evaluate checkpoints under Slurm, one in each job of an array.
#
#   sbatch --array 0-2 --gpus-per-node 1 --cpus-per-task 8 tools/slurm_eval.sh CKPT CKPT CKPT [-- options of eval.py]
#
# Submit it in code/, with the environment active. Job i of the array evaluates checkpoint i, from 0; a job of its
# own the only one. Variables: GPUS and SRUN_OPTIONS as for slurm_train.sh.
#
#SBATCH --job-name=pftrack-eval
#SBATCH --ntasks=1
#SBATCH --requeue
set -euo pipefail

tools=${SLURM_SUBMIT_DIR:-$PWD}/tools
[ -f "$tools/slurm_job.sh" ] || { echo "error: no $tools/slurm_job.sh: submit this script in code/" >&2 && exit 2; }
# shellcheck source=code/tools/slurm_job.sh
. "$tools/slurm_job.sh"
checkpoints=()
while [ $# -gt 0 ] && [ "$1" != -- ]; do
    checkpoints+=("$1")
    shift
done
[ $# -eq 0 ] || shift
count=${#checkpoints[@]}
[ "$count" -gt 0 ] || fail "usage: sbatch --array 0-N tools/slurm_eval.sh CKPT... [-- options of eval.py]"
index=${SLURM_ARRAY_TASK_ID:-0}
if [ -z "${SLURM_ARRAY_TASK_ID:-}" ] && [ "$count" -gt 1 ]; then
    fail "$count checkpoints and no array: sbatch --array 0-$((count - 1))"
fi
[[ $index =~ ^[0-9]+$ ]] && [ "$index" -lt "$count" ] ||
    fail "job $index of the array has no checkpoint, $count were given: sbatch --array 0-$((count - 1))"
exec "${step[@]}" "${PYTHON:-python}" "$tools/eval.py" "${checkpoints[index]}" --gpus "$gpus" "$@"
