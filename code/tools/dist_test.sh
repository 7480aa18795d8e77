#!/usr/bin/env bash
# Tracking inference and evaluation with the scenes sharded over GPU_NUM processes.
# usage: dist_test.sh CONFIG CKPT GPU_NUM [options of test_tracking.py]
# GPU_NUM 0: one process on the CPU; DEVICE=cpu with GPU_NUM n: n processes on the CPU.
set -euo pipefail

if [ $# -lt 3 ]; then
  echo "error: usage: dist_test.sh CONFIG CKPT GPU_NUM [options of test_tracking.py]" >&2
  exit 2
fi
config=$1 checkpoint=$2 gpus=$3
shift 3
exec "${PYTHON:-python}" "$(dirname "$0")/test_tracking.py" "$config" "$checkpoint" \
  --gpus "$gpus" "$@"
