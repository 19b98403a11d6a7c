# make demo       install everything and run the digits benchmark, the main job: some 5 minutes on 2 cores
# make test       the tests
# make gpu        install the CUDA 11.2 build of MXNet, with its CUDA libraries, instead of the CPU build
# make test-all   the tests under every Python from 3.9 to 3.13
# make demo-long  the digits benchmark over 10 seeds: 17 minutes on 2 cores
# make demo-methods  further rows for its table: all other methods, the quadratic estimate; some 20 minutes more on 2 cores
# make demo-fine-tuning  what an average of the weights, mixup, L2-SP and class weights change there: some 40 minutes
# make demo-emoji  emoji of two vendors, from a network with ImageNet weights: docs/emoji.md has the table; needs npm
# make demo-emoji-methods  all methods there, on features computed once
# make evidence   which epoch, weight, method to take without target labels: docs/evidence.md; an hour and a half; needs npm
# make lint       the style of the code
# make test-mutations  changes the code, a line at a time, and expects a test to fail: some 7 minutes
# make test-long  eighty kills, many repetitions of distributed runs: some 8 minutes on 2 cores
# make recipes-check  every recipe for a few updates, on generated stand-ins: some minutes on 2 cores
# make bench      heads, reading, packing, loading, frozen layers, communication: ratios, in a quarter of an hour
# make api        pages of the API, from docstrings, in docs/api/ (installs pdoc)
# make lock       resolve the dependencies of pyproject.toml anew (needs uv)
#
# The first two install what is missing into .venv. PYTHON=python3.10 chooses the Python, 3.9 to 3.13.

PYTHON ?=
IN_VENV := PATH="$(CURDIR)/.venv/bin:$$PATH"

.PHONY: help ready demo demo-long demo-methods demo-fine-tuning demo-emoji demo-emoji-methods evidence lint test test-long test-mutations test-all recipes-check bench gpu api lock

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile

ready:
	@sh tools/setup.sh any $(PYTHON)

gpu:
	@sh tools/setup.sh gpu $(PYTHON)

demo: ready
	@$(IN_VENV) sh recipes/digits.sh

demo-long: ready
	@$(IN_VENV) sh recipes/digits.sh --seeds 10 --output runs/digits-long

demo-fine-tuning: ready
	@$(IN_VENV) sh recipes/digits-fine-tuning.sh

demo-methods: ready
	@$(IN_VENV) sh recipes/digits-methods.sh

demo-emoji: ready
	@$(IN_VENV) sh recipes/emoji.sh

demo-emoji-methods: ready
	@$(IN_VENV) sh recipes/emoji-methods.sh

evidence: ready
	@$(IN_VENV) sh recipes/evidence.sh

test: ready
	@$(IN_VENV) python -m pytest -n auto --maxprocesses 4 --dist worksteal

lint: ready
	@$(IN_VENV) ruff check .

test-mutations: ready
	@$(IN_VENV) python tests/mutations.py

test-long: ready
	@$(IN_VENV) python -m pytest -m long

recipes-check: ready
	@$(IN_VENV) python tests/recipes_check.py

test-all:
	@for version in 3.9 3.10 3.11 3.12 3.13; do $(MAKE) test PYTHON=python$$version || exit 1; done

bench: ready
	@for name in heads data packing loading frozen communication; do \
	    echo "benchmarks/$$name.py" && $(IN_VENV) python benchmarks/$$name.py || exit 1; done

api: ready
	@$(IN_VENV) sh tools/api.sh

COMPILE = uv pip compile --universal --python-version 3.9 --generate-hashes --no-emit-find-links --quiet
lock:
	$(COMPILE) pyproject.toml --extra cpu --extra test -o requirements/cpu.txt
	$(COMPILE) pyproject.toml --extra gpu --extra test -o requirements/gpu.txt
	sed -n 's/^opencv-python==\([^ ]*\).*/opencv-python-headless==\1/p' requirements/cpu.txt | \
	    $(COMPILE) --no-deps - -o requirements/headless.txt
