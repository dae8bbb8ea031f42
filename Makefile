# make demo and make test are all that a newcomer needs; both make their own virtual environment.
VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
RUN := $(BIN)/python -m

# Every named sweep is a target: make mpt-7b-latency-short, or with SCALE=small its small sibling on the CPU.
# DECODE=sampled measures long generations by windows of steps: docs/method.md.
SWEEPS := $(filter-out demo %-small,$(basename $(notdir $(wildcard sweeps/*.yaml))))

FUZZ := $(wildcard tests/test_fuzz*.py)

# Engines that want an environment of their own; where the host has a GPU, its build is taken where there is one.
ENGINES ?= vllm llama_cpp openvino
ENGINES_FOLDER := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/llm-bench-sweep/engines
GPU := $(if $(wildcard /proc/driver/nvidia/gpus/*),-cuda)

.PHONY: help engines demo test check perf chaos gpu extras fuzz $(FUZZ) families clean mpt published $(SWEEPS)

help: ## what there is to make
	@grep -hE '^[a-z-]+:.*\#\# ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

demo: $(VENV)/.demo ## a real sweep of a small model here, with charts, in outputs/demo
	$(RUN) bench.run +sweeps=demo

$(SWEEPS): $(VENV)/.demo
	$(RUN) bench.run +sweeps=$@$(if $(SCALE),-$(SCALE))$(if $(DECODE), measure.decode=$(DECODE))

mpt: $(filter mpt-%,$(SWEEPS)) ## the published MPT grids, SCALE=small on the CPU; also make llama

published: $(VENV)/.demo ## the seven published charts from their data, in outputs/published
	$(RUN) bench.report --published

test: check ## everything that is tested, in under ten minutes
	$(RUN) pytest

check: $(VENV)/.test ## format, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

perf: $(VENV)/.test ## the measured figures of docs/performance.md
	$(RUN) tests.perf --write

chaos: $(VENV)/.test ## 1,000 faults at 1,500 points, run again until nothing is left
	$(RUN) tests.chaos --write

engines: $(ENGINES:%=engine-%) ## environments for vLLM, llama.cpp, OpenVINO; ENGINES=vllm: that one

FUZZ_EXAMPLES ?= 10000
FUZZ_SEED ?= 0
fuzz: $(FUZZ) ## 10,000 each of odd command lines, files, rows, arguments; -j3

$(FUZZ): $(VENV)/.test
	FUZZ_EXAMPLES=$(FUZZ_EXAMPLES) $(RUN) pytest -q $@ --hypothesis-seed=$(FUZZ_SEED)

families: $(VENV)/.test ## a tiny model of every causal family of transformers
	$(RUN) tests.families

extras: ## whether all optional engines can be installed together
	rm -rf $(VENV)-extras && $(PYTHON) -m venv $(VENV)-extras
	timeout 300 $(VENV)-extras/bin/pip install --quiet --dry-run $$(grep '^torch==' requirements/demo.txt) '.[all]'
	rm -rf $(VENV)-extras

# A leading dash: what a step finds wrong is told at the end, and the others run all the same.
gpu: $(VENV)/.test ## what only a GPU can show, in ten minutes: docs/gpus.md
	-$(RUN) pytest -m gpu -rs --junitxml=outputs/gpu-tests.xml
	-$(RUN) bench.run +sweeps=mpt-7b-latency-short output_tokens=1,11,101
	-$(RUN) bench.run +sweeps=open-models model=mpt_7b,llama_7b,falcon_7b batch_size=1,4,16,64 num_runs=3 warmup_runs=1 prune_predicted=true
	$(RUN) tests.gpu_summary outputs/gpu-tests.xml outputs/mpt-7b-latency-short outputs/open-models

clean: ## remove the virtual environment and the caches, but no results
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache

# A stamp per requirements file: a changed pin installs again, an unchanged one costs nothing.
$(VENV)/.demo: requirements/demo.txt setup.cfg
	@echo "installing torch and the rest into $(VENV): some minutes in which pip says nothing"
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements/demo.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

$(VENV)/.test: requirements/test.txt $(VENV)/.demo
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements/test.txt
	touch $@

# The stamp has the lists' content in its name, so that a new clone finds what another one built.
# What stands in a list ENGINE-alone.txt is installed without what it asks for, and not from pip's cache.
engine-%:
	@set -e; folder=$(ENGINES_FOLDER)/$*; list=requirements/$*$(GPU).txt; test -f $$list || list=requirements/$*.txt; \
	alone=$${list%.txt}-alone.txt; test -f $$alone || alone=; \
	stamp=$$folder/.built-$$(cat $$list $$alone | sha256sum | cut -c1-12); \
	if test -f $$stamp; then exit 0; fi; \
	echo "building $$folder from $$list"; rm -rf $$folder; $(PYTHON) -m venv $$folder; \
	export CMAKE_ARGS="$(if $(GPU),-DGGML_CUDA=on) $(CMAKE_ARGS)"; \
	if $${CXX:-c++} -fno-dse -x c++ -fsyntax-only /dev/null 2>/dev/null; then export CXXFLAGS="$$CXXFLAGS -fno-dse"; fi; \
	$$folder/bin/pip install --quiet --disable-pip-version-check -r $$list; \
	if test -n "$$alone"; then $$folder/bin/pip install --quiet --disable-pip-version-check --no-deps --no-cache-dir -r $$alone; fi; \
	touch $$stamp
