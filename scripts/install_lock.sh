#!/usr/bin/env bash
# Install the locked environment into a virtual environment that has the locked uv.
# Used natively and in the image, so that both hold the same files.
#
#   install_lock.sh VENV LOCK [--without NAMES | --only NAMES]
#
# NAMES is a pattern: mmcv|triton. What --only names is installed anew where it is there already.
#
# Two steps, because the setup scripts of mmcv and mmdet3d (pure Python, but not published as wheels)
# import setuptools and torch: first every wheel, then these two with what was just installed.
set -euo pipefail

venv=$1
lock=$2
names=${4:-no package}

sources='mmcv|mmdet3d'
named=0
options=()
if [ "${3:-}" = --only ]; then
  named=1
  options=(--reinstall)
fi
lines() { # lines KEEP PATTERN: the lock's entries whose name matches (KEEP=1) or not (KEEP=0)
  awk -v keep="$1" -v name="^($2)==" -v named="$named" -v names="^($names)==" \
    '/^[a-z0-9]/ { on = (($0 ~ name) == keep) && (($0 ~ names) == named) } on' "$lock"
}

# Who set up pip for a package mirror has set up uv as well.
[ -n "${UV_DEFAULT_INDEX:-}" ] || [ -z "${PIP_INDEX_URL:-}" ] || export UV_DEFAULT_INDEX=$PIP_INDEX_URL

# A proxy's own certificate authority is among those that the system trusts, where it keeps a list.
if [ -s /etc/ssl/certs/ca-certificates.crt ] || [ -s /etc/pki/tls/certs/ca-bundle.crt ]; then
  export UV_SYSTEM_CERTS=${UV_SYSTEM_CERTS:-1}
fi

# Where Python may not write bytecode, each start would compile PyTorch anew, for some 10 s.
[ -z "${PYTHONDONTWRITEBYTECODE:-}" ] || export UV_COMPILE_BYTECODE=1

wheels=$(mktemp) sdists=$(mktemp)
trap 'rm -f "$wheels" "$sdists"' EXIT
lines 0 "$sources" >"$wheels"
lines 1 "$sources" >"$sdists"

install=("$venv/bin/uv" pip install --python "$venv/bin/python" --no-deps --require-hashes
  ${options[@]+"${options[@]}"})
"${install[@]}" --only-binary :all: -r "$wheels"
[ ! -s "$sdists" ] || "${install[@]}" --no-build-isolation -r "$sdists"
