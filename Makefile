PYTHON ?= python3.11
BIN := .venv/bin
export TOKENIZERS_PARALLELISM := false

.PHONY: quickstart test lint types wheel clean

quickstart: .venv/ready
	$(BIN)/python recipes/quickstart.py --overwrite

test: .venv/ready
	$(BIN)/python -m pytest -n 2 --dist worksteal

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/ready
	$(BIN)/mypy

# A wheel that installs and imports in an empty environment, its data with it.
wheel: .venv/ready
	rm -rf build dist .wheel-venv
	$(BIN)/python -m build --wheel --outdir dist
	$(PYTHON) -m venv .wheel-venv
	.wheel-venv/bin/pip install --quiet --no-compile --constraint constraints.txt torch==2.13.0
	.wheel-venv/bin/pip install --quiet --no-compile --constraint constraints.txt dist/*.whl
	cd dist && ../.wheel-venv/bin/python -c "from importlib.resources import files; import mtl_nlp.run; \
		print(files('mtl_nlp.corpus').joinpath('train.jsonl').stat().st_size, \
		files('mtl_nlp.hub').joinpath('card_template.md').stat().st_size, mtl_nlp.__file__)"
	cd dist && ../.wheel-venv/bin/mtl-nlp --version
	rm -rf .wheel-venv

# torch by itself first: with it in place, nothing else asks for another build of it.
.venv/ready: setup.cfg constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt torch==2.13.0
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[test,lint]"
	touch $@

clean:
	rm -rf .venv .wheel-venv build dist *.egg-info
