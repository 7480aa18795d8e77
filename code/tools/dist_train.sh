#!/usr/bin/env bash
# Train on several GPUs, nodes or CPU processes (torchrun underneath).
#
#   bash tools/dist_train.sh CONFIG GPU_NUM [options of train.py]
#
# GPU_NUM 0: one process on the CPU.  Variables: DEVICE (auto; cpu: GPU_NUM gloo processes),
# NNODES (1), NODE_RANK, MASTER_ADDR, PORT (29500), MAX_RESTARTS (3), LOAD_FROM, PYTHON (python).
set -euo pipefail

if [ $# -lt 2 ] || ! [[ "$2" =~ ^[0-9]+$ ]]; then
    echo "error: usage: dist_train.sh CONFIG GPU_NUM [options]; GPU_NUM 0 is the CPU" >&2
    exit 2
fi
config=$1 processes=$2
shift 2
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
python=${PYTHON:-python}
nodes=${NNODES:-1}
device=${DEVICE:-auto}
for name in NNODES:$nodes NODE_RANK:${NODE_RANK:-0} PORT:${PORT:-29500} MAX_RESTARTS:${MAX_RESTARTS:-3}; do
    if ! [[ ${name#*:} =~ ^[0-9]{1,9}$ ]]; then
        echo "error: ${name/:/=}: must be a whole number" >&2
        exit 2
    fi
done
if [ "${PORT:-29500}" -lt 1 ] || [ "${PORT:-29500}" -gt 65535 ]; then
    echo "error: PORT=$PORT: must be between 1 and 65535" >&2
    exit 2
fi
if [ "$processes" -eq 0 ]; then device=cpu; elif [ "$device" = auto ]; then device=cuda; fi

if [ "$processes" -le 1 ] && [ "$nodes" -eq 1 ]; then # plain process: pdb works
    exec "$python" "$here/train.py" "$config" --device "$device" "$@"
fi

# One process checks everything first, so that a mistake is one line, not one per worker; the workers
# print the plan.
LOCAL_WORLD_SIZE=$processes "$python" "$here/train.py" "$config" --device "$device" "$@" --dry-run >/dev/null

if [ "$nodes" -eq 1 ] && [ -z "${PORT:-}" ]; then
    rendezvous=(--standalone)
else
    if [ "$nodes" -gt 1 ] && { [ -z "${MASTER_ADDR:-}" ] || [ -z "${NODE_RANK:-}" ]; }; then
        echo "error: NNODES=$nodes needs MASTER_ADDR (the first node) and NODE_RANK (0, 1, ...)" >&2
        exit 2
    fi
    rendezvous=(
        --rdzv-backend c10d --rdzv-id "${JOB_ID:-pftrack}"
        --rdzv-endpoint "${MASTER_ADDR:-localhost}:${PORT:-29500}"
        --rdzv-conf "is_host=$([ "${NODE_RANK:-0}" -eq 0 ] && echo true || echo false)"
    )
fi
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
export PYTHONPATH="$here/..${PYTHONPATH:+:$PYTHONPATH}"
exec "$python" -m pftrack.training.launch \
    --nnodes "$nodes" --nproc-per-node "$processes" --max-restarts "${MAX_RESTARTS:-3}" \
    "${rendezvous[@]}" "$here/train.py" "$config" --device "$device" "$@"
