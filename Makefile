# PF-Track: `make` alone lists every target and every variable. docs/architecture.md has the tour.
#
# Every target runs natively (.venv) or in a container, with the same variables and the same outputs:
# scripts/run.sh decides and prepares. Commands run in code/; relative outputs are relative to it.

SHELL := /bin/bash
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
-include .env

##@ Variables: where it runs
RUNTIME ?= auto## auto (Docker when an engine answers), docker or native
IMAGE ?=## container image; default pf-track:VARIANT; one in a registry is pulled
VARIANT ?=## cuda, cpu or dev; default cuda on a machine with NVIDIA GPUs, else cpu
CUDA ?=## 13 or 12, PyTorch's CUDA; default: 12 where driver (525 to 579) or GPU (Volta) is too old for 13
PYTHON ?=## Python 3.11 to 3.14 for .venv; default: the first one found
DEVICE ?= auto## auto, cpu or cuda
GPUS ?=## GPUs; 0 is the CPU; default 8 for training, 1 for the rest
NNODES ?= 1## machines that train together
NODE_RANK ?= 0## this machine's number, from 0
MASTER_ADDR ?=## address of machine 0, when NNODES is more than 1

##@ Variables: what it works on
RES ?= 800x320## image size: 800x320 or 1600x640
HEAD ?= petr## detection head: petr or detr3d
CONFIG ?=## configuration file; default from HEAD and RES, or from the checkpoint
WORK_DIR ?=## folder for results; default work_dirs/HEAD_STEP_RES, or one named after the checkpoint
LOAD_FROM ?=## weights to start from; default: for step two the newest of step one; none: random ones
RESUME ?= auto## auto (continue in WORK_DIR), no, or a checkpoint
CKPT ?=## checkpoint: absolute, relative, or below checkpoints/
RESULT ?=## results file of an evaluation
SCENES ?=## scene names, separated by commas; default: all
SPLIT ?= val## split to evaluate
ENGINE ?= torch## what runs the network of eval: torch, static (fixed shapes) or onnx (ONNX Runtime)
FORMAT ?= onnx## of an export: onnx or torch
SLOTS ?= 300## of an export: live tracks it can hold
PRECISION ?= fp32## of an export: fp32 or fp16
NUSCENES ?= data/nuscenes## nuScenes' folder
VERSION ?= v1.0-trainval## v1.0-trainval, v1.0-mini or v1.0-test
WORKERS ?=## processes that convert; default: one per core
OUT ?= work_dirs/demo## the demo's folder
ONLY ?=## part of it: a group of checkpoints, a benchmark, a check, a training (f3_800x320, 800x320, f3)
TRAIN ?= 0## 1: reproduce retrains the published detectors and trackers
GOLDEN ?=## folder of golden files; default: the ones at hand
PORT ?= 8888## JupyterLab's port on 127.0.0.1
ARGS ?=## more arguments; for training, key=value overrides the configuration

##@ Variables: building the image (docker/README.md)
TORCH_CUDA_ARCH_LIST ?=## GPU generations; default 7.5 to 12.0
MAX_JOBS ?=## compilers side by side; default: one per core
BASE_IMAGE ?=## default debian:bookworm-slim; may carry a digest
DEBIAN_MIRROR ?=## mirror of Debian's packages
PIP_INDEX_URL ?=## mirror of Python packages
EXTRA_CA ?=## file of certificate authorities, used while building, in no layer
NETRC ?=## file of credentials for the mirrors, used while building, in no layer

KNOWN := $(shell sed -n 's/^\([A-Z_]*\) ?=.*/\1/p' Makefile)
# What the scripts read; an empty variable is left out, so that nothing mistakes it for a value.
PASSED := RUNTIME IMAGE VARIANT CUDA PYTHON DEVICE NNODES NODE_RANK MASTER_ADDR PORT TORCH_CUDA_ARCH_LIST MAX_JOBS \
  BASE_IMAGE DEBIAN_MIRROR PIP_INDEX_URL EXTRA_CA NETRC
export $(foreach v,$(PASSED),$(if $($(v)),$(v))) $(shell sed -n 's/^\([A-Z_]*\)=.*/\1/p' .env 2>/dev/null)

RUN := scripts/run.sh
CONFIGS := projects/configs/tracking

# A dry run (make -n) shows the commands whatever this machine has.
DRY_RUN := $(if $(findstring n,$(filter-out --%,$(firstword -$(MAKEFLAGS)))),1)
CHECKED := RUNTIME VARIANT CUDA DEVICE GPUS NNODES NODE_RANK MASTER_ADDR RES HEAD VERSION WORKERS PORT MAX_JOBS TRAIN \
  ENGINE FORMAT SLOTS PRECISION

# $(call fail,MESSAGE): one line, exit status 2
fail = $(error $(1))
# $(check), in a recipe: are the variables' values possible? All lines are expanded before any is run.
check = $(call fail-with,$(shell $(foreach v,$(CHECKED),$(v)='$($(v))') DRY_RUN=$(DRY_RUN) scripts/check.sh $@))
fail-with = $(if $(1),$(call fail,$(1)))
# $(call path-of,NAME,HINT): the file that variable NAME names, as an absolute path
path-of = $(if $($(1)),$(or $(shell scripts/find.sh '$($(1))'),$(call missing-file,$(1),$(2))),$(call fail,make $@ needs $(1)=...: $(2)))
missing-file = $(if $(DRY_RUN),$($(1)),$(call fail,$(1)=$($(1)): no such file (looked in ./, code/ and checkpoints/): $(2)))
# $(call write,PATH): run.sh's option for an output folder outside the project
write = $(if $(filter /%,$(1)),--write '$(1)')
# Misspelt names would otherwise do nothing.
UNKNOWN := $(filter-out $(KNOWN) MAKEFLAGS SHELL,$(foreach v,$(.VARIABLES),$(if $(findstring command line,$(origin $(v))),$(v))))
$(if $(filter-out -%,$(UNKNOWN)),$(call fail,unknown variable $(firstword $(UNKNOWN)): 'make' lists the variables))

HINT_CKPT = e.g. CKPT=f3_all/final.pth ('make checkpoints' downloads the published ones)
HINT_DETECTOR = e.g. LOAD_FROM=work_dirs/petr_f1_800x320/latest.pth, or LOAD_FROM=none for random weights
HINT_CONFIG = e.g. CONFIG=projects/configs/tracking/petr/f3_q5_800x320.py
HINT_RESULT = e.g. RESULT=work_dirs/.../results_nusc.json ('make eval' writes one)

##@ Targets: start here
.PHONY: help doctor setup demo test quick
help: ## this list
	@awk -f scripts/help.awk Makefile

doctor: ## what this machine has and lacks, in seconds; before the set-up, too
	scripts/doctor.sh --nuscenes '$(NUSCENES)' $(ARGS)
	$(check)

setup: ## prepare the environment: .venv from the lock, or the image
	scripts/setup.sh
	$(check)

demo: ## the whole story on generated data, from the data set to metrics, report and video
	$(RUN) $(call write,$(OUT)) train python tools/demo.py --out '$(OUT)' $(ARGS)
	$(check)

test: ## the test suite
	$(RUN) test python -m pytest $(ARGS)
	$(check)

quick: ## the tests that take neither other processes nor long: about a minute
	$(RUN) test python -m pytest -m 'not process and not slow and not docker and not gpu' $(ARGS)
	$(check)

##@ Targets: data and checkpoints
.PHONY: data checkpoints inspect
SPLIT_CONVERTER = $(if $(findstring test,$(VERSION)),nuscenes-tracking-test,nuscenes-tracking)
VERSION_NAME = $(patsubst v1.0-trainval,v1.0,$(patsubst v1.0-test,v1.0,$(VERSION)))
HINT_NUSCENES = the folder that holds maps/ samples/ and the version's folder
DATA_FOLDER = $(if $(filter /%,$(NUSCENES)),--write '$(call path-of,NUSCENES,$(HINT_NUSCENES))')
data: ## info files from nuScenes
	$(RUN) $(DATA_FOLDER) data python tools/create_data.py $(SPLIT_CONVERTER) \
	  --root-path '$(NUSCENES)' --out-dir '$(NUSCENES)' --extra-tag tracking_forecasting \
	  --version $(VERSION_NAME) --forecasting $(if $(WORKERS),--workers $(WORKERS)) $(ARGS)
	$(check)

checkpoints: ## download, verify and unpack the published checkpoints
	$(RUN) train python tools/download_checkpoints.py $(if $(ONLY),--only '$(ONLY)') $(ARGS)
	$(check)

inspect: ## what is inside a checkpoint
	$(RUN) --read '$(call path-of,CKPT,$(HINT_CKPT))' eval python tools/inspect_checkpoint.py \
	  '$(call path-of,CKPT,$(HINT_CKPT))' $(CONFIG_OPTION) $(ARGS)
	$(check)

##@ Targets: training
.PHONY: train-f1 train-f3
train-f1 train-f3: STEP = $(@:train-%=%)
train-f1 train-f3: GPUS := $(or $(GPUS),8)
train-f1 train-f3: CONFIG_FILE = $(if $(CONFIG),$(call path-of,CONFIG,$(HINT_CONFIG)),$(CONFIGS)/$(HEAD)/$(STEP)_q5_$(RES).py)
train-f1 train-f3: RESULTS = $(or $(WORK_DIR),work_dirs/$(HEAD)_$(STEP)_$(RES))
train-f1 train-f3: RESUME_OPTION = $(if $(filter auto,$(RESUME)),--auto-resume,$(if $(filter no,$(RESUME)),,--resume-from '$(call path-of,RESUME,auto - no - or a checkpoint)'))
train-f1 train-f3: LOAD_OPTION = $(if $(LOAD_FROM),--load-from '$(if $(filter none,$(LOAD_FROM)),none,$(call path-of,LOAD_FROM,$(HINT_DETECTOR)))')
train-f1: ## step one: the single-frame detector
train-f3: ## step two: the tracker on three-frame clips
train-f1 train-f3:
	$(RUN) $(call write,$(RESULTS)) train bash tools/dist_train.sh $(CONFIG_FILE) $(GPUS) --work-dir '$(RESULTS)' \
	  $(RESUME_OPTION) $(LOAD_OPTION) $(ARGS)
	$(check)

##@ Targets: evaluation
.PHONY: eval detect export report reproduce video picture
RETRAIN = $(filter 1,$(TRAIN))
eval detect: GPUS := $(or $(GPUS),1)
reproduce: GPUS := $(or $(GPUS),$(if $(RETRAIN),8,1))
# An image size given by hand is a part of it, too.
reproduce: ONLY := $(or $(ONLY),$(if $(RETRAIN),$(if $(findstring command line,$(origin RES)),$(RES))))
ONLY_OPTION = $(if $(ONLY),--only '$(ONLY)')
CONFIG_OPTION = $(if $(CONFIG),--config '$(call path-of,CONFIG,$(HINT_CONFIG))')
WORK_DIR_OPTION = $(if $(WORK_DIR),--work-dir '$(WORK_DIR)')
eval: ## tracking with a checkpoint: metrics, forecasting metrics, report
	$(RUN) --read '$(call path-of,CKPT,$(HINT_CKPT))' $(call write,$(WORK_DIR)) eval python tools/eval.py \
	  '$(call path-of,CKPT,$(HINT_CKPT))' --gpus $(GPUS) --split $(SPLIT) --engine $(ENGINE) $(CONFIG_OPTION) $(WORK_DIR_OPTION) $(ARGS)
	$(check)

detect: ## detection mAP and NDS of a checkpoint
	$(RUN) --read '$(call path-of,CKPT,$(HINT_CKPT))' $(call write,$(WORK_DIR)) eval python tools/detect.py \
	  '$(call path-of,CKPT,$(HINT_CKPT))' --gpus $(GPUS) --split $(SPLIT) $(CONFIG_OPTION) $(WORK_DIR_OPTION) $(ARGS)
	$(check)

export: DEPLOYED = $(if $(findstring command line,$(origin OUT)),$(OUT))
export: ## a checkpoint as one static graph with its description, compared with PyTorch
	$(RUN) --read '$(call path-of,CKPT,$(HINT_CKPT))' $(call write,$(DEPLOYED)) eval python tools/export.py \
	  '$(call path-of,CKPT,$(HINT_CKPT))' --format $(FORMAT) --slots $(SLOTS) --precision $(PRECISION) \
	  $(CONFIG_OPTION) $(if $(DEPLOYED),--out '$(DEPLOYED)') $(ARGS)
	$(check)

report: ## report (HTML, JSON, PNG) from an existing results file
	$(RUN) --write '$(dir $(call path-of,RESULT,$(HINT_RESULT)))' $(call write,$(WORK_DIR)) eval python tools/report.py \
	  '$(call path-of,RESULT,$(HINT_RESULT))' $(if $(WORK_DIR),--out '$(WORK_DIR)') $(ARGS)
	$(check)

reproduce: ## published checkpoints: published against measured numbers; TRAIN=1: retrain and compare
	$(RUN) $(if $(RETRAIN),$(call write,$(WORK_DIR)) train python tools/retrain.py --gpus $(GPUS) $(WORK_DIR_OPTION),\
	  eval python tools/reproduce.py --gpus $(GPUS)) $(ONLY_OPTION) $(ARGS)
	$(check)

video: ## camera and bird's-eye videos of a results file
	$(RUN) --write '$(dir $(call path-of,RESULT,$(HINT_RESULT)))' $(call write,$(WORK_DIR)) eval python tools/make_video.py \
	  '$(call path-of,RESULT,$(HINT_RESULT))' $(if $(SCENES),--scenes '$(SCENES)') $(if $(WORK_DIR),--out '$(WORK_DIR)') $(ARGS)
	$(check)

picture: RESULT := $(or $(RESULT),$(OUT)/eval/results_nusc.json)
picture: ## the README's picture (a small GIF) from a results file; default: the demo's
	$(RUN) --read '$(call path-of,RESULT,$(HINT_RESULT))' $(call write,$(CURDIR)/docs/images) eval python tools/make_video.py \
	  '$(call path-of,RESULT,$(HINT_RESULT))' --readme-picture ../docs/images/demo.gif --frames 26 $(ARGS)
	$(check)

##@ Targets: looking inside
.PHONY: jupyter notebooks parity bench gpu-check
jupyter: ## JupyterLab on 127.0.0.1 with a token printed once
	$(RUN) jupyter ../scripts/jupyter.sh $(ARGS)
	$(check)

notebooks: ## execute every notebook
	$(RUN) test python tools/run_notebooks.py $(ARGS)
	$(check)

parity: GOLDEN := $(or $(GOLDEN),$(firstword $(wildcard ../shared/golden code/tests/golden)))
parity: ## compare with a folder of golden files, largest error per array
	$(RUN) --read '$(call path-of,GOLDEN,a folder of golden files)' test python tools/check_parity.py \
	  '$(call path-of,GOLDEN,a folder of golden files)' $(ARGS)
	$(check)

bench: ## the benchmarks: time, memory, precision
	$(RUN) test python tools/bench.py $(ONLY) $(ARGS)
	$(check)

gpu-check: ## is it right and fast on this machine's GPU? 8 minutes, no data; DEVICE=cpu: a walk through it
	$(RUN) test python tools/gpu_check.py --device $(DEVICE) $(if $(ONLY),--only '$(ONLY)') $(ARGS)
	$(check)

##@ Targets: the environment
.PHONY: build shell test-images clean
build: ## build the image
	scripts/build.sh $(ARGS)
	$(check)

shell: ## a shell in the environment
	$(RUN) shell bash
	$(check)

test-images: ## build the images and test them as containers, where an engine answers
	scripts/test_images.sh $(ARGS)
	$(check)

clean: ## remove caches, the demo's results and .venv; trainings, data and checkpoints stay
	scripts/clean.sh
