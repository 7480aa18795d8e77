#!/usr/bin/env bash
# Check the values of make's variables before a target runs: prints what is wrong, or nothing.
#
#   check.sh TARGET     with the variables in the environment
#
# DRY_RUN set: only what does not depend on this machine.
set -uo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

problem() {
  echo "$*"
  exit 0
}
one_of() { # one_of NAME VALUE...
  local name=$1 value
  shift
  for value in "$@"; do [ "${!name}" != "$value" ] || return 0; done
  problem "$name=${!name}: must be one of: $*"
}
number() { # number NAME: a whole number, 0 or more
  [[ ${!1} =~ ^[0-9]+$ ]] || problem "$1=${!1}: must be a whole number"
}

target=$1
: "${ENGINE:=torch}" "${FORMAT:=onnx}" "${PRECISION:=fp32}" "${GPUS:=0}" "${DEVICE:=auto}" "${NNODES:=1}" "${NODE_RANK:=0}" "${MASTER_ADDR:=}" "${TRAIN:=0}"
one_of RUNTIME auto docker native
[ -z "${VARIANT:-}" ] || one_of VARIANT cuda cpu dev
[ -z "${CUDA:-}" ] || one_of CUDA 12 13
one_of DEVICE auto cpu cuda
one_of RES 800x320 1600x640
one_of HEAD petr detr3d
one_of TRAIN 0 1
one_of ENGINE torch static onnx
one_of FORMAT onnx torch
one_of PRECISION fp32 fp16
one_of VERSION v1.0-trainval v1.0-test v1.0-mini v1.0
for name in GPUS NNODES NODE_RANK PORT WORKERS MAX_JOBS SLOTS; do
  [ -z "${!name:-}" ] || number "$name"
done
if [ "$target$TRAIN" = reproduce1 ] && [ "$HEAD" != petr ]; then
  problem "HEAD=$HEAD: TRAIN=1 trains what the record lists (PETR); leave HEAD out, ARGS='--record FILE' takes another list"
fi
case $target in
  train-* | eval | detect | reproduce)
    [ "$NODE_RANK" -lt "$NNODES" ] || problem "NODE_RANK=$NODE_RANK: the nodes are numbered 0 to NNODES-1 ($((NNODES - 1)))"
    if [ "$NNODES" -gt 1 ] && [ -z "$MASTER_ADDR" ]; then
      problem "NNODES=$NNODES needs MASTER_ADDR=address of node 0"
    fi
    # A retraining prints its plan before it looks for the GPUs.
    if [ "$target$TRAIN" != reproduce1 ] && [ -z "${DRY_RUN:-}" ] && [ "$DEVICE" != cpu ] && [ "$GPUS" -gt 0 ]; then
      have=$(gpu_count)
      [ "$GPUS" -le "$have" ] ||
        problem "GPUS=$GPUS: this machine has $have usable NVIDIA GPU(s); use GPUS=0 for the CPU, or DEVICE=cpu for $GPUS processes on it"
      unusable=$(gpu_problem)
      [ -z "$unusable" ] || problem "GPUS=$GPUS: $unusable"
    fi
    ;;
esac
