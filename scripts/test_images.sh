#!/usr/bin/env bash
# make test-images: build the images and test them as containers, where an engine answers.
# VARIANT picks one; without it: cpu, and cuda as well on a machine with NVIDIA GPUs.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

RUNTIME=$(pick_engine) || die "no Docker or Podman engine answers here: the images cannot be tested"
export RUNTIME
variants=(${VARIANT:+"$VARIANT"})
if [ ${#variants[@]} -eq 0 ]; then
  variants=(cpu)
  [ "$(gpu_count)" -eq 0 ] || variants+=(cuda)
fi
"$root/scripts/setup_native.sh" # pytest runs outside, the services inside
unset ARGS MAKEFLAGS MFLAGS MAKELEVEL # this make's are not for those that the tests start
cd "$root/code"
for VARIANT in "${variants[@]}"; do
  export VARIANT
  "$root/scripts/build.sh"
  "$root/.venv/bin/python" -m pytest -m docker tests/containers "$@"
done
