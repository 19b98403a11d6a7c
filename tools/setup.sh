#!/bin/sh
# Installs the locked dependencies into .venv.   sh tools/setup.sh cpu|gpu|any [PYTHON]
# any: what is installed already, else cpu. Does nothing where .venv is up to date.
set -eu
cd "$(dirname "$0")/.."
build=$1
python=${2:-}

fail() { echo "setup: $*" >&2; exit 2; }

supported() { "$1" -c 'import sys; sys.exit(not (3, 9) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; }

if [ "$build" = any ]; then
    build=cpu
    [ -f .venv/build ] && build=$(cut -d ' ' -f 1 .venv/build)
fi
lock=requirements/$build.txt

# A name such as python3.9 that only pyenv knows, and not as the version in use.
case $python in
    python3.*) if ! "$python" --version >/dev/null 2>&1 && command -v pyenv >/dev/null; then
        for found in "$(pyenv root)/versions/${python#python}".*/bin/python; do [ -x "$found" ] && python=$found; done
    fi ;;
esac

if [ -z "$python" ]; then
    # Stay with the Python that .venv was made with; the one inside goes when .venv is made anew.
    [ -f .venv/build ] && supported .venv/bin/python &&
        python=$(.venv/bin/python -c 'import sys; print(sys._base_executable)')
    for candidate in $python python3 python3.12 python3.13 python3.11 python3.10 python3.9; do
        supported "$candidate" && python=$candidate && break
    done
    [ -n "$python" ] || fail "no Python from 3.9 to 3.13 was found; install one, such as python3.12 with its venv module, or name it: make $build PYTHON=/path/to/python"
elif ! supported "$python"; then
    version=$("$python" --version 2>&1) || version="not a Python that runs"
    fail "PYTHON=$python is $version; MXNet 1.9.1 runs on Python 3.9 to 3.13: install one of these and name it, such as make test PYTHON=python3.12"
fi

version=$("$python" -c 'import platform; print(platform.python_version())')
wanted="$build $version $(cksum < "$lock")"
# `transfer_gluon` and the command transfer-gluon, from this folder.
install_ours() {
    ours=$(cksum < pyproject.toml)
    [ -f .venv/ours ] && [ "$(cat .venv/ours)" = "$ours" ] && return
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable . ||
        fail "the project itself could not be installed into .venv; see pip's message above"
    echo "$ours" > .venv/ours
}

[ -f .venv/build ] && [ "$(cat .venv/build)" = "$wanted" ] && install_ours && exit 0

"$python" -c 'import venv, ensurepip' 2>/dev/null ||
    fail "$python has no venv module; install it (on Debian and Ubuntu: apt install python3-venv) and call make again"
echo "setup: installing $lock for Python $version into .venv"
rm -rf .venv
"$python" -m venv .venv
.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r "$lock" ||
    fail "the dependencies could not be installed; see pip's message above"

if ! .venv/bin/python -c 'import cv2' 2>/dev/null; then
    echo "setup: opencv-python cannot be imported here (a machine without a screen often lacks libGL); taking its build without windows"
    .venv/bin/python -m pip uninstall --quiet --yes opencv-python
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements/headless.txt
    .venv/bin/python -c 'import cv2' ||
        fail "OpenCV cannot be imported; see the message above for the library that is missing (on Debian and Ubuntu: apt install libgl1 libglib2.0-0)"
fi
.venv/bin/python -c 'from transfer_gluon.base.framework import mx' 2>.venv/import.log || {
    tail -n 1 .venv/import.log >&2
    fail "MXNet cannot be imported; see the message above. It needs Linux on x86-64$([ "$build" = gpu ] && echo ' and the NVIDIA driver (libcuda.so.1)')"
}
install_ours
echo "$wanted" > .venv/build
