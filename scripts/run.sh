#!/usr/bin/env bash
# Run a command in code/, natively or in a container, with the same paths either way.
#
#   run.sh [--read PATH]... [--write PATH]... SERVICE COMMAND [ARGUMENT...]
#
# SERVICE is one of compose.yaml's. In a container the project lies at the path it has here;
# --read and --write name files and folders outside it that the command needs.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

mounts=()
mount() { # mount PATH MODE: unless the container sees it anyway
  case $1 in
    "$root"/* | "$root" | '') ;;
    *) mounts+=(-v "$1:$1:$2") ;;
  esac
}
while :; do
  case ${1:-} in
    --read)
      if [ -d "$2" ]; then mount "$2" ro; else mount "$(dirname "$2")" ro; fi
      shift 2
      ;;
    --write)
      mkdir -p "$2" 2>/dev/null || die "cannot make the output folder $2"
      mount "$2" rw
      shift 2
      ;;
    *) break ;;
  esac
done
service=$1
shift
[ "$service" = jupyter ] || unset PORT # the training tools know another variable of that name

# In a log file progress is a line every few seconds, not one a frame.
[ -t 2 ] || export TQDM_MININTERVAL="${TQDM_MININTERVAL:-10}"

if [ -d "${PFTRACK_MIRRORS:-}" ]; then mount "$(realpath "$PFTRACK_MIRRORS")" ro; fi

runtime=$(pick_runtime)
if [ "$runtime" = native ]; then
  echo "runtime: native ($root/.venv)" >&2
  "$root/scripts/setup_native.sh"
  unset PYTHON # what made .venv is not what runs in it
  export PATH="$root/.venv/bin:$PATH" VIRTUAL_ENV="$root/.venv" PYTHONPATH="$root/code"
  cd "$root/code"
  exec "$@"
fi

# Settings of the libraries underneath, by name: they work as they do natively.
library_settings() { compgen -e | grep -E '^(GLOO|MKL|NCCL|OMP|PYTORCH|TORCH_NCCL|TQDM)_|^(MAX_RESTARTS|JOIN_TIMEOUT)$' || true; }

if [ "$runtime" = apptainer ]; then
  need_sif
  echo "runtime: apptainer (image $sif; RUNTIME=native runs without it)" >&2
  project_settings
  mkdir -p "$root/code/work_dirs" "$root/checkpoints" "$NUSCENES_DIR" "$root/code/data/nuscenes"
  mode=ro
  [ "$service" != data ] || mode=rw
  binds=("$root:$root:rw" "$NUSCENES_DIR:$root/code/data/nuscenes:$mode")
  for each in ${mounts[@]+"${mounts[@]}"}; do [ "$each" = -v ] || binds+=("$each"); done
  options=(exec --cleanenv --pwd "$root/code")
  for each in "${binds[@]}"; do
    [[ $each != *,* && $each != *:*:*:* ]] || die "${each%%:*}: Apptainer mounts no folder with a comma or colon in its name"
    options+=(--bind "$each")
  done
  problem=$(gpu_problem)
  if uses_gpus; then
    [ -z "$problem" ] || die "$problem, VARIANT=cpu too"
    options+=(--nv)
  fi
  # By name, since --env splits a list of values at commas; the older program has a prefix of its own.
  prefix=APPTAINERENV_
  [[ $apptainer == */apptainer ]] || prefix=SINGULARITYENV_
  export "${prefix}PYTHONPATH=$root/code" "${prefix}PFTRACK_REVISION=$REVISION"
  for each in DEVICE NNODES NODE_RANK MASTER_ADDR MASTER_PORT LOCAL_ADDR CUDA_VISIBLE_DEVICES HTTP_PROXY HTTPS_PROXY \
    NO_PROXY PFTRACK_MIRRORS PORT JUPYTER_TOKEN $(library_settings); do
    [ -z "${!each+set}" ] || export "$prefix$each=${!each}"
  done
  exec "$apptainer" "${options[@]}" "$sif" "$@"
fi

container_settings "$runtime"
echo "runtime: $runtime (image $IMAGE; RUNTIME=native runs without it)" >&2
if uses_gpus && ! engine_knows_gpus; then
  todo="install that"
  [ "$runtime" = docker ] || todo="install that, then 'nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml'"
  die "this machine has NVIDIA GPUs, but its ${runtime^} engine has no NVIDIA container toolkit: $todo, or use RUNTIME=native, or VARIANT=cpu"
fi
problem=$(gpu_problem)
if uses_gpus && [ -n "$problem" ]; then die "$problem, VARIANT=cpu too"; fi
"$runtime" image inspect "$IMAGE" >/dev/null 2>&1 || "$root/scripts/setup_image.sh"
mkdir -p "$root/code/work_dirs" "$root/checkpoints" "$NUSCENES_DIR"
options=(--rm)
[ -t 0 ] && [ -t 1 ] || options+=(-T)
while read -r name; do options+=(-e "$name=${!name}"); done < <(library_settings)
# Ports: 'run' publishes them only when told so, and with the host's network there is nothing to publish.
if [ "$service" = jupyter ] && [ "$NETWORK_MODE" != host ]; then options+=(--service-ports); fi
exec "${compose[@]}" run "${options[@]}" ${mounts[@]+"${mounts[@]}"} "$service" "$@"
