#!/usr/bin/env bash
# Print the absolute path of a file that the user named: absolute, relative to the project, to code/,
# or below checkpoints/. Prints nothing when there is none.
#
#   find.sh NAME
set -uo pipefail
cd "$(dirname "$0")/.." || exit

for base in "" "$PWD/" "$PWD/code/" "$PWD/checkpoints/"; do
  if [[ $base$1 == /* && -e $base$1 ]]; then
    realpath -s "$base$1"
    exit
  fi
done
