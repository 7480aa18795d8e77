# shellcheck shell=bash
# Shared by the scripts: messages, the machine's GPUs, the runtime, the container engine.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# die MESSAGE: the user's input was wrong: one line, exit status 2
die() {
  echo "error: $*" >&2
  exit 2
}

# read_dotenv FILE: export the settings of this machine that are not set already. The file is data:
# NAME=value; nothing in a value is expanded, but ~ at its beginning. Quotes around a value, a comment after
# white space and Windows' line ends are left out.
read_dotenv() {
  local line name value number=0
  [ -f "$1" ] || return 0
  while IFS= read -r line || [ -n "$line" ]; do
    number=$((number + 1))
    line=${line%$'\r'}
    [ "$number" -gt 1 ] || line=${line#$'\xEF\xBB\xBF'}
    line=${line#"${line%%[![:space:]]*}"}
    line=${line#export }
    case $line in '' | \#*) continue ;; esac
    name=${line%%=*}
    [[ $line == *=* && $name =~ ^[A-Za-z_][A-Za-z0-9_]*$ ]] || die ".env, line $number: NAME=value expected"
    value=${line#*=}
    value=${value#"${value%%[![:space:]]*}"}
    if [[ $value =~ ^\"([^\"]*)\"[[:space:]]*(\#.*)?$ || $value =~ ^\'([^\']*)\'[[:space:]]*(\#.*)?$ ]]; then
      value=${BASH_REMATCH[1]}
    else
      [[ ! $value =~ ^(.*[^[:space:]])?[[:space:]]+\# ]] || value=${value%%[[:space:]]#*}
      value=${value%"${value##*[![:space:]]}"}
      [[ ! $value =~ ^~(/|$) ]] || value=$HOME${value#\~}
    fi
    [ -n "${!name+set}" ] && [ -n "${!name}" ] || export "$name=$value"
  done <"$1"
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

# engine_answers ENGINE: docker or podman (which some systems call docker as well)
engine_answers() {
  command -v "$1" >/dev/null && timeout 10 "$1" info >/dev/null 2>&1 &&
    { [ "$1" = podman ] || [[ $(docker --version) != podman* ]]; }
}

# no_engine ENGINE: in a few words, why it does not answer
no_engine() {
  local said
  command -v "$1" >/dev/null || { echo "${1^} is not installed" && return; }
  said=$(LC_ALL=C timeout 10 "$1" info 2>&1 || true)
  if [[ $said == *[Pp]'ermission denied'* ]]; then
    echo "${1^} is there, but $(id -un) may not use it (permission denied; 'sudo usermod -aG $1 $(id -un)', then log in again)"
  else
    echo "no ${1^} engine answers here"
  fi
}

# find_compose ENGINE: the command in $compose; fails where there is none
find_compose() {
  if "$1" compose version >/dev/null 2>&1; then
    compose=("$1" compose)
  elif [ "$1" = docker ] && command -v docker-compose >/dev/null; then
    compose=(docker-compose)
  elif [ "$1" = podman ] && podman_compose=$(podman-compose --version 2>/dev/null) &&
    [[ $podman_compose =~ version[[:space:]]+([0-9.]+) ]] && ! older "${BASH_REMATCH[1]}" "$oldest_podman_compose"; then
    compose=(podman-compose --in-pod=false)
  else
    return 1
  fi
}
oldest_podman_compose=1.1 # before: 'run' leaves out the folders that --read and --write name

# pick_engine: docker or podman, as RUNTIME says, else the first that answers; fails where none does
pick_engine() {
  local engine
  for engine in docker podman; do
    if [ "${RUNTIME:-auto}" = "$engine" ] || [[ ${RUNTIME:-auto} =~ ^(auto|native)$ ]]; then
      ! engine_answers "$engine" || { echo "$engine" && return; }
    fi
  done
  return 1
}

# pick_runtime: docker, podman, apptainer or native, from RUNTIME (auto or one of them)
pick_runtime() {
  case ${RUNTIME:-auto} in
    native | apptainer) echo "$RUNTIME" ;;
    docker) pick_engine || die "RUNTIME=docker: $(no_engine docker); start one, or use RUNTIME=native" ;;
    podman) pick_engine || die "RUNTIME=podman: $(no_engine podman) ('podman info'); use RUNTIME=native" ;;
    auto)
      if engine_answers docker; then
        echo docker
      elif engine_answers podman && find_compose podman; then
        echo podman
      else
        # Said where it is news: an engine that ought to answer, or a set-up that is about to begin.
        if command -v docker >/dev/null || [ ! -d "$root/.venv" ]; then
          echo "$(no_engine docker): running natively" >&2
        fi
        echo native
      fi
      ;;
    *) die "RUNTIME=$RUNTIME: must be auto, docker, podman, apptainer or native" ;;
  esac
}

# find_apptainer: its command in $apptainer, by the new or the old name, and the image's file in $sif
# shellcheck disable=SC2034  # the scripts' own
find_apptainer() {
  apptainer=$(command -v apptainer || command -v singularity) ||
    die "neither apptainer nor singularity is installed here: install one, or use RUNTIME=native"
  pick_variant
  sif=${SIF:-$root/pf-track-$VARIANT${CUDA/13/}.sif}
}
need_sif() {
  find_apptainer
  [ -f "$sif" ] || die "SIF=$sif: no such file; 'make sif' makes it where Docker or Podman runs, then copy it here"
}

# uses_gpus: do the containers get this machine's GPUs?
uses_gpus() {
  [ "$VARIANT" != cpu ] && [ "$(gpu_count)" -gt 0 ]
}

# engine_knows_gpus: NVIDIA's container toolkit: for Docker a runtime of the engine or the hook beside it, for
# Podman a description of the GPUs (CDI)
engine_knows_gpus() {
  if [ "$engine" = podman ]; then
    grep -qs 'nvidia.com/gpu' /etc/cdi/* /var/run/cdi/*
    return
  fi
  [[ $(docker info --format '{{json .Runtimes}}' 2>/dev/null) == *nvidia* ]] ||
    command -v nvidia-container-runtime-hook >/dev/null
}

# What every kind of container is told; a link to the data set is followed here: what it names is not visible inside.
project_settings() {
  NUSCENES_DIR=$(realpath -m "${NUSCENES_DIR:-$root/code/data/nuscenes}")
  REVISION=${REVISION:-$(git -C "$root" describe --always --abbrev=40 --exclude '*' --dirty 2>/dev/null || echo unknown)}
}

# pick_variant: $VARIANT and $CUDA of the image, from the environment or this machine's GPUs
pick_variant() {
  if [ -z "${VARIANT:-}" ]; then
    if [ "$(gpu_count)" -gt 0 ]; then VARIANT=cuda; else VARIANT=cpu; fi
  fi
  [ "$VARIANT" != cpu ] || CUDA=${CUDA:-13} # without GPUs any driver will do
  CUDA=$(pick_cuda)
  CUDA=${CUDA:-13}
}

# container_settings ENGINE: what the compose files read from the environment; $engine
container_settings() {
  engine=$1
  pick_variant
  project_settings
  IMAGE=${IMAGE:-pf-track:$VARIANT${CUDA/13/}}
  HOST_UID=$(id -u)
  HOST_GID=$(id -g)
  PROJECT_DIR=$root
  # An engine without a bridge network (some servers and build machines) leaves the host's; several
  # nodes talk to each other over the host's as well.
  local bridge=bridge
  [ "$engine" = docker ] || bridge=podman # its name for it
  if [ -z "${NETWORK_MODE:-}" ]; then
    NETWORK_MODE=bridge
    if [ "${NNODES:-1}" != 1 ] || ! "$engine" network inspect "$bridge" >/dev/null 2>&1; then
      NETWORK_MODE=host
    fi
  fi
  export VARIANT CUDA IMAGE HOST_UID HOST_GID PROJECT_DIR NUSCENES_DIR REVISION NETWORK_MODE

  local files=(-f "$root/compose.yaml") gpus=compose.gpu.yaml
  if [ "$engine" = podman ]; then
    # Without root's rights the caller's id is mapped to itself, so that results belong to the caller.
    USERNS_MODE=host
    [ "$HOST_UID" = 0 ] || USERNS_MODE=keep-id
    export USERNS_MODE
    files+=(-f "$root/compose.podman.yaml")
    gpus=compose.podman-gpu.yaml
  fi
  if uses_gpus; then
    files+=(-f "$root/$gpus")
    [ ! -d /dev/infiniband ] || files+=(-f "$root/compose.ib.yaml")
  fi
  # Both generations of compose; the older one builds with BuildKit only when told so.
  export DOCKER_BUILDKIT=1 COMPOSE_DOCKER_CLI_BUILD=1
  find_compose "$engine" || case $engine in
    docker) die "neither 'docker compose' nor 'docker-compose' is installed: install one, or use RUNTIME=native" ;;
    podman) die "neither 'podman compose' nor podman-compose $oldest_podman_compose or newer is installed: install one (pip install podman-compose), or use RUNTIME=native" ;;
  esac
  # podman-compose takes the first file's folder, which is the same.
  [ "$engine" = podman ] || compose+=(--project-directory "$root")
  compose+=("${files[@]}")
}
