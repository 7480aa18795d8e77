#!/usr/bin/env bash
# Format, style and types, with the tools of the lock: what .ci/run and .pre-commit-config.yaml both call.
#
#   lint.sh            every check, the failed ones listed at the end
#   lint.sh NAME...    some of them: ruff format shellcheck hadolint mypy notebooks sizes
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
PATH=$PWD/.venv/bin:$PATH
export PYTHONDONTWRITEBYTECODE=1

check_ruff() { (cd code && ruff check --quiet --config pyproject.toml . ../notebooks); }
check_format() { (cd code && ruff format --quiet --check --config pyproject.toml . ../notebooks); }
check_shellcheck() { git ls-files -z '*.sh' .ci/run | xargs -0 shellcheck -x; }
check_hadolint() { hadolint --config docker/hadolint.yaml docker/Dockerfile; }
check_mypy() { (cd code && mypy --no-error-summary); }
check_notebooks() { (cd code && python tools/run_notebooks.py --check); } # with the outputs of --store

# No file of more than 2 MB comes into git; the demo's checkpoints are meant to be there.
check_sizes() {
  local large
  large=$(git ls-files -z ':!checkpoints/demo/*.pth' | xargs -0 sh -c 'find "$@" -maxdepth 0 -type f -size +2M' _)
  [ -z "$large" ] || { echo "more than 2 MB: $large" >&2 && return 1; }
}

names=("$@")
[ $# -gt 0 ] || names=(ruff format shellcheck hadolint mypy notebooks sizes)
failed=()
for name in "${names[@]}"; do
  declare -F "check_$name" >/dev/null || { echo "error: no check '$name'" >&2 && exit 2; }
  echo "== $name"
  if ! "check_$name"; then failed+=("$name"); fi
done
if [ ${#failed[@]} -gt 0 ]; then
  echo "failed: ${failed[*]}" >&2
  exit 1
fi
