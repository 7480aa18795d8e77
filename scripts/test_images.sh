#!/usr/bin/env bash
# make test-images: build the image and run the container tests against it, where an engine answers.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

engine_answers || die "no Docker engine answers here: the images cannot be tested"
container_settings
"$root/scripts/build.sh"
"$root/scripts/setup_native.sh" # pytest runs outside, the services inside
cd "$root/code"
exec "$root/.venv/bin/python" -m pytest -m docker tests/containers "$@"
