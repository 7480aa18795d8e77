#!/usr/bin/env bash
# Health of the Jupyter service: it answers (its status page needs no token and tells nothing).
set -euo pipefail
port=${PORT:-8888}
[ "${NETWORK_MODE:-none}" != bridge ] || port=8888
exec python - "$port" <<'PY'
import sys
import urllib.error
import urllib.request

try:
    urllib.request.urlopen(f"http://127.0.0.1:{sys.argv[1]}/api", timeout=5)
except urllib.error.HTTPError as answer:  # refused without the token: it is up
    sys.exit(answer.code >= 500)
PY
