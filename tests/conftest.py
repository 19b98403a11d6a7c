"""What several test files use."""
import contextlib
import importlib
import io
import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from transfer_gluon.cli.exit_codes import exit_codes

import cv2
import numpy as np
import pytest

from transfer_gluon.base.framework import mx
from transfer_gluon.base.log import log
from transfer_gluon.iters import read_list, write_list

ROOT = Path(__file__).resolve().parent.parent


# Tests run several at a time. MXNet, which looks at this, is imported when it is first used.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A shell that starts the tests in its background has them, and what they start, ignore Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def random_numbers():
    """The same weights are drawn whichever tests ran before."""
    mx.random.seed(0)


def call(script, *flags, cwd=None, expect=0, env=None, process=False):
    """Call a command of ours as a user would, in `cwd` or a folder that is gone afterwards, and get its
    CompletedProcess.

    It runs in this process, which spares the start of Python and MXNet; in one of its own if `process`, or where
    `env` is added to the environment.
    """
    with tempfile.TemporaryDirectory() as empty:
        answer = _answer if process or env else _answer_here
        done = answer([str(ROOT / script), *map(str, flags)], cwd or empty, env)
    assert done.returncode == expect, f"{script} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
    if expect == 2:
        assert "Traceback" not in done.stderr, done.stderr
    return done


def _answer(arguments, cwd, env):
    return subprocess.run([sys.executable, *arguments], cwd=cwd, text=True, capture_output=True,
                          stdin=subprocess.DEVNULL, env={**os.environ, **(env or {})})


def _answer_here(arguments, cwd, _):
    place = Path(arguments[0]).relative_to(ROOT).with_suffix("")
    module = importlib.import_module(".".join(["transfer_gluon", *(place.parts if place.parts[1:] else
                                                                   ("commands", *place.parts))]))
    command = getattr(module, "commands", None) or module.main
    out, err = io.StringIO(), io.StringIO()
    said = logging.StreamHandler(err)
    said.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    folder, argv, level = os.getcwd(), sys.argv, log.level
    os.chdir(cwd)
    sys.argv = arguments
    log.addHandler(said)
    log.setLevel(logging.INFO)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            exit_codes(command)()
    except SystemExit as ended:
        return subprocess.CompletedProcess(arguments, ended.code, out.getvalue(), err.getvalue())
    finally:
        log.setLevel(level)
        log.removeHandler(said)
        os.chdir(folder)
        sys.argv = argv


@pytest.fixture
def command():
    """`call`, under the name that reads well in a test."""
    return call


def make_domain(folder, name, labels, seed=0, side=24, suffix=".jpg"):
    """Write one small image a label, whose colour tells the label, and a list of them; return the list's path."""
    rng = np.random.default_rng(seed)
    (folder / name).mkdir(parents=True, exist_ok=True)
    files = []
    for i, label in enumerate(labels):
        image = rng.integers(0, 60, (side, side, 3), dtype=np.uint8)
        image[:, :, 2 - label % 3] += np.uint8(120)      # OpenCV's channels are blue, green, red
        files.append(str(folder / name / f"{i:03d}{suffix}"))
        cv2.imwrite(files[-1], image)
    return write_list(folder / f"{name}.lst", labels, files)


def make_data(folder):
    """24 source, 16 null-labelled target and 16 validation images of 3 classes."""
    folder.mkdir()
    make_domain(folder, "source", [i % 3 for i in range(24)], seed=1)
    val = make_domain(folder, "val", [i % 3 for i in range(16)], seed=2)
    write_list(folder / "target.lst", [9999] * 16, read_list(val).files)
    return folder


@pytest.fixture
def data(tmp_path):
    """A data folder of one's own: see `make_data`."""
    return make_data(tmp_path / "data")


SMALL = ["--num-classes", 3, "--image-shape", "3,16,16", "--data-nthreads", 2, "--batch-size", 8, "--num-epochs", 1,
         "--lr", 0.01]
NEW_NETWORK = ["--train-stage", 0, "--network", "resnet", "--num-layers", 8]


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """A folder with the checkpoint s0 of stage 0, epoch 1, trained once for all tests."""
    folder = tmp_path_factory.mktemp("trained")
    call("fine_tune.py", *NEW_NETWORK, *SMALL, "--data-dir", make_data(folder / "data"),
         "--model-prefix", folder / "model" / "s0")
    return folder / "model"


@pytest.fixture
def stage0(trained, tmp_path):
    """The prefix of a copy of `trained`."""
    return shutil.copytree(trained, tmp_path / "model") / "s0"
