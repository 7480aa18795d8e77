#!/usr/bin/env bash
# make setup: the environment that RUNTIME asks for.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

runtime=$(pick_runtime)
echo "runtime: $runtime" >&2
exec "$root/scripts/setup_$runtime.sh"
