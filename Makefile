# make demo               one synthetic code-stroke study, drawn and scored: no GPU, no data needed
# make demo STUDY=folder  your own folder of DICOM files, scored: no torch either
# make test               everything the tests need, then the tests
# make lint               ruff, mypy --strict, import contracts
# make lock               new lock files from pyproject.toml

PYTHON ?= python3
VENV   ?= .venv
DEV    ?= .venv-dev
OUT    ?= demo
STUDY  ?=
SEED   ?= 15
TORCH  ?= 2.13.0
PIP     = -m pip install --quiet --disable-pip-version-check

.PHONY: demo test lint lock clean
.DELETE_ON_ERROR:

# The stamps say which lock a virtual environment was made from; a changed lock makes it again.
$(VENV)/.light: requirements.lock pyproject.toml
	@echo "Installing the light install (no torch) into $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@$(VENV)/bin/python $(PIP) -r requirements.lock
	@$(VENV)/bin/python $(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

# What draws synthetic patients: torch and the head atlas. Scoring uses neither. Where there is no GPU,
# PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu saves the download of the CUDA build.
$(VENV)/.phantom: $(VENV)/.light requirements-atlas.lock requirements-dev.lock
	@echo "Installing what draws synthetic patients (torch, head atlas)"
	@$(VENV)/bin/python $(PIP) -c requirements-dev.lock torch==$(TORCH)
	@$(VENV)/bin/python $(PIP) --no-deps -r requirements-atlas.lock
	@touch $@

$(DEV)/.dev: requirements-dev.lock requirements-atlas.lock pyproject.toml
	@echo "Installing what tests and training need (torch included) into $(DEV)"
	@$(PYTHON) -m venv $(DEV)
	@$(DEV)/bin/python $(PIP) -r requirements-dev.lock
	@$(DEV)/bin/python $(PIP) --no-deps -r requirements-atlas.lock
	@$(DEV)/bin/python $(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

# Exit code 3 means "not analysed": an answer with its reasons, not a failure of the demo.
ifeq ($(strip $(STUDY)),)
demo: $(VENV)/.phantom
	@rm -rf $(OUT)/study && mkdir -p $(OUT)
	@$(VENV)/bin/lvo phantom --out $(OUT)/study --count 1 --seed $(SEED) --occlusion left:M1
	@$(VENV)/bin/lvo score $(OUT)/study --out $(OUT)
else
demo: $(VENV)/.light
	@$(VENV)/bin/lvo score "$(STUDY)" --out $(OUT) || test $$? -eq 3
endif

test: $(DEV)/.dev
	@$(DEV)/bin/python -m pytest $(PYTEST_ARGS)

lint: $(DEV)/.dev
	@$(DEV)/bin/ruff check .
	@$(DEV)/bin/ruff format --check .
	@$(DEV)/bin/mypy
	@PATH="$(DEV)/bin:$$PATH" PYTHONPATH=. lint-imports

# The dev lock holds the light lock's versions, so that what is tested is what is shipped. torch is named:
# the newest one would bring several GB of CUDA packages where a CPU build is at hand.
lock:
	@rm -rf build/lock && $(PYTHON) -m venv build/lock
	@build/lock/bin/python $(PIP) hatchling editables ".[serve]"
	@build/lock/bin/pip freeze --exclude lvo > requirements.lock
	@build/lock/bin/python $(PIP) -c requirements.lock torch==$(TORCH) ".[dev]"
	@build/lock/bin/pip freeze --exclude lvo | sed 's/+cpu$$//' > requirements-dev.lock
	@rm -rf build/lock

clean:
	@rm -rf $(VENV) $(DEV) $(OUT) build dist
