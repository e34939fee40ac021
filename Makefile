# spikerec: `make help` lists what there is.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
TIME   ?= 60

.DEFAULT_GOAL := help
.PHONY: help setup demo docs bench gpu recognition test test-slow torture fuzz check format clean

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## */\t/' | expand -t 14

setup: $(STAMP)  ## make .venv and install spikerec with everything it needs

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "spikerec needs Python 3.11 or newer; name one: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: setup  ## simulate, train, evaluate, compare: about ten minutes on two cores
	$(BIN)/spikerec data fetch reds-samples
	$(BIN)/spikerec weights fetch
	$(BIN)/spikerec train experiment=demo model=stir loss=stir_no_perceptual
	$(BIN)/spikerec train experiment=demo model=hypere2vid_static trainer.max_epochs=4
	$(BIN)/spikerec evaluate experiment=demo_evaluate model=stir checkpoint=outputs/train/demo-stir/checkpoints/best.ckpt
	$(BIN)/spikerec evaluate experiment=demo_evaluate model=hypere2vid_static checkpoint=outputs/train/demo-hypere2vid_static/checkpoints/best.ckpt
	$(BIN)/spikerec evaluate -m experiment=demo_evaluate model=fast,fast_wide
	$(BIN)/spikerec evaluate -m experiment=demo_evaluate model=tfi,tfstp
	$(BIN)/spikerec evaluate -m experiment=demo_evaluate model=tfp model.window=11,21,31,41
	$(BIN)/spikerec leaderboard
	@printf '\n%s\n' \
	  'STIR and HyperE2VID learned here for minutes, on 16 scenes: far less than they need.' \
	  'Fast and Fast (wide) come with spikerec, trained on 260 scenes and more. Now open:' \
	  '  outputs/leaderboard/leaderboard.html  the tables, sample by sample, with pictures' \
	  '  outputs/results/images                every saved reconstruction beside the truth' \
	  '  outputs/train/demo-stir/images        STIR as it learned, epoch by epoch'

docs: setup  ## build the site in docs/_build/html, with the gallery; warnings are errors
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build/html
	@echo "open docs/_build/html/index.html"

bench: setup  ## measure ratios against named references
	$(BIN)/python -m benchmarks

gpu: setup  ## test, measure and train on a GPU: ten minutes, into outputs/gpu
	$(BIN)/python -m benchmarks.gpu

recognition: setup  ## train the classifier of protocol=recognition: PICTURES=FOLDER of class folders
	$(BIN)/python -m spikerec.training.recognition $(or $(PICTURES),$(error name your pictures: make recognition PICTURES=FOLDER))

test: setup  ## run the tests (minutes on two cores)
	$(BIN)/python -m pytest -m "not slow and not gpu"

test-slow: setup  ## run every test
	$(BIN)/python -m pytest

torture: setup  ## kill and fault trials over the verbs, with a table (TRIALS=3 of each)
	$(BIN)/python -m tests.torture --trials $(or $(TRIALS),3)

fuzz: setup  ## try made-up files on every parser: TIME=60 seconds each, TARGET=npy for one
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[fuzz]'
	$(BIN)/python -m tests.fuzz $(TARGET) --seconds $(TIME)

check: setup  ## format, lint and type-check without changing anything
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/oxlint --config oxlint.json --deny-warnings src

format: setup  ## format the tree and mend what can be mended
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:  ## remove what was built; outputs/ and data/ stay
	rm -rf $(VENV) build dist docs/_build docs/gallery .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +
