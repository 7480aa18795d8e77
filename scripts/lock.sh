#!/usr/bin/env bash
# Rebuild the lock files of docker/ from their .in files (docs/reproduction.md).
#
#   lock.sh              newest versions that fit the .in files and what is locked already
#   lock.sh --upgrade    forget what is locked
set -euo pipefail
cd "$(dirname "$0")/../docker"

uv=../.venv/bin/uv
[ -x "$uv" ] || { echo "error: no .venv: run 'make setup RUNTIME=native' first" >&2; exit 2; }

compile() { # compile INPUT NAME [OPTION...]: INPUT.in -> NAME.lock, with hashes and without any address
  local input=$1 name=$2
  shift 2
  "$uv" pip compile --quiet --config-file uv.toml --python-version 3.11 --universal --generate-hashes \
    --no-emit-index-url --no-annotate --no-header "$input.in" -o "$name.lock" "$@"
}

compile requirements requirements "$@"
# CUDA=12: the same versions (uv keeps those that it finds in the file), but for PyTorch's.
cp requirements.lock requirements-cuda12.lock
compile requirements requirements-cuda12 --override requirements-cuda12.in
compile ops ops --no-deps "$@"
compile installer installer --no-deps "$@"
for part in rerun timm argoverse; do # make setup ARGS=...
  compile "$part" "$part" --no-deps "$@"
done
