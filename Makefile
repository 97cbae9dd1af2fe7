# make run    clean the microphone; without one, play a recording through the live path and write ./out
# make demo-personal  noisy sessions of one voice -> adapt -> before and after (some minutes)
# make test   everything that is checked
# make check  style and types
# make bench  what it costs: delay, CPU time per hop, start-up, files, remote control
# make soak   two hours of sound in simulated time: does memory grow, does delay stay?
# make clean  remove what this file made
# The first call installs what is missing (scripts/setup.sh); later ones start at once.

VENV   := .venv
PYTHON := $(VENV)/bin/python

.PHONY: run demo-personal test check bench soak setup clean

run: setup
	@$(VENV)/bin/pse-stream run --demo --save out

# Learning needs torch, which is large: whoever has it in .venv already keeps that build.
demo-personal: setup
	@$(PYTHON) -c 'import torch, numba' 2>/dev/null || $(VENV)/bin/pip install --quiet --disable-pip-version-check -e '.[train]'
	@$(PYTHON) examples/personal/demo.py

test: setup
	@$(PYTHON) -m pytest

check: setup build/types/pse_stream
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@MYPYPATH=build/types $(VENV)/bin/mypy -p pse_stream.dsp -p pse_stream.engines -p pse_stream.profiles \
	    -p pse_stream.streaming -p pse_stream.control -p pse_stream.cli -m pse_stream.main

# Those that need no data of their own; quality is measured by benchmarks/peers.py and fullband.py, on recordings.
bench: setup
	@set -e; for script in startup hop_cost latency live_latency throughput control; do \
	    echo "== benchmarks/$$script.py"; $(PYTHON) benchmarks/$$script.py; done

soak: setup
	@$(PYTHON) benchmarks/soak.py

setup:
	@scripts/setup.sh

# Folders install as pse_stream.<folder>; a type checker needs to see them that way too.
build/types/pse_stream:
	@mkdir -p build/types
	@ln -sfn ../.. $@

clean:
	rm -rf $(VENV) build out *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
