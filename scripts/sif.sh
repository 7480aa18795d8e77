#!/usr/bin/env bash
# make sif: an Apptainer image from the built one, for machines without an engine: sif.sh [BUILD OPTION...]
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

find_apptainer
export RUNTIME=auto # whose image it is
engine=$(pick_engine) || die "no Docker or Podman engine answers here: an Apptainer image is made from theirs"
container_settings "$engine"
"$engine" image inspect "$IMAGE" >/dev/null 2>&1 || "$root/scripts/setup_image.sh"
folder=$(dirname "$sif")
[ -w "$folder" ] || die "SIF=$sif: cannot write to $folder"
scratch=$(mktemp -d "$folder/.sif.XXXXXX") # as large as the image twice
trap 'rm -rf "$scratch"' EXIT
echo "saving $IMAGE, then building $sif" >&2
"$engine" save --output "$scratch/image.tar" "$IMAGE"
"$apptainer" build "$@" "$scratch/image.sif" "docker-archive:$scratch/image.tar"
mv "$scratch/image.sif" "$sif"
echo "$sif" >&2
