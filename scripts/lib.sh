# shellcheck shell=bash
# Shared by the scripts: messages, the machine's GPUs, the runtime, the container engine.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# die MESSAGE: the user's input was wrong: one line, exit status 2
die() {
  echo "error: $*" >&2
  exit 2
}

# gpu_count: how many NVIDIA GPUs a process started here may use
gpu_count() {
  if [ -n "${CUDA_VISIBLE_DEVICES+set}" ]; then
    tr ',' '\n' <<<"$CUDA_VISIBLE_DEVICES" | grep -cv -e '^$' -e '^-1$' || true
  else
    { nvidia-smi -L 2>/dev/null || true; } | grep -c '^GPU ' || true
  fi
}

# smi FIELD: what nvidia-smi knows, one line for each GPU; nothing where there is none
smi() {
  { timeout 20 nvidia-smi --query-gpu="$1" --format=csv,noheader 2>/dev/null || true; } | grep -E '^[0-9]+\.[0-9]' || true
}

# older A B: is version A before version B?
older() {
  [ "$1" != "$2" ] && [ "$(printf '%s\n' "$1" "$2" | sort -V | head -n 1)" = "$1" ]
}

# What the locked PyTorch builds need (pftrack/devices.py says the same from PyTorch's side):
# the oldest driver, and the oldest GPUs by compute capability (Turing, Volta).
oldest_driver() { if [ "$1" = 13 ]; then echo 580; else echo 525; fi; }
oldest_gpu() { if [ "$1" = 13 ]; then echo 7.5; else echo 7.0; fi; }

# pick_cuda: "13" or "12" from CUDA, else from driver and GPUs, said in one line where it is 12;
# nothing where neither says
pick_cuda() {
  local driver gpu
  if [ -n "${CUDA:-}" ]; then
    echo "$CUDA"
    return
  fi
  driver=$(smi driver_version | head -n 1)
  [ -n "$driver" ] || return 0
  gpu=$(smi compute_cap | sort -V | tail -n 1) # the newest
  if older "$driver" "$(oldest_driver 13)"; then
    echo "CUDA=12 chosen: NVIDIA's driver is $driver, and CUDA 13 needs $(oldest_driver 13) or newer" >&2
    echo 12
  elif [ -n "$gpu" ] && older "$gpu" "$(oldest_gpu 13)"; then
    echo "CUDA=12 chosen: this GPU has compute capability $gpu, and CUDA 13 needs $(oldest_gpu 13) or newer" >&2
    echo 12
  else
    echo 13
  fi
}

# lock_of CUDA: the name of the lock in docker/
lock_of() { if [ "$1" = 12 ]; then echo requirements-cuda12; else echo requirements; fi; }

# gpu_problem: in one line, why PyTorch cannot use this machine's GPUs; nothing where it can
gpu_problem() {
  local driver gpu cuda other=''
  driver=$(smi driver_version | head -n 1)
  [ -n "$driver" ] || return 0
  gpu=$(smi compute_cap | sort -V | tail -n 1)
  cuda=$(pick_cuda 2>/dev/null)
  if [ "$cuda" = 13 ] && ! older "$driver" "$(oldest_driver 12)"; then other=', or use CUDA=12'; fi
  if older "$driver" "$(oldest_driver "$cuda")"; then
    echo "NVIDIA's driver $driver is too old for CUDA $cuda: install $(oldest_driver "$cuda") or newer$other; DEVICE=cpu goes without GPUs"
  elif [ -n "$gpu" ] && older "$gpu" "$(oldest_gpu "$cuda")"; then
    echo "this machine's GPU has compute capability $gpu, and CUDA $cuda needs $(oldest_gpu "$cuda") or newer: use another GPU$other; DEVICE=cpu goes without GPUs"
  fi
}

engine_answers() {
  command -v docker >/dev/null && timeout 10 docker info >/dev/null 2>&1
}

# pick_runtime: "docker" or "native" from RUNTIME (auto, docker, native)
pick_runtime() {
  case ${RUNTIME:-auto} in
    native) echo native ;;
    docker)
      engine_answers || die "RUNTIME=docker: no Docker engine answers here; start one, or use RUNTIME=native"
      echo docker
      ;;
    auto) if engine_answers; then echo docker; else echo native; fi ;;
    *) die "RUNTIME=$RUNTIME: must be auto, docker or native" ;;
  esac
}

# uses_gpus: do the containers get this machine's GPUs?
uses_gpus() {
  [ "$VARIANT" != cpu ] && [ "$(gpu_count)" -gt 0 ]
}

# engine_knows_gpus: NVIDIA's container toolkit, as a runtime of the engine or as the hook beside it
engine_knows_gpus() {
  [[ $(docker info --format '{{json .Runtimes}}' 2>/dev/null) == *nvidia* ]] ||
    command -v nvidia-container-runtime-hook >/dev/null
}

# container_settings: what the compose files read from the environment
container_settings() {
  if [ -z "${VARIANT:-}" ]; then
    if [ "$(gpu_count)" -gt 0 ]; then VARIANT=cuda; else VARIANT=cpu; fi
  fi
  [ "$VARIANT" != cpu ] || CUDA=${CUDA:-13} # without GPUs any driver will do
  CUDA=$(pick_cuda)
  CUDA=${CUDA:-13}
  IMAGE=${IMAGE:-pf-track:$VARIANT${CUDA/13/}}
  HOST_UID=$(id -u)
  HOST_GID=$(id -g)
  PROJECT_DIR=$root
  # A link to the data set is followed here: what it names is not visible inside the container.
  NUSCENES_DIR=$(realpath -m "${NUSCENES_DIR:-$root/code/data/nuscenes}")
  REVISION=${REVISION:-$(git -C "$root" describe --always --abbrev=40 --exclude '*' --dirty 2>/dev/null || echo unknown)}
  # An engine without a bridge network (some servers and build machines) leaves the host's; several
  # nodes talk to each other over the host's as well.
  if [ -z "${NETWORK_MODE:-}" ]; then
    NETWORK_MODE=bridge
    if [ "${NNODES:-1}" != 1 ] || ! docker network inspect bridge >/dev/null 2>&1; then
      NETWORK_MODE=host
    fi
  fi
  export VARIANT CUDA IMAGE HOST_UID HOST_GID PROJECT_DIR NUSCENES_DIR REVISION NETWORK_MODE

  compose_files=(-f "$root/compose.yaml")
  if uses_gpus; then compose_files+=(-f "$root/compose.gpu.yaml"); fi
  # Both generations of compose; the older one builds with BuildKit only when told so.
  export DOCKER_BUILDKIT=1 COMPOSE_DOCKER_CLI_BUILD=1
  if docker compose version >/dev/null 2>&1; then
    compose=(docker compose)
  elif command -v docker-compose >/dev/null; then
    compose=(docker-compose)
  else
    die "neither 'docker compose' nor 'docker-compose' is installed: install one, or use RUNTIME=native"
  fi
  compose+=(--project-directory "$root" "${compose_files[@]}")
}
