#!/usr/bin/env bash
# make setup: the environment that RUNTIME asks for.
#
#   setup.sh           what everything needs
#   setup.sh rerun     Rerun as well, natively: for make view and make video FORMAT=rrd
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

runtime=$(pick_runtime)
echo "runtime: $runtime" >&2
if [ $# -eq 0 ]; then
  case $runtime in
    native) exec "$root/scripts/setup_native.sh" ;;
    apptainer) need_sif && exit 0 ;;
    *) exec "$root/scripts/setup_image.sh" ;;
  esac
fi
[ "$runtime" = native ] || die "Rerun opens a window, which a container has not: RUNTIME=native"
"$root/scripts/setup_native.sh"
"$root/scripts/install_lock.sh" "$root/.venv" "$root/docker/rerun.lock"
