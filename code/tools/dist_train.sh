#!/usr/bin/env bash
# Train on several GPUs, machines or CPU processes (torchrun underneath).
#
#   bash tools/dist_train.sh CONFIG GPU_NUM [options of train.py]
#
# GPU_NUM 0: one process on the CPU.  Variables: DEVICE (auto; cpu: GPU_NUM gloo processes), LOAD_FROM,
# MAX_RESTARTS (3), PYTHON (python), STOPPED_STATUS (0; exit status of a training that a signal stopped).
# Several machines: NNODES (1), NODE_RANK, MASTER_ADDR, MASTER_PORT (PORT, 29500), LOCAL_ADDR (the address
# towards MASTER_ADDR), JOIN_TIMEOUT (600 s); where an operator such as Kubeflow's sets PET_NNODES and
# PET_NODE_RANK, or WORLD_SIZE and RANK for its pods, those.
set -euo pipefail

fail() {
    echo "error: $*" >&2
    exit 2
}
if [ $# -lt 2 ] || ! [[ "$2" =~ ^[0-9]{1,4}$ ]]; then
    fail "usage: dist_train.sh CONFIG GPU_NUM [options]; GPU_NUM 0 is the CPU"
fi
config=$1 processes=$2
shift 2
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
python=${PYTHON:-python}
device=${DEVICE:-auto}

nodes=${NNODES:-${PET_NNODES:-${WORLD_SIZE:-1}}}
rank=${NODE_RANK:-${PET_NODE_RANK:-${RANK:-}}}
master=${MASTER_ADDR:-${PET_MASTER_ADDR:-}}
port=${MASTER_PORT:-${PORT:-${PET_MASTER_PORT:-}}}
# What is left of an operator's would make processes wait for others that torchrun does not start.
unset WORLD_SIZE RANK LOCAL_RANK LOCAL_WORLD_SIZE MASTER_ADDR MASTER_PORT
while read -r name; do unset "$name"; done < <(compgen -v PET_)
for given in "NNODES=$nodes" "NODE_RANK=${rank:-0}" "MASTER_PORT=${port:-29500}" \
    "MAX_RESTARTS=${MAX_RESTARTS:-3}" "JOIN_TIMEOUT=${JOIN_TIMEOUT:-600}" \
    "STOPPED_STATUS=${STOPPED_STATUS:-0}"; do
    [[ ${given#*=} =~ ^[0-9]{1,9}$ ]] || fail "$given: must be a whole number"
done
nodes=$((10#$nodes))
[ "$nodes" -ge 1 ] || fail "NNODES=0: must be at least 1"
[ $((10#${JOIN_TIMEOUT:-600})) -ge 1 ] || fail "JOIN_TIMEOUT=$JOIN_TIMEOUT: must be at least 1 s"
if [ $((10#${port:-29500})) -lt 1 ] || [ $((10#${port:-29500})) -gt 65535 ]; then
    fail "MASTER_PORT=$port: must be between 1 and 65535"
fi
if [ "$nodes" -gt 1 ]; then
    if [ -z "$master" ] || [ -z "$rank" ]; then
        fail "NNODES=$nodes needs MASTER_ADDR (the first machine) and NODE_RANK (0, 1, ...)"
    fi
    [ $((10#$rank)) -lt "$nodes" ] || fail "NODE_RANK=$rank: the machines are numbered 0 to $((nodes - 1))"
    : "${port:=29500}"
    case $master in *:*) master=[${master//[][]/}] ;; esac # IPv6
else
    master=localhost
fi
if [ "$processes" -eq 0 ]; then device=cpu; elif [ "$device" = auto ]; then device=cuda; fi

if [ "$processes" -le 1 ] && [ "$nodes" -eq 1 ]; then # plain process: pdb works
    exec "$python" "$here/train.py" "$config" --device "$device" "$@"
fi
[ "$processes" -gt 0 ] || processes=1

# One process checks everything first, so that a mistake is one line, not one per worker; the workers
# print the plan.
LOCAL_WORLD_SIZE=$processes "$python" "$here/train.py" "$config" --device "$device" "$@" --dry-run >/dev/null

if [ -z "$port" ]; then
    rendezvous=(--standalone)
else
    rendezvous=(
        --rdzv-backend c10d --rdzv-id "${JOB_ID:-pftrack}" --rdzv-endpoint "$master:$port"
        --rdzv-conf "is_host=$([ $((10#${rank:-0})) -eq 0 ] && echo true || echo false)"
    )
fi
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
export PYTHONPATH="$here/..${PYTHONPATH:+:$PYTHONPATH}"
exec "$python" -m pftrack.training.launch \
    --nnodes "$nodes" --nproc-per-node "$processes" --max-restarts "${MAX_RESTARTS:-3}" \
    "${rendezvous[@]}" "$here/train.py" "$config" --device "$device" "$@"
