#!/usr/bin/env bash
# Get the image: pulled where IMAGE names one in a registry (a host with a dot or a port), else built.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

engine=$(pick_engine) || die "no Docker or Podman engine answers here; start one, or use RUNTIME=native"
container_settings "$engine"
if [[ $IMAGE =~ ^[^/]*[.:][^/]*/ ]]; then
  exec "$engine" pull "$IMAGE"
fi
exec "$root/scripts/build.sh"
