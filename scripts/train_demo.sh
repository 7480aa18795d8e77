#!/usr/bin/env bash
# The demo checkpoints' training: scripts/train_demo.sh OUT SECONDS [options of the trainer].
set -euo pipefail
cd "$(dirname "$0")/../code"
export OMP_NUM_THREADS=1 PYTHONUNBUFFERED=1
out=$1 seconds=$2
shift 2
exec "${PYTHON:-python3}" -m laboratory.demo_training.train "$out" "$seconds" "$@"
