#!/usr/bin/env bash
# Make .venv from the lock, unless it is there already. Wheels only: nothing is compiled.
# Interrupted or with another lock, it is made anew: .venv/.locked is written last and names the lock.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"
cd "$root"

# usable PYTHON: a version the lock is made for, able to make a virtual environment
usable() {
  "$1" -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' 2>/dev/null
}

find_python() {
  local python
  for python in python3.11 python3.12 python3.13 python3.14 python3; do
    if usable "$python"; then
      echo "$python"
      return
    fi
  done
  die "no Python 3.11 to 3.14 with its venv module found: install one (Debian: apt install python3 python3-venv) or give PYTHON=/path/to/python3.11"
}

cuda=$(pick_cuda)
if [ -z "$cuda" ] && [ -f .venv/.locked ]; then read -r _ _ cuda <.venv/.locked || true; fi # stays as it is
cuda=${cuda:-13}
lock=docker/$(lock_of "$cuda").lock
lock_hash=$(cat "$lock" docker/installer.lock | sha256sum | cut -d' ' -f1)
wanted=${PYTHON:+$("$PYTHON" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null || true)}

up_to_date() { # the lock's environment, with the Python asked for
  [ -x .venv/bin/python ] && [ -f .venv/.locked ] &&
    read -r have_lock have_python _ <.venv/.locked &&
    [ "$have_lock" = "$lock_hash" ] && [ "${wanted:-$have_python}" = "$have_python" ]
}

if [ -n "${PYTHON:-}" ]; then
  usable "$PYTHON" || die "PYTHON=$PYTHON: not a Python 3.11 to 3.14 with its venv module (Debian: apt install python3-venv)"
fi
! up_to_date || exit 0

exec 9<"$0" # two at a time: the second waits and finds the work done
flock 9
! up_to_date || exit 0

unusable=$(gpu_problem)
if [ -n "$unusable" ] && [ "${DEVICE:-auto}" != cpu ]; then # before gigabytes are downloaded
  [ -z "${CUDA:-}" ] || die "CUDA=$CUDA: $unusable"
  echo "note: $unusable" >&2
fi

python=${PYTHON:-$(find_python)}
echo "making .venv from $lock with $("$python" --version) (once; several GB)" >&2
rm -rf .venv
"$python" -m venv .venv
.venv/bin/pip --quiet --disable-pip-version-check install --no-deps --require-hashes -r docker/installer.lock
scripts/install_lock.sh .venv "$lock"
version=$(.venv/bin/python -c 'import sys; print("%d.%d" % sys.version_info[:2])')
echo "$lock_hash $version $cuda" >.venv/.locked.new
mv .venv/.locked.new .venv/.locked
