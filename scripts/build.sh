#!/usr/bin/env bash
# Build the image with Docker or Podman: build.sh [BUILD OPTION...]
#
# VARIANT (cuda, cpu or dev), CUDA (13 or 12), IMAGE, BASE_IMAGE, TORCH_CUDA_ARCH_LIST, MAX_JOBS, and for sites behind
# a proxy or a mirror DEBIAN_MIRROR, PIP_INDEX_URL, EXTRA_CA, NETRC: docker/README.md explains them.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

engine=$(pick_engine) || die "no Docker or Podman engine answers here; start one, or use RUNTIME=native, which needs no image"
container_settings "$engine"

options=()
if [ "$engine" = podman ]; then
  options+=(--format docker) # the other one has no SHELL
else
  version=$(docker version --format '{{.Client.Version}}')
  if [ "${version%%.*}" -ge 23 ] && ! docker buildx version >/dev/null 2>&1; then
    die "$(command -v docker) $version cannot build without its buildx plugin: install it, or put another docker client first in PATH"
  fi
fi
options+=(--file "$root/docker/Dockerfile" --target "$VARIANT" --tag "$IMAGE")
options+=(--build-arg "REVISION=$REVISION" --build-arg "CUDA=$CUDA")
if [ "$VARIANT" = dev ]; then # what it stands on
  if [ "$(gpu_count)" -gt 0 ]; then options+=(--build-arg VARIANT=cuda); else options+=(--build-arg VARIANT=cpu); fi
fi
[ "$NETWORK_MODE" != host ] || options+=(--network host)
[ -z "${PIP_INDEX_URL:-}" ] || export UV_DEFAULT_INDEX=$PIP_INDEX_URL # both pip and uv are used
for name in BASE_IMAGE PYTHON_PACKAGE TORCH_CUDA_ARCH_LIST MAX_JOBS DEBIAN_MIRROR PIP_INDEX_URL UV_DEFAULT_INDEX \
  HTTP_PROXY HTTPS_PROXY NO_PROXY http_proxy https_proxy no_proxy; do
  [ -z "${!name:-}" ] || options+=(--build-arg "$name")
done
# Secrets exist only while a build step runs; they are in no layer and not in the history.
for secret in extra_ca=EXTRA_CA netrc=NETRC; do
  name=${secret#*=}
  [ -n "${!name:-}" ] || continue
  [ -r "${!name}" ] || die "$name=${!name}: no such file"
  options+=(--secret "id=${secret%=*},src=${!name}")
done

echo "building $IMAGE ($VARIANT)" >&2
"$engine" build "${options[@]}" "$@" "$root"
"$engine" image ls "$IMAGE" >&2
