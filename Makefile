# Two commands matter: `make demo` and `make test`. Both make the environment first, in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test lint bench table fuzz clean

demo: $(STAMP)
	$(BIN)/python -m inr_gadgets.demo out

# One process a core: most tests are the interpreter's, and half of a machine of two would be idle.
test: $(STAMP)
	$(BIN)/python -m pytest -q --numprocesses auto --maxprocesses 8 --dist worksteal

lint: $(STAMP)
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

# One after the other, since each measures time; the table at the end says what was reached.
BENCHMARKS := live matrices refine scaling floor lag serve external flow throughput gpu
bench: $(STAMP)
	$(foreach name,$(BENCHMARKS),$(BIN)/python benchmarks/$(name).py &&) $(BIN)/python benchmarks/summary.py

# One thread a program: a row's seconds do not depend on how its threads get on with one another.
table: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/table.py

# Atheris has no wheel for every Python; nothing else needs it.
fuzz: $(STAMP)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[fuzz]'
	$(BIN)/python benchmarks/fuzz.py

# torch first and pinned: what asks for it later finds it there and brings no CUDA.
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt torch
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[pictures,dev]'
	touch $@

clean:
	rm -rf $(VENV) out build dist .pytest_cache .mypy_cache .ruff_cache
