#!/usr/bin/env bash
# Train under Slurm, on any number of nodes; a pre-empted job saves, is requeued and resumes.
#
#   sbatch --nodes 2 --gpus-per-node 8 --cpus-per-task 64 tools/slurm_train.sh CONFIG WORK_DIR [options of train.py]
#
# Submit it in code/, with the environment active. Variables: GPUS (those of the job on each node; 0: the CPU),
# SRUN_OPTIONS (words for srun, --container-image=... say); those of dist_train.sh.
#
#SBATCH --job-name=pftrack
#SBATCH --ntasks-per-node=1
#SBATCH --signal=B:USR1@180
#SBATCH --requeue
#SBATCH --open-mode=append
set -euo pipefail

tools=${SLURM_SUBMIT_DIR:-$PWD}/tools
[ -f "$tools/slurm_job.sh" ] || { echo "error: no $tools/slurm_job.sh: submit this script in code/" >&2 && exit 2; }
# shellcheck source=code/tools/slurm_job.sh
. "$tools/slurm_job.sh"
[ $# -ge 2 ] || fail "usage: sbatch tools/slurm_train.sh CONFIG WORK_DIR [options of train.py]"
config=$1 work_dir=$2
shift 2

NNODES=${SLURM_NNODES:-1}
if [ -z "${MASTER_ADDR:-}" ]; then
    # Read in full, then cut: a pipe closed after its first line would stop this script (pipefail).
    hosts=$(scontrol show hostnames "$SLURM_JOB_NODELIST")
    MASTER_ADDR=${hosts%%$'\n'*}
    node=$(scontrol show node -o "$MASTER_ADDR" || true) # Slurm knows an address where nobody knows the name
    if [[ $node =~ \ NodeAddr=([^[:space:]]+) ]]; then MASTER_ADDR=${BASH_REMATCH[1]}; fi
fi
JOB_ID=$SLURM_JOB_ID
MASTER_PORT=${MASTER_PORT:-$((20000 + 10#$SLURM_JOB_ID % 20000))}
export NNODES MASTER_ADDR MASTER_PORT JOB_ID

# shellcheck disable=SC2016  # SLURM_NODEID is each task's own
"${step[@]}" bash -c 'NODE_RANK=$SLURM_NODEID exec bash "$@"' task \
    "$tools/dist_train.sh" "$config" "$gpus" --work-dir "$work_dir" --auto-resume "$@" &
training=$!

# Before the time limit, and before a pre-emption where SlurmctldParameters has preempt_send_user_signal, Slurm warns this
# shell alone: USR1 goes on to the processes, which save. (TERM must not: srun would kill all of them.) Elsewhere
# a pre-emption sends the processes TERM and tells this shell nothing, so it asks. TERM is left alone here:
# scancel sends it.
requeue() {
    echo "saved before the end of the job: queued again" >&2
    scontrol requeue "$SLURM_JOB_ID"
    exit
}
# shellcheck disable=SC2329  # the trap calls it
warned() {
    trap '' USR1
    kill -USR1 "$training" 2>/dev/null || true
    wait "$training" || true
    requeue
}
trap warned USR1
status=0
wait "$training" || status=$?
trap '' USR1
job=$(scontrol show job -o "$SLURM_JOB_ID" || true)
if [[ $job =~ \ StartTime=([0-9T:-]+) ]] && started=${BASH_REMATCH[1]} &&
    [[ $job =~ \ PreemptTime=([0-9T:-]+) && ! ${BASH_REMATCH[1]} < $started ]]; then
    requeue
fi
exit "$status"
