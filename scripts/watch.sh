#!/usr/bin/env bash
# TensorBoard over a folder of work dirs, on 127.0.0.1 only: what trainings and evaluations write to tf_logs/.
#
#   watch.sh FOLDER
set -euo pipefail
: "${PORT:=6006}"
# shellcheck source=scripts/listen.sh
. "$(dirname "$0")/listen.sh"
echo "curves of $1: http://127.0.0.1:$PORT/#custom_scalars   (Ctrl-C ends it)"
exec tensorboard --logdir "$1" --host "$address" --port "$listen" --reload_interval 10
