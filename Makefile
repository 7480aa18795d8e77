# PF-Track: `make` alone lists every target and every variable. docs/architecture.md has the tour.
#
# Every target runs natively (.venv) or in a container, with the same variables and the same outputs:
# scripts/target.sh knows what each target runs and which variables it reads, scripts/run.sh decides where.
# Commands run in code/; relative outputs are relative to it. Values are data: they reach the scripts in
# the environment, and neither make nor a shell expands what is in them.

SHELL := /bin/bash
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help

##@ Variables: where it runs
RUNTIME ?= auto## auto (Docker, then Podman, when one answers), docker, podman, apptainer or native
IMAGE ?=## container image; default pf-track:VARIANT; one in a registry is pulled
SIF ?=## Apptainer image; default pf-track-VARIANT.sif
VARIANT ?=## cuda, cpu or dev; default cuda on a machine with NVIDIA GPUs, else cpu
CUDA ?=## 13 or 12, PyTorch's CUDA; default: 12 where driver (525 to 579) or GPU (Volta) is too old for 13
PYTHON ?=## Python 3.11 to 3.14 for .venv; default: the first one found
DEVICE ?= auto## auto, cpu or cuda
GPUS ?=## GPUs; 0 is the CPU; default 8 for training, 1 for the rest
NNODES ?= 1## machines that train together
NODE_RANK ?= 0## this machine's number, from 0
MASTER_ADDR ?=## address of machine 0, when NNODES is more than 1
MASTER_PORT ?=## port of machine 0 where all meet; default 29500
LOCAL_ADDR ?=## this machine's address for the others; default: the one it has towards MASTER_ADDR

##@ Variables: what it works on
RES ?= 800x320## image size: 800x320 or 1600x640
HEAD ?= petr## detection head: petr or detr3d
CONFIG ?=## configuration file; default from HEAD and RES, or from the checkpoint
WORK_DIR ?=## folder for results; default work_dirs/HEAD_STEP_RES, or one named after the checkpoint
LOAD_FROM ?=## weights to start from; default: for step two the newest of step one; none: random ones
RESUME ?= auto## auto (continue in WORK_DIR), no, or a checkpoint
CKPT ?=## checkpoint: absolute, relative, or below checkpoints/
RESULT ?=## results file of an evaluation
RESULTS ?=## of compare: results files, in quotes; the first is what the others differ from
METHOD ?= both## of the baseline: velocity, kalman or both
BASELINE ?= 0## 1: eval sets tracking by detection over the tracker's own boxes beside it
SCENES ?=## scene names, separated by commas; default: all
SPLIT ?= val## a name or a file of scene names; without it data and training take what they always took
ENGINE ?= torch## what runs the network of eval: torch, static (fixed shapes) or onnx (ONNX Runtime)
STREAMS ?= 1## scenes that each process of eval tracks at once, their images in one backbone call
FORMAT ?=## of an export: onnx (default) or torch; of videos: mp4 (default), gif, png, rrd, or several with commas
SLOTS ?= 300## of an export: live tracks it can hold
PRECISION ?= fp32## of an export: fp32 or fp16
NUSCENES ?= data/nuscenes## nuScenes' folder
VERSION ?= v1.0-trainval## v1.0-trainval, v1.0-mini or v1.0-test; other targets than data: by default the config's
WORKERS ?=## processes that convert; default: one per core
OUT ?= work_dirs/demo## the demo's folder
ONLY ?=## part of it: a group of checkpoints, a benchmark, a check, a training (f3_800x320, 800x320, f3)
TRAIN ?= 0## 1: reproduce retrains the published detectors and trackers
GOLDEN ?=## folder of golden files; default: the ones at hand
PORT ?= 8888## port on 127.0.0.1: of jupyter, and of watch (by default 6006)
ARGS ?=## more arguments; for training, key=value overrides the configuration

##@ Variables: building the image (docker/README.md)
TORCH_CUDA_ARCH_LIST ?=## GPU generations; default 7.5 to 12.0
MAX_JOBS ?=## compilers side by side; default: one per core
BASE_IMAGE ?=## default debian:bookworm-slim; may carry a digest
DEBIAN_MIRROR ?=## mirror of Debian's packages
PIP_INDEX_URL ?=## mirror of Python packages
EXTRA_CA ?=## file of certificate authorities, used while building, in no layer
NETRC ?=## file of credentials for the mirrors, used while building, in no layer

# The names above; no shell is asked for them, since make would hand it the values.
NAMES := RUNTIME IMAGE SIF VARIANT CUDA PYTHON DEVICE GPUS NNODES NODE_RANK MASTER_ADDR MASTER_PORT LOCAL_ADDR \
  RES HEAD CONFIG WORK_DIR LOAD_FROM RESUME CKPT RESULT RESULTS METHOD BASELINE SCENES SPLIT ENGINE STREAMS FORMAT SLOTS \
  PRECISION NUSCENES VERSION WORKERS OUT ONLY TRAIN GOLDEN PORT ARGS TORCH_CUDA_ARCH_LIST MAX_JOBS BASE_IMAGE \
  DEBIAN_MIRROR PIP_INDEX_URL EXTRA_CA NETRC

# $(call fail,MESSAGE): one line, exit status 2
fail = $(error $(1))
# Misspelt names would otherwise do nothing.
GIVEN := $(foreach v,$(.VARIABLES),$(if $(findstring command line,$(origin $(v))),$(v)))
UNKNOWN := $(filter-out $(NAMES) MAKEFLAGS SHELL -%,$(GIVEN))
$(if $(UNKNOWN),$(call fail,unknown variable $(firstword $(UNKNOWN)): 'make' lists the variables))
ASKED := $(filter $(NAMES),$(GIVEN))
GIVEN := $(ASKED) $(filter $(NAMES),$(foreach v,$(NAMES),$(if $(findstring environment,$(origin $(v))),$(v))))

# From here on a value is what was typed, whatever it looks like.
$(foreach v,$(GIVEN),$(eval override $$v := $$(value $$v)))
define newline


endef
$(foreach v,$(GIVEN),$(if $(findstring $(newline),$($(v))),$(call fail,$(v): a line break in a value)))

# A dry run (make -n) shows the commands whatever this machine has.
DRY_RUN := $(if $(findstring n,$(filter-out --%,$(firstword -$(MAKEFLAGS)))),1)
# $(check), in a recipe: are the values possible, are the files there? One line and status 2 if not. What
# $(shell) runs has make's own environment: here alone values are text, each in single quotes.
quote = '$(subst ','\'',$(1))'
check = $(call fail-with,$(shell $(foreach v,$(GIVEN),$(v)=$(call quote,$($(v)))) ASKED='$(ASKED)' DRY_RUN=$(DRY_RUN) \
  scripts/target.sh --check $@ $(filter-out -%,$(MAKECMDGOALS)) 2>&1))
fail-with = $(if $(1),$(call fail,$(1)))
# Run even by a dry run, which prints the command instead.
run = +@scripts/target.sh $@$(check)
export ASKED DRY_RUN $(GIVEN)

##@ Targets: start here
.PHONY: help doctor setup demo test quick
help: ## this list
	@awk -f scripts/help.awk Makefile
doctor: ## what this machine has and lacks, in seconds; before the set-up, too
	$(run)
setup: ## prepare the environment: .venv from the lock, or the image
	$(run)
demo: ## the whole story on generated data, from the data set to metrics, report and video
	$(run)
test: ## the test suite
	$(run)
quick: ## the tests that take neither other processes nor long: about a minute
	$(run)

##@ Targets: data and checkpoints
.PHONY: data checkpoints inspect
data: ## info files from nuScenes
	$(run)
checkpoints: ## download, verify and unpack the published checkpoints
	$(run)
inspect: ## what is inside a checkpoint
	$(run)

##@ Targets: training
.PHONY: train-f1 train-f3
train-f1: ## step one: the single-frame detector
	$(run)
train-f3: ## step two: the tracker on three-frame clips
	$(run)

##@ Targets: evaluation
.PHONY: eval detect export report baseline compare reproduce video view picture
eval: ## tracking with a checkpoint: metrics, forecasting metrics, report
	$(run)
detect: ## detection mAP and NDS of a checkpoint
	$(run)
export: ## a checkpoint as one static graph with its description, compared with PyTorch
	$(run)
report: ## report (HTML, JSON, PNG) from an existing results file
	$(run)
baseline: ## tracking by detection, without learning, over detections (or a tracker's own boxes)
	$(run)
compare: ## results files side by side: a table, and a page with classes, ranges, scenes and objects
	$(run)
reproduce: ## published checkpoints: published against measured numbers; TRAIN=1: retrain and compare
	$(run)
video: ## camera and bird's-eye videos of a results file
	$(run)
view: ## a results file in Rerun, natively (make setup ARGS=rerun installs it)
	$(run)
picture: ## the README's picture (a small GIF) from a results file; default: the demo's
	$(run)

##@ Targets: looking inside
.PHONY: watch jupyter notebooks parity bench gpu-check battery
watch: ## curves and time left of a training or an evaluation while it runs (TensorBoard on 127.0.0.1)
	$(run)
jupyter: ## JupyterLab on 127.0.0.1 with a token printed once
	$(run)
notebooks: ## execute every notebook
	$(run)
parity: ## compare with a folder of golden files, largest error per array
	$(run)
bench: ## the benchmarks: time, memory, precision
	$(run)
gpu-check: ## is it right and fast on this machine's GPU? 8 minutes, no data; DEVICE=cpu: a walk through it
	$(run)
battery: ## bad inputs by the thousand over all commands and formats: does each end in one line?
	$(run)

##@ Targets: the environment
.PHONY: build sif shell test-images clean
build: ## build the image
	$(run)
sif: ## Apptainer image (SIF) from the built one
	$(run)
shell: ## a shell in the environment
	$(run)
test-images: ## build the images and test them as containers, where an engine answers
	$(run)
clean: ## remove caches, the demo's results and .venv; trainings, data and checkpoints stay
	$(run)
