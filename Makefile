# make demo   the main job on generated data, from nothing but Python ≥ 3.11
# make test   the tests but for those that take minutes each
# make check  what CI runs: lint, types, all tests with everything they can use
# make faults  faults injected into a study on several hosts (root, PostgreSQL; half an hour)
# make bench  speed and memory against a peer in the same run
# make gpu-bundle  what a bare machine with a GPU needs to run python -m bench.gpu (docs/gpu.md)
# make calibrate  whether intervals cover and marks are true, on studies drawn from known curves (minutes)
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# By file, in order: those that start clusters come early, and share what a file sets up.
PYTEST = $(BIN)/python -m pytest -q --numprocesses 2 --dist loadfile --no-loadscope-reorder
DEMO := dicestudy-data/phantom.yaml

.PHONY: demo test check bench faults gpu-bundle calibrate lint clean

# A stamp and not the folder: an installation that broke off is not taken for a whole one.
$(VENV)/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "dicestudy needs Python 3.11 or newer, found $$($(PYTHON) --version); set PYTHON=…" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

demo: $(VENV)/installed
	@mkdir -p $(dir $(DEMO))
	@test -f $(DEMO) || $(BIN)/dicestudy init phantom --quiet -o $(DEMO)
	$(BIN)/dicestudy launch $(DEMO)
	@printf '\nTable 1 of the study\n'
	@$(BIN)/dicestudy table $(DEMO)
	@printf '\nWhere ignoring turns into learning empty\n'
	@$(BIN)/dicestudy map $(DEMO)
	@printf '\nBest cells to ignore missing labels\n'
	@$(BIN)/dicestudy best $(DEMO) --goal ignore --top 3
	@printf '\nBest cells to learn empty labels\n'
	@$(BIN)/dicestudy best $(DEMO) --goal empty --top 3
	@printf '\nThe report: dicestudy-data/studies/phantom/report.html\nThe dashboard: $(BIN)/dicestudy dashboard\n'

test: $(VENV)/installed
	$(PYTEST) -m "not long"

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

check: lint
	DICESTUDY_TEST_FAULTS=1 $(PYTEST)

bench: $(VENV)/installed
	$(BIN)/python -m bench.overhead
	$(BIN)/python -m bench.losses
	$(BIN)/python -m bench.preparation
	$(BIN)/python -m bench.training

faults: $(VENV)/installed
	$(BIN)/python -m bench.faults -o docs/cluster.md

gpu-bundle: $(VENV)/installed
	$(BIN)/python -m bench.gpu.bundle

calibrate: $(VENV)/installed
	$(BIN)/python -m bench.calibrate

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
