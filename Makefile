# make demo   install everything into .venv and run the digits benchmark: the main job, about 5 minutes on 2 cores
# make test   the tests
# make help   everything else

PYTHON ?=
BIN := .venv/bin

.PHONY: help venv gpu demo test test-all lint lock clean

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile
# make venv   only install; PYTHON=python3.10 chooses the Python (3.9 to 3.13) here and everywhere
venv:
	@sh tools/setup.sh cpu $(PYTHON)

# make gpu    install the CUDA 11.2 build of MXNet instead of the CPU build, with its CUDA libraries
gpu:
	@sh tools/setup.sh gpu $(PYTHON)

# make demo and test leave an installed GPU build alone
demo: ready
	$(BIN)/python tools/digits.py --data-dir data/digits
	$(BIN)/python reproduce.py @recipes/digits.txt

test: ready
	$(BIN)/python -m pytest

.PHONY: ready
ready:
	@sh tools/setup.sh any $(PYTHON)

# make test-all   the tests under every Python from 3.9 to 3.13 that is installed
test-all:
	for version in 3.9 3.10 3.11 3.12 3.13; do $(MAKE) test PYTHON=python$$version || exit 1; done

# make lock   resolve the dependencies of pyproject.toml again (needs uv)
lock:
	uv pip compile pyproject.toml --extra cpu --extra test --universal --python-version 3.9 --generate-hashes -o requirements/cpu.txt
	uv pip compile pyproject.toml --extra gpu --extra test --universal --python-version 3.9 --generate-hashes -o requirements/gpu.txt
