#!/bin/sh
# Makes the container work under any --user: a home that can be written, a name for the user.
set -eu
if [ ! -w "${HOME:-/}" ] || [ "${HOME:-/}" = / ]; then
  HOME=/tmp/home-$(id -u)
  mkdir -p "$HOME" && chmod 700 "$HOME"
  export HOME
fi
if [ -z "${USER:-}" ]; then
  USER=$(id -un 2>/dev/null) || USER=user$(id -u) # an id without a name prints the id and fails
fi
LOGNAME=$USER
export USER LOGNAME
exec "$@"
