# From a clean clone: `make submission` or `make test`. Everything lands in .venv/ and runs/.
#
#   make submission                                                       the embedded nursery corpus
#   make submission CORPUS=DIR EVAL_DATA=DIR PRESET=cpu-hour              your own text and the official evaluation data
#   … PREPARE_ARGS="--track 2026/strict-small"                            more options for python -m babylm_data
#   … FULL="blimp_filtered reading" FAST=blimp_fast                       other tasks for the models, and for the revisions
#   … RULES=2025 FULL=full FAST="fast aoa" PARTIAL=1                      the leaderboard's file, as far as the data go
#   … RULES=2026 LICENSE=mit FULL=full-2026 FAST="fast-2026 aoa"          that of 2026
#   … PRESET=babyllama-58m PREPARE_ARGS="--vocab-size 16000 --prefix-space"   a full recipe, for a GPU
#   … PRESET=born-again                                                   one whose teacher is its own control
#   … PRESET=strict-tiny PREPARE_ARGS="--share 0.1 --vocab-size 4096"     a tenth of the text
#
# A preset is a config of distill/configs/, with all the teachers, controls and caches that it needs. Those of nursery and
# cpu-hour, for trying, score what takes minutes; any other scores all that RULES, those of the leaderboard, ask for, fine-tuning
# too, and ends in its file; data that are not there are named before anything is trained. Every stage that is finished is
# passed over, so a stopped line goes on where it was.

SHELL := /bin/bash -euo pipefail
PYTHON ?= python3
PRESET ?= nursery
RUN := .venv/bin/python -m
STUDENT := distill/configs/$(PRESET).yaml
DATA := $(or $(shell sed -nE 's,^  path: (runs/[^ ]+-data).*,\1,p' $(STUDENT) 2>/dev/null),runs/$(PRESET)-data)
# Whether it has a llama and a GPT-2 of its own, which `make line` makes jobs of that run side by side.
PAIR := $(shell grep -l 'runs/$(PRESET)-llama/export' $(STUDENT) 2>/dev/null)

ifeq ($(DATA),runs/nursery-data)
  ifneq ($(CORPUS),)
    $(error CORPUS=DIR goes with a preset for real text: add PRESET=cpu-hour)
  endif
  PREPARE := --source nursery
  EVAL_DATA ?= $(DATA)/evaluation_data
  FULL ?= nursery
  FAST ?= nursery
else
  PREPARE = --raw "$(CORPUS)" $(PREPARE_ARGS)
  ifeq ($(PRESET),cpu-hour)
    FULL ?= blimp_filtered supplement_filtered
    FAST ?= blimp_fast supplement_fast
  else
    RULES ?= 2025
  endif
endif
SOME := $(if $(PARTIAL),--partial)
# Of the held-out text that half on which nothing is chosen: dev is what training watches.
SCORED = runs/$(PRESET) --data "$(EVAL_DATA)" --text $(DATA)/text/test $(if $(FULL),--full $(FULL)) $(if $(FAST),--fast $(FAST)) \
	$(if $(RULES),--rules $(RULES),--glue) $(if $(EPOCHS),--epochs $(EPOCHS)) $(SOME)

define TWO_TEACHERS
$(RUN) train_teachers train_teachers/configs/$(PRESET)-llama.yaml
$(RUN) train_teachers train_teachers/configs/$(PRESET)-gpt2.yaml
$(RUN) distill $(STUDENT)
$(RUN) distill $(STUDENT) --control
endef

define LINE
$(RUN) babylm_data $(PREPARE) --out $(DATA)
$(RUN) eval.submission evaluate $(SCORED) --check
$(if $(PAIR),$(TWO_TEACHERS),$(RUN) distill.recipe $(STUDENT))
$(RUN) eval.submission evaluate $(SCORED)
$(RUN) eval.submission build runs/$(PRESET) $(if $(RULES),--rules $(RULES) --data "$(EVAL_DATA)") $(if $(LICENSE),--license $(LICENSE)) $(SOME)
endef

.PHONY: help submission study line asked test test-slow test-long lint clean
.DEFAULT_GOAL := help

help:            ## this list
	@grep -E '^[a-z-]+: .*##' Makefile | sed -E 's/:[^#]*## /\t/' | expand -t 14

# Half a .venv, left by an interrupted start, has a Python without pip, or one that would install beside it: made anew.
.venv/installed: requirements.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11 …")'
	{ test -f .venv/pyvenv.cfg && .venv/bin/python -m pip --version; } >/dev/null 2>&1 || $(PYTHON) -m venv --clear .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	touch $@

submission: asked .venv/installed  ## data, teachers, student with its revisions, control, scores, bundle and report
	$(LINE)

AT_ONCE ?= 1
study: .venv/installed       ## train a study and compare its cells: STUDY=distill/studies/NAME.yaml [EVAL_DATA=DIR TASKS="…"] [AT_ONCE=2] [MAX_WORDS=20000]
	@test -f "$(STUDY)" || { echo "error: STUDY=$(STUDY) is no file: name one, such as distill/studies/temperature-tiny.yaml" >&2; exit 2; }
	$(RUN) distill.study "$(STUDY)" --at-once $(AT_ONCE)
	$(RUN) eval.study "$(STUDY)" --processes $(AT_ONCE) $(if $(MAX_WORDS),--max-words $(MAX_WORDS)) $(if $(filter command environment,$(firstword $(origin EVAL_DATA))),--data "$(EVAL_DATA)" $(if $(TASKS),--tasks $(TASKS)))

line: asked                  ## the commands of `make submission`, one a line: slurm/pipeline.sh makes jobs of them
	$(info $(LINE)) @:

asked:
	@test -f "$(STUDENT)" || { echo "error: there is no $(STUDENT): PRESET names a config of that folder" >&2; exit 2; }
ifneq ($(DATA),runs/nursery-data)
	@test -n "$(CORPUS)" -a -n "$(EVAL_DATA)" || { echo "error: PRESET=$(PRESET) needs CORPUS=DIR and EVAL_DATA=DIR" >&2; exit 2; }
	@test -d "$(CORPUS)" -a -d "$(EVAL_DATA)" || { echo "error: CORPUS=$(CORPUS) or EVAL_DATA=$(EVAL_DATA) is no folder" >&2; exit 2; }
endif
ifneq ($(filter 2026 2026-entity-18,$(RULES)),)
	@test -n "$(LICENSE)$(PARTIAL)" || { echo "error: RULES=$(RULES) asks for a license on the model card: add LICENSE=mit, …" >&2; exit 2; }
endif

test: .venv/installed        ## the whole quick suite, one to two minutes
	.venv/bin/python -m pytest --numprocesses=auto --maxprocesses=4 --dist=worksteal

test-slow: .venv/installed   ## the tests that take minutes
	.venv/bin/python -m pytest -m "slow and not long" -rs --numprocesses=3 --dist=loadfile --no-loadscope-reorder

test-long: .venv/installed   ## more of the same kind as some of those, half an hour
	.venv/bin/python -m pytest -m long -rs --numprocesses=3

lint: .venv/installed        ## ruff
	.venv/bin/ruff check . && .venv/bin/ruff format --check .

clean:           ## remove runs/ and .venv/
	rm -rf runs .venv
