#!/usr/bin/env bash
# make doctor: what this machine has and lacks. With .venv's Python, or before there is one with any
# Python from 3.9 on.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"
cd "$root/code"

for python in "$root/.venv/bin/python" "${PYTHON:-python3}" python3 python3.14 python3.13 python3.12 python3.11; do
  if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 9))' 2>/dev/null; then
    exec "$python" tools/doctor.py "$@"
  fi
done
die "no Python 3 found: install Python 3.11 to 3.14 (Debian: apt install python3 python3-venv) or give PYTHON=/path/to/python3.11"
