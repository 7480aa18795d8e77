#!/usr/bin/env bash
# make setup: the environment that RUNTIME asks for.
#
#   setup.sh           what everything needs
#   setup.sh PART...   optional groups of the lock as well, natively:
#                        rerun      for make view and make video FORMAT=rrd
#                        timm       for backbones of the type TimmBackbone
#                        argoverse  for pftrack import argoverse
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
[ "$runtime" = native ] || die "optional parts ($*) go into the native environment: RUNTIME=native"
"$root/scripts/setup_native.sh"
for part in "$@"; do
  "$root/scripts/install_lock.sh" "$root/.venv" "$root/docker/$part.lock"
done
