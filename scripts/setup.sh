#!/usr/bin/env bash
# make setup: the environment that RUNTIME asks for.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

runtime=$(pick_runtime)
echo "runtime: $runtime" >&2
if [ "$runtime" = native ]; then exec "$root/scripts/setup_native.sh"; fi
if [ "$runtime" = apptainer ]; then
  need_sif
  exit 0
fi
exec "$root/scripts/setup_image.sh"
