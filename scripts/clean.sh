#!/usr/bin/env bash
# make clean: remove what can be made again at no cost but time.
set -euo pipefail
cd "$(dirname "$0")/.."

find code notebooks -name __pycache__ -type d -not -path '*/work_dirs/*' -prune -exec rm -rf {} +
find code notebooks -name .ipynb_checkpoints -type d -prune -exec rm -rf {} +
rm -rf code/.pytest_cache code/.mypy_cache code/.ruff_cache code/.hypothesis code/work_dirs/demo .venv
echo "removed: caches, code/work_dirs/demo, .venv; kept: other work_dirs, data, checkpoints"
