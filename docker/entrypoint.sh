#!/bin/sh
# Makes the container work under any --user: a home that can be written, a name for the user.
set -eu
if [ ! -w "${HOME:-/}" ] || [ "${HOME:-/}" = / ]; then
  HOME=/tmp/home-$(id -u)
  mkdir -p "$HOME" && chmod 700 "$HOME"
  export HOME
fi
USER=${USER:-$(id -un 2>/dev/null || echo "user$(id -u)")}
LOGNAME=$USER
export USER LOGNAME
exec "$@"
