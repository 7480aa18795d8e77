#!/usr/bin/env bash
# Rebuild the lock files of docker/ from their .in files (docs/reproduction.md).
#
#   lock.sh              newest versions that fit the .in files and what is locked already
#   lock.sh --upgrade    forget what is locked
set -euo pipefail
cd "$(dirname "$0")/../docker"

uv=../.venv/bin/uv
[ -x "$uv" ] || { echo "error: no .venv: run 'make setup RUNTIME=native' first" >&2; exit 2; }

compile() { # compile NAME [OPTION...]: NAME.in -> NAME.lock, with hashes and without any address
  local name=$1
  shift
  "$uv" pip compile --quiet --config-file uv.toml --python-version 3.11 --universal --generate-hashes \
    --no-emit-index-url --no-annotate --no-header "$name.in" -o "$name.lock" "$@"
}

compile requirements "$@"
compile ops --no-deps "$@"
compile installer --no-deps "$@"
