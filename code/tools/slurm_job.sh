# shellcheck shell=bash
# Shared by the scripts that sbatch takes: what the job was given, and the command that starts its steps.
# Sets $gpus, the GPUs of each node, and $step, srun with its options.

fail() {
    echo "error: $*" >&2
    exit 2
}
[[ ${SLURM_JOB_ID:-none} =~ ^[0-9]+$ ]] || fail "SLURM_JOB_ID=${SLURM_JOB_ID:-} is no number: start this script with sbatch"
gpus=${GPUS:-${SLURM_GPUS_ON_NODE:-}}
[ -n "$gpus" ] || fail "this job has no GPUs: give sbatch --gpus-per-node N, or set GPUS=N (GPUS=0: the CPU)"
# From 22.05 on srun does not take the number of cores from sbatch.
[ -z "${SLURM_CPUS_PER_TASK:-}" ] || export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK
# A task may use all cores of its job: the loader's workers are its children. SRUN_OPTIONS: words, nothing in them
# is expanded.
# shellcheck disable=SC2034  # the scripts' own
read -ra step <<<"srun --cpu-bind=none ${SRUN_OPTIONS:-}"
