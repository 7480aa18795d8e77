#!/usr/bin/env bash
# JupyterLab for the notebooks, with a token, on 127.0.0.1 only.
set -euo pipefail
cd "$(dirname "$0")/../notebooks"

: "${PORT:=8888}"
if [ -z "${JUPYTER_TOKEN:-}" ]; then
  JUPYTER_TOKEN=$(python -c 'import secrets; print(secrets.token_hex(24))')
fi
export JUPYTER_TOKEN # in the environment, not in the list of processes
# shellcheck source=scripts/listen.sh
. ../scripts/listen.sh
root_option=()
[ "$(id -u)" != 0 ] || root_option=(--allow-root) # the caller is root here: Jupyter asks to be told
echo "JupyterLab: http://127.0.0.1:$PORT/lab?token=$JUPYTER_TOKEN   (Ctrl-C twice ends it)"
exec jupyter lab --no-browser --ip="$address" --port="$listen" --ServerApp.port_retries=0 \
  --ServerApp.root_dir="$PWD" --log-level=WARN "${root_option[@]}" "$@"
