# One environment, .venv, for everything below; Linux, Python 3.11.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin

# The CPU build of torch: from where pip already finds it, else from PyTorch's own CPU index.
CPU_TORCH := torch==2.13.0+cpu
# PyPI's torchvision is a CUDA build, which loads beside torch+cpu only after verl (our plug-in helps it).
CPU_VISION := torchvision==0.28.0+cpu
CPU_INDEX := https://download.pytorch.org/whl/cpu

# verl's Megatron engine on a CPU, beside the same set.
MEGATRON := .venv-megatron
MEGATRON_PINS := constraints-megatron-cpu.txt

.PHONY: help install megatron demo test quick real check lint clean

help:  ## Show this list.
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

install: $(VENV)/installed  ## Make .venv with the CPU set and the developers' tools.

megatron: $(MEGATRON)/installed  ## Make .venv-megatron: the same, and verl's Megatron engine for a CPU.

$(VENV)/installed $(MEGATRON)/installed: %/installed: pyproject.toml
	$(PYTHON) -m venv $*
	$*/bin/pip install -q "$(CPU_TORCH)" || $*/bin/pip install -q --index-url $(CPU_INDEX) "$(CPU_TORCH)"
	$*/bin/pip install -q --no-deps "$(CPU_VISION)" \
		|| $*/bin/pip install -q --no-deps --retries 1 --timeout 15 --index-url $(CPU_INDEX) "$(CPU_VISION)" \
		|| echo "no index has $(CPU_VISION): import verl before transformers"
	$*/bin/pip install -q -e ".[cpu,dev]"
	$(if $(filter $(MEGATRON),$*),$*/bin/pip install -q -c $(MEGATRON_PINS) megatron-energon)
	$(if $(filter $(MEGATRON),$*),$*/bin/pip install -q --no-deps --ignore-requires-python -c $(MEGATRON_PINS) megatron-core megatron-bridge)
	touch $@

$(MEGATRON)/installed: $(MEGATRON_PINS)

demo: install  ## The paper's experiment in miniature, through the real verl, on this machine.
	$(BIN)/verl-vsi miniature

test: install  ## Every test, real verl runs included.
	$(MAKE) -j2 --output-sync=line quick real

check: lint quick  ## Lint, types and the quick tests.

quick: install  ## Tests in seconds each; they share the cores, a file to a process.
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 8 --dist loadfile -m "not e2e and not slow and not gpu"

real: install  ## Real runs of verl and vLLM, one after another; most of the time one core is free.
	$(BIN)/python -m pytest -m "e2e and not slow and not gpu"

lint: install  ## Ruff and pyright.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

clean:  ## Remove the environment and what runs have written.
	rm -rf $(VENV) $(MEGATRON) outputs build dist *.egg-info
