"""Runs and checkpoints of an earlier version load and go on."""
import json
import shutil

import numpy as np
import pytest
from conftest import ROOT, call
from tiny import train

from transfer_gluon.base.errors import InputError
from transfer_gluon.base.framework import mx
from transfer_gluon.checkpoints.files import read_parameters
from transfer_gluon.training.run import Run
from transfer_gluon.training.summary import read_summary

BEFORE = ROOT / "tests" / "runs_before"
SETTINGS = {"lr": 0.05, "source.lst": "0123456789abcdef"}
HOW = {"stage0": dict(stage=0), "stage1": dict(stage=1, optimizer="nadam"), "two_devices": dict(stage=1, devices=2)}


@pytest.fixture
def before(tmp_path):
    """A copy of the runs, to go on with."""
    return shutil.copytree(BEFORE, tmp_path / "before")


def values(file):
    return {name: array.asnumpy() for part in read_parameters(file) for name, array in part.items()}


@pytest.mark.parametrize("name", HOW)
def test_a_run_of_an_earlier_version_goes_on_to_the_same_end(before, name):
    settings = {**SETTINGS, "stage": HOW[name]["stage"], "jitter": 0.4}
    run = Run(before / name, settings, defaults={"jitter": 0.4}, resume=True)
    assert (run.position.epoch, run.position.batch) == (1, 2)
    train(run, **HOW[name])
    now, then = values(before / f"{name}-0003.params"), values(before / f"{name}-ended" / "m-0003.params")
    assert now.keys() == then.keys()
    for key in then:
        np.testing.assert_allclose(now[key], then[key], rtol=1e-5, atol=1e-6, err_msg=key)
    now, then = (read_summary(before / f"{name}-{folder}" / "summary.csv") for folder in ("run", "ended"))
    np.testing.assert_allclose([[float(value) for value in row.values()] for row in now],
                               [[float(value) for value in row.values()] for row in then], rtol=1e-5)


def test_outputs_that_are_not_there_do_not_end_the_process(before):
    """MXNet alone does not survive them; a state of that version has no checksum that would tell."""
    file = before / "stage0-run" / "state.params"
    saved = mx.nd.load(str(file))
    told = json.loads(saved["json"].asnumpy().tobytes())
    graph = json.loads(told["symbol"])
    for entry in (graph["heads"][0], graph["nodes"][-1]["inputs"][0]):
        entry[1] = 1000000
        text = json.dumps({**told, "symbol": json.dumps(graph)}).encode()
        mx.nd.save(str(file), {**saved, "json": mx.nd.array(np.frombuffer(text, np.uint8), dtype="uint8")})
        with pytest.raises(InputError, match="state.params: not an MXNet symbol, or damaged"):
            Run(before / "stage0", resume=True)
        entry[1] = 0


def test_a_command_goes_on_with_a_run_of_an_earlier_version(before):
    done = call("fine_tune.py", "--pretrained-model", "tiny", "--num-classes", 3, "--image-shape", "3,4,4",
                "--benchmark", 1, "--batch-size", 8, "--lr", 0.01, "--model-prefix", "command", "--num-epochs", 2,
                "--resume", cwd=before)
    assert "going on after epoch 1" in done.stderr and (before / "command-0002.params").exists()
