#!/usr/bin/env bash
# Get the image: pulled where IMAGE names one in a registry (a host with a dot or a port), else built.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

engine_answers || die "no Docker engine answers here; start one, or use RUNTIME=native"
container_settings
if [[ $IMAGE =~ ^[^/]*[.:][^/]*/ ]]; then
  exec docker pull "$IMAGE"
fi
exec "$root/scripts/build.sh"
