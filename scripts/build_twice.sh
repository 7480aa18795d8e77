#!/usr/bin/env bash
# Does the image come out the same when it is built again? Builds it anew, without the engine's layers, and compares
# the bills of materials, which hold a hash of what each Python package installed: build_twice.sh [BUILD OPTION...]
# The first build is $IMAGE, built already; the variables are those of build.sh. Takes disk space for a second image.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

engine=$(pick_engine) || die "no Docker or Podman engine answers here: nothing can be built"
container_settings "$engine"
"$engine" image inspect "$IMAGE" >/dev/null 2>&1 || die "no image $IMAGE: 'make build' makes it"
again=$IMAGE-again
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"; "$engine" image rm "$again" >/dev/null 2>&1 || true' EXIT

bill() { "$engine" run --rm --network=none "$1" cat /opt/pf-track.cdx.json; }
bill "$IMAGE" >"$scratch/first"
IMAGE=$again "$root/scripts/build.sh" --no-cache "$@"
bill "$again" >"$scratch/second"
if ! diff "$scratch/first" "$scratch/second" >&2; then
  echo "$IMAGE: built again, it holds other packages (above)" >&2
  exit 1
fi
echo "$IMAGE: built again, it holds the same $(grep -c '"bom-ref": "pkg:pypi/' "$scratch/first") Python packages, file by file, and $(grep -c '"bom-ref": "pkg:deb/' "$scratch/first") Debian packages"
