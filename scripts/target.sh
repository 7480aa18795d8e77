#!/usr/bin/env bash
# What each target of make runs. Values are in the environment, else in .env, else the Makefile's.
#
#   target.sh TARGET                      run it (DRY_RUN set: print the command)
#   target.sh --check TARGET [GOAL...]    print what is wrong with the values, or nothing
#
# ASKED: the variables on make's command line; one that none of the goals reads is a mistake.
set -euo pipefail
# shellcheck source=scripts/lib.sh
. "$(dirname "$0")/lib.sh"

checking=
if [ "${1:-}" = --check ]; then
  checking=1
  shift
  problem() {
    echo "$*"
    exit 0
  }
else
  problem() { die "$@"; }
fi
target=$1
shift
goals=("$@")

# --- which variables a target reads ------------------------------------------------------------------

anywhere="RUNTIME IMAGE SIF VARIANT CUDA PYTHON DEVICE"
# What the scripts and tools read from the environment; the other values are options of commands.
passed=" $anywhere NNODES NODE_RANK MASTER_ADDR MASTER_PORT LOCAL_ADDR PORT TORCH_CUDA_ARCH_LIST MAX_JOBS BASE_IMAGE DEBIAN_MIRROR \
  PIP_INDEX_URL EXTRA_CA NETRC "
image="TORCH_CUDA_ARCH_LIST MAX_JOBS BASE_IMAGE DEBIAN_MIRROR PIP_INDEX_URL EXTRA_CA NETRC"
reads() { # reads TARGET
  case $1 in
    setup | build | sif | test-images) echo "ARGS" ;;
    demo) echo "OUT ARGS" ;;
    test | quick | notebooks | battery) echo "ARGS" ;;
    data) echo "NUSCENES VERSION WORKERS SPLIT ARGS" ;;
    checkpoints) echo "ONLY ARGS" ;;
    inspect) echo "CKPT CONFIG ARGS" ;;
    train-*) echo "GPUS NNODES NODE_RANK MASTER_ADDR MASTER_PORT LOCAL_ADDR RES HEAD CONFIG WORK_DIR LOAD_FROM RESUME SPLIT NUSCENES VERSION ARGS" ;;
    eval) echo "GPUS CKPT CONFIG WORK_DIR SPLIT ENGINE STREAMS BASELINE NUSCENES VERSION ARGS" ;;
    detect) echo "GPUS CKPT CONFIG WORK_DIR SPLIT NUSCENES VERSION ARGS" ;;
    export) echo "CKPT CONFIG FORMAT SLOTS PRECISION OUT ARGS" ;;
    doctor) echo "NUSCENES ARGS" ;;
    gpu-check) echo "ONLY ARGS" ;;
    report) echo "RESULT WORK_DIR SPLIT NUSCENES VERSION ARGS" ;;
    baseline) echo "RESULT METHOD WORK_DIR SPLIT NUSCENES VERSION ARGS" ;;
    compare) echo "RESULTS WORK_DIR SPLIT NUSCENES VERSION ARGS" ;;
    reproduce) echo "GPUS NNODES NODE_RANK MASTER_ADDR MASTER_PORT LOCAL_ADDR TRAIN HEAD ONLY RES WORK_DIR NUSCENES VERSION ARGS" ;;
    video) echo "RESULT SCENES FORMAT WORK_DIR SPLIT NUSCENES VERSION ARGS" ;;
    view) echo "RESULT SCENES SPLIT NUSCENES VERSION ARGS" ;;
    picture) echo "RESULT OUT NUSCENES VERSION ARGS" ;;
    jupyter) echo "PORT ARGS" ;;
    watch) echo "WORK_DIR PORT" ;;
    parity) echo "GOLDEN ARGS" ;;
    bench) echo "ONLY ARGS" ;;
  esac
}
check_asked() { # every goal's own check says the same; image settings may come with any target
  local name goal all=
  for goal in "${goals[@]:-$target}"; do all+=" $(reads "$goal")"; done
  for name in ${ASKED:-}; do
    [[ " $anywhere $image $all " == *" $name "* ]] ||
      problem "make $target does not read $name: it reads $(reads "$target"), and of where it runs $anywhere"
  done
}

# --- values -------------------------------------------------------------------------------------------

names=()
while IFS=$'\t' read -r name default; do
  names+=("$name")
  declare "default_$name=$default"
done < <(sed -n 's/^\([A-Z_]*\) ?= *\([^#]*\)##.*/\1\t\2/p' "$root/Makefile")
read_dotenv "$root/.env"
# Before the defaults: what the user says.
nuscenes_given=${NUSCENES:-${NUSCENES_DIR:-}}
port_given=${PORT:-} version_given=${VERSION:-} split_given=${SPLIT:-} res_given=${RES:-} out_given=${OUT:-}
for name in "${names[@]}"; do
  default=default_$name
  [ -n "${!name:-}" ] || printf -v "$name" '%s' "${!default}"
  # Empty ones are left out, so that nothing mistakes them for a value.
  if [ -n "${!name}" ] && [[ $passed == *" $name "* ]]; then export "${name?}"; else export -n "${name?}"; fi
done

one_of() { # one_of NAME VALUE...
  local name=$1 value
  shift
  for value in "$@"; do [ "${!name}" != "$value" ] || return 0; done
  problem "$name=${!name}: must be one of: $*"
}
number() { # number NAME LEAST MOST
  [ -n "${!1}" ] || return 0
  [[ ${!1} =~ ^[0-9]+$ ]] || problem "$1=${!1}: must be a whole number"
  [[ ${#1} -lt 100 && ${!1} =~ ^[0-9]{1,9}$ ]] && [ "$((10#${!1}))" -ge "$2" ] && [ "$((10#${!1}))" -le "$3" ] ||
    problem "$1=${!1}: must be between $2 and $3"
}
check_values() {
  local name
  for name in "${names[@]}"; do
    case $name in
      ARGS) ;;
      *) [[ ${!name} != -* ]] || problem "$name=${!name}: a value does not begin with a dash" ;;
    esac
    [[ ${!name} != *$'\n'* ]] || problem "$name: a line break in a value"
  done
  one_of RUNTIME auto docker podman apptainer native
  [ -z "$VARIANT" ] || one_of VARIANT cuda cpu dev
  [ -z "$CUDA" ] || one_of CUDA 12 13
  one_of DEVICE auto cpu cuda
  one_of ENGINE torch static onnx
  one_of PRECISION fp32 fp16
  one_of RES 800x320 1600x640
  one_of HEAD petr detr3d
  one_of TRAIN 0 1
  one_of BASELINE 0 1
  one_of METHOD velocity kalman both
  one_of VERSION v1.0-trainval v1.0-test v1.0-mini v1.0
  number GPUS 0 64
  number NNODES 1 4096
  number NODE_RANK 0 4095
  number PORT 1 65535
  number MASTER_PORT 1 65535
  number WORKERS 0 256
  number MAX_JOBS 1 1024
  number SLOTS 1 100000
  number STREAMS 1 1024
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
        local have unusable
        have=$(gpu_count)
        [ "$GPUS" -le "$have" ] ||
          problem "GPUS=$GPUS: this machine has $have usable NVIDIA GPU(s); use GPUS=0 for the CPU, or DEVICE=cpu for $GPUS processes on it"
        unusable=$(gpu_problem)
        [ -z "$unusable" ] || problem "GPUS=$GPUS: $unusable"
      fi
      ;;
  esac
}

# find_file NAME HINT: the file that variable NAME names, as an absolute path in $found: absolute, relative
# to the project, to code/, or below checkpoints/
find_file() {
  local value=${!1} base
  [ -n "$value" ] || problem "make $target needs $1=...: $2"
  for base in "" "$root/" "$root/code/" "$root/checkpoints/"; do
    if [[ $base$value == /* && -e $base$value ]]; then
      found=$(realpath -s -- "$base$value")
      return
    fi
  done
  found=$value
  [ -n "${DRY_RUN:-}" ] || problem "$1=$value: no such file (looked in ./, code/ and checkpoints/): $2"
}
hint_ckpt="e.g. CKPT=f3_all/final.pth ('make checkpoints' downloads the published ones)"
hint_detector="e.g. LOAD_FROM=work_dirs/petr_f1_800x320/latest.pth, or LOAD_FROM=none for random weights"
hint_config="e.g. CONFIG=projects/configs/tracking/petr/f3_q5_800x320.py"
hint_results='e.g. RESULTS="work_dirs/a/results_nusc.json work_dirs/b/results_nusc.json"'
hint_result="e.g. RESULT=work_dirs/.../results_nusc.json ('make eval' writes one)"

# split_words NAME: the value of NAME as words in $words; quotes group, nothing is expanded
split_words() {
  words=()
  [ -n "${!1}" ] || return 0
  local word
  printf '%s\n' "${!1}" | xargs printf '%s\0' >/dev/null 2>&1 || problem "$1=${!1}: a quote is not closed"
  while IFS= read -r -d '' word; do words+=("$word"); done < <(printf '%s\n' "${!1}" | xargs printf '%s\0')
}
split_args() {
  split_words ARGS
  args=(${words[@]+"${words[@]}"})
}

# --- commands -------------------------------------------------------------------------------------------

command=()
outside=() # run.sh's options for files and folders outside the project
reading() { [[ $1 != /* ]] || outside+=(--read "$1"); }
writing() { [[ $1 != /* ]] || outside+=(--write "$1"); }
in_service() { # in_service SERVICE WORD...: outside and args are added
  command=(scripts/run.sh ${outside[@]+"${outside[@]}"} "$@" ${args[@]+"${args[@]}"})
}
# add_split: the split, when the user names one; a file of scene names becomes an absolute path
add_split() {
  [ -n "$split_given" ] || return 0
  if [[ $SPLIT == *.txt || $SPLIT == */* ]]; then
    find_file SPLIT "a split is a name, or a file of scene names ('pftrack split' makes one)"
    reading "$found"
    options+=(--split "$found")
  else
    options+=(--split "$SPLIT")
  fi
}
add_nuscenes() { # add_nuscenes OPTION: where the data are, when the user says so
  if [ -n "$nuscenes_given" ]; then
    NUSCENES=$nuscenes_given
    [[ $NUSCENES != /* ]] || { find_file NUSCENES "the folder that holds maps/ samples/ and the version's folder" && NUSCENES=$found; }
    reading "$NUSCENES"
    options+=("$1" "$NUSCENES")
  fi
  [ -z "$version_given" ] || options+=(--version "$VERSION")
}

build_command() {
  local options=()
  case $target in
    train-*) : "${GPUS:=8}" ;;
    reproduce) if [ "$TRAIN" = 1 ]; then : "${GPUS:=8}"; else : "${GPUS:=1}"; fi ;;
    *) : "${GPUS:=1}" ;;
  esac
  check_values
  split_args
  case $target in
    doctor) command=(scripts/doctor.sh --nuscenes "${nuscenes_given:-$NUSCENES}" ${args[@]+"${args[@]}"}) ;;
    gpu-check)
      [ -z "$ONLY" ] || options+=(--only "$ONLY")
      in_service test python tools/gpu_check.py --device "$DEVICE" ${options[@]+"${options[@]}"}
      ;;
    setup)
      local part
      for part in ${args[@]+"${args[@]}"}; do
        case $part in
          rerun | timm | argoverse) ;;
          *) problem "ARGS=$part: the optional parts are rerun, timm and argoverse" ;;
        esac
      done
      command=(scripts/setup.sh ${args[@]+"${args[@]}"})
      ;;
    build) command=(scripts/build.sh ${args[@]+"${args[@]}"}) ;;
    sif) command=(scripts/sif.sh ${args[@]+"${args[@]}"}) ;;
    test-images) command=(scripts/test_images.sh ${args[@]+"${args[@]}"}) ;;
    clean) command=(scripts/clean.sh) ;;
    shell) in_service shell bash ;;
    demo)
      writing "$OUT"
      in_service train python tools/demo.py --out "$OUT"
      ;;
    test) in_service test python -m pytest ;;
    quick) # what is left out is not even imported
      in_service test python -m pytest -n auto --maxprocesses 4 --ignore tests/processes --ignore tests/containers \
        -m 'not process and not slow and not docker and not gpu'
      ;;
    notebooks) in_service test python tools/run_notebooks.py ;;
    battery) in_service test python tools/battery.py ;;
    data)
      local dataset=nuscenes-tracking name=$VERSION
      [ "$VERSION" != v1.0-test ] || dataset=nuscenes-tracking-test
      [ "$VERSION" = v1.0-mini ] || name=v1.0
      [ -z "$nuscenes_given" ] || NUSCENES=$nuscenes_given
      if [[ $NUSCENES == /* ]]; then
        find_file NUSCENES "the folder that holds maps/ samples/ and the version's folder"
        writing "$found"
      fi
      [ -z "$WORKERS" ] || options+=(--workers "$WORKERS")
      add_split
      in_service data python tools/create_data.py "$dataset" --root-path "$NUSCENES" --out-dir "$NUSCENES" \
        --extra-tag tracking_forecasting --version "$name" --forecasting ${options[@]+"${options[@]}"}
      ;;
    checkpoints)
      [ -z "$ONLY" ] || options+=(--only "$ONLY")
      in_service train python tools/download_checkpoints.py ${options[@]+"${options[@]}"}
      ;;
    inspect)
      find_file CKPT "$hint_ckpt"
      local checkpoint=$found
      reading "$checkpoint"
      add_config
      in_service eval python tools/inspect_checkpoint.py "$checkpoint" ${options[@]+"${options[@]}"}
      ;;
    train-*)
      local step=${target#train-}
      local config=projects/configs/tracking/$HEAD/${step}_q5_$RES.py
      if [ -n "$CONFIG" ]; then
        find_file CONFIG "$hint_config"
        config=$found
        reading "$config"
      fi
      : "${WORK_DIR:=work_dirs/${HEAD}_${step}_$RES}"
      writing "$WORK_DIR"
      options=(--work-dir "$WORK_DIR")
      case $RESUME in
        auto) options+=(--auto-resume) ;;
        no) ;;
        *)
          find_file RESUME "auto - no - or a checkpoint"
          reading "$found"
          options+=(--resume-from "$found")
          ;;
      esac
      case $LOAD_FROM in
        '') ;;
        none) options+=(--load-from none) ;;
        *)
          find_file LOAD_FROM "$hint_detector"
          reading "$found"
          options+=(--load-from "$found")
          ;;
      esac
      add_split
      add_nuscenes --nuscenes
      in_service train bash tools/dist_train.sh "$config" "$GPUS" "${options[@]}"
      ;;
    eval | detect)
      find_file CKPT "$hint_ckpt"
      local checkpoint=$found
      reading "$checkpoint"
      options=(--gpus "$GPUS")
      add_split
      # shellcheck disable=SC2153 # a variable of make's
      [ "$target" != eval ] || options+=(--engine "$ENGINE")
      # shellcheck disable=SC2153
      [ "$target" != eval ] || [ "$STREAMS" = 1 ] || options+=(--streams "$STREAMS")
      [ "$target$BASELINE" != eval1 ] || options+=(--baseline)
      add_config
      if [ -n "$WORK_DIR" ]; then
        writing "$WORK_DIR"
        options+=(--work-dir "$WORK_DIR")
      fi
      add_nuscenes --nuscenes
      in_service eval python "tools/$target.py" "$checkpoint" "${options[@]}"
      ;;
    export)
      find_file CKPT "$hint_ckpt"
      local checkpoint=$found
      reading "$checkpoint"
      : "${FORMAT:=onnx}"
      one_of FORMAT onnx torch
      # shellcheck disable=SC2153 # a variable of make's
      options=(--format "$FORMAT" --slots "$SLOTS" --precision "$PRECISION")
      add_config
      if [ -n "$out_given" ]; then
        writing "$OUT"
        options+=(--out "$OUT")
      fi
      in_service eval python tools/export.py "$checkpoint" "${options[@]}"
      ;;
    report | baseline | video | view)
      find_file RESULT "$hint_result"
      local result=$found tool=$target.py
      [ "$target" != video ] || tool=make_video.py
      if [ "$target" = view ]; then reading "$result"; else writing "$(dirname "$result")"; fi
      [ "$target" != baseline ] || options+=(--method "$METHOD")
      [ "$target" != video ] || [ -z "$FORMAT" ] || options+=(--format "$FORMAT")
      case $target in video | view) [ -z "$SCENES" ] || options+=(--scenes "$SCENES") ;; esac
      if [ -n "$WORK_DIR" ]; then
        writing "$WORK_DIR"
        options+=(--out "$WORK_DIR")
      fi
      add_split
      add_nuscenes --dataroot
      in_service eval python "tools/$tool" "$result" ${options[@]+"${options[@]}"}
      ;;
    compare)
      split_words RESULTS
      [ ${#words[@]} -ge 2 ] || problem "make compare needs RESULTS=...: two results files or more, $hint_results"
      local results=() RESULTS
      # shellcheck disable=SC2034 # find_file reads it by its name
      for RESULTS in "${words[@]}"; do
        find_file RESULTS "$hint_results"
        reading "$(dirname "$found")"
        results+=("$found")
      done
      : "${WORK_DIR:=$(dirname "$found")/compare}"
      writing "$WORK_DIR"
      options=(--out "$WORK_DIR")
      add_split
      add_nuscenes --dataroot
      in_service eval python tools/compare.py "${results[@]}" "${options[@]}"
      ;;
    picture)
      : "${RESULT:=$OUT/eval/results_nusc.json}"
      find_file RESULT "$hint_result"
      local result=$found
      reading "$result"
      writing "$root/docs/images"
      add_nuscenes --dataroot
      in_service eval python tools/make_video.py "$result" --readme-picture ../docs/images/demo.gif --frames 26 --min-score 0.4 \
        ${options[@]+"${options[@]}"}
      ;;
    reproduce)
      local service=eval tool=reproduce.py
      options=(--gpus "$GPUS")
      if [ "$TRAIN" = 1 ]; then
        service=train tool=retrain.py
        # An image size given by hand is a part of it, too.
        : "${ONLY:=$res_given}"
      fi
      if [ -n "$WORK_DIR" ]; then
        writing "$WORK_DIR"
        options+=(--work-dir "$WORK_DIR")
      fi
      [ -z "$ONLY" ] || options+=(--only "$ONLY")
      add_nuscenes --nuscenes
      in_service "$service" python "tools/$tool" "${options[@]}"
      ;;
    jupyter) in_service jupyter ../scripts/jupyter.sh ;;
    watch)
      : "${WORK_DIR:=work_dirs}"
      find_file WORK_DIR "the work dir of a training or an evaluation, or a folder of them"
      reading "$found"
      PORT=${port_given:-6006}
      export PORT
      in_service jupyter ../scripts/watch.sh "$found"
      ;;
    parity)
      if [ -z "$GOLDEN" ]; then
        local folder
        for folder in "$root/../shared/golden" "$root/code/tests/golden"; do
          [ ! -d "$folder" ] || [ -n "$GOLDEN" ] || GOLDEN=$folder
        done
      fi
      find_file GOLDEN "a folder of golden files"
      local golden=$found
      reading "$golden"
      in_service test python tools/check_parity.py "$golden"
      ;;
    bench)
      [ -z "$ONLY" ] || options+=("$ONLY")
      in_service test python tools/bench.py ${options[@]+"${options[@]}"}
      ;;
    *) die "no target '$target'" ;;
  esac
}
add_config() {
  [ -n "$CONFIG" ] || return 0
  find_file CONFIG "$hint_config"
  reading "$found"
  options+=(--config "$found")
}

cd "$root"
check_asked
build_command
[ -z "$checking" ] || exit 0
if [ -n "${DRY_RUN:-}" ]; then
  printf '%q ' "${command[@]}"
  echo
  exit 0
fi
exec "${command[@]}"
