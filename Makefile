# What a user and a contributor do here; `make` lists it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Without bytecode of all that is installed: a fifth of it is ever imported, and compiled then.
PIP := $(BIN)/pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt
# pip and the tests' commands must not depend on what else is on this machine. Without bytecode,
# which containers often forbid, each of hundreds of processes would compile PyTorch anew.
unexport PYTHONPATH PYTHONDONTWRITEBYTECODE

.PHONY: help quickstart test test-all golden other-pythons dist-check lint bench bench-gpu docs site clean

help: ## List the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(BIN)/lanser: pyproject.toml constraints.txt
	@echo "Creating $(VENV) and installing lanser (PyTorch is large: a minute or more) ..."
	$(PYTHON) -m venv $(VENV)
	$(PIP) -e '.[plots,video,vad]'
	@touch $@

$(VENV)/dev: $(BIN)/lanser
	@echo "Installing what the tests need ..."
	$(PIP) -e '.[plots,video,vad,tensorboard,export,quality,gliclass,interop,dev]'
	@touch $@

quickstart: $(BIN)/lanser ## Install, and run the whole chain on examples/ (AUDIO=DIR: label your own)
	@PATH="$(CURDIR)/$(BIN):$$PATH" AUDIO="$(AUDIO)" recipes/quickstart.sh

# One more than there are cores in CI, for tests of processes wait a good deal.
PYTEST := $(BIN)/python -m pytest -n 3 --dist worksteal

test: $(VENV)/dev ## Install what the tests need, and run them: some minutes
	$(PYTEST) -m "not slow"

# Of the unpacked sdist test-all runs what reads the repository's files; dist-check runs all.
test-all: $(VENV)/dev other-pythons ## All tests: documents, recipes, benchmarks, other Pythons, the sdist
	tests/dist_check.sh $(foreach name,docs house map,tests/test_$(name).py)
	$(PYTEST) --durations=40

golden: $(VENV)/dev ## Write tests/golden/ anew, after a change of output that was meant
	$(BIN)/python -m pytest tests/test_golden.py --renew-golden

other-pythons: ## What needs no PyTorch, on the other Pythons that are here
	tests/other_pythons.sh

dist-check: $(VENV)/dev ## Build sdist and wheel; run the quick tests of the unpacked sdist
	tests/dist_check.sh

lint: $(VENV)/dev ## ruff, mypy and shellcheck
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/shellcheck .ci/run tests/*.sh $$(find recipes -name '*.s[hb]*')

bench: $(VENV)/dev ## Speed and label quality, next to peers (labels: TEXT=FOLDER of GoEmotions, MELD, EmoryNLP, XED)
	$(if $(TEXT),$(BIN)/python tests/bench/entail.py --text $(TEXT),@echo "no TEXT=FOLDER: without labels")
	$(if $(TEXT),$(BIN)/python tests/bench/labels.py --text $(TEXT))
	$(if $(TEXT),$(BIN)/python tests/bench/voters.py --text $(TEXT))
	$(BIN)/python tests/bench/transcribe.py $(if $(SPEECH),--speech $(SPEECH))
	$(BIN)/python tests/bench/shards.py $(if $(SPEECH),--speech $(SPEECH))
	$(BIN)/python tests/bench/scale.py $(if $(SPEECH),--speech $(SPEECH))
	$(BIN)/python tests/bench/intervals.py
	$(BIN)/python tests/bench/train.py
	$(BIN)/python tests/bench/prosody.py $(if $(SPEECH),--speech $(SPEECH))

bench-gpu: $(VENV)/dev ## The same on a GPU
	$(if $(TEXT),$(BIN)/python tests/bench/entail.py --text $(TEXT) gpu,@echo "no TEXT=FOLDER: without labels")
	$(BIN)/python tests/bench/transcribe.py $(if $(SPEECH),--speech $(SPEECH)) gpu
	$(BIN)/python tests/bench/train.py gpu --batch 64 --clips 2000 --workers 8

docs: $(BIN)/lanser ## Write anew what docs/ has from --help, the code and docs/results/
	$(BIN)/python docs/make_cli.py
	$(BIN)/python docs/make_man.py
	$(BIN)/python docs/make_house.py
	$(BIN)/python docs/make_results.py

site: $(BIN)/lanser ## Write the documentation as a site into site/, to read or to serve
	rm -rf site
	$(BIN)/python docs/make_site.py site

clean: ## Remove the environment, the site and what the quickstart made
	rm -rf $(VENV) quickstart site
