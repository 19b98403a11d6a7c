"""Runs that are stopped or killed, and go on as if nothing had happened."""
import json
import os
import random
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from conftest import NEW_NETWORK, ROOT, SMALL, call, make_domain
from test_training import CPU, Fixed
from tiny import StopAfter

from transfer_gluon.base.errors import InputError, Stopped
from transfer_gluon.base.framework import mx
from transfer_gluon.checkpoints.checkpoint import load_checkpoint
from transfer_gluon.iters import read_list, write_list
from transfer_gluon.symbols import JMMDLoss, TransferNet, TransferObjective, features_block, resnet
from transfer_gluon.training.loop import fit
from transfer_gluon.training.run import Run
from transfer_gluon.training.schedule import StepSchedule
from transfer_gluon.training.signals import StopSignals
from transfer_gluon.training.summary import read_summary


class Numbered(Fixed):
    """Other images in every batch of every epoch, whatever was read before."""

    def set_epoch(self, epoch):
        super().set_epoch(epoch)
        self._epoch, self._done = epoch, 0

    def skip(self, count):
        super().skip(count)
        self._done += count

    def next(self):
        batch = super().next()
        self._done += 1
        rng = np.random.default_rng((self._epoch, self._done))
        shape = batch.data[0].shape
        return mx.io.DataBatch([mx.nd.array(rng.uniform(0, 255, shape))], batch.label, pad=0)


def noisy_net():
    """A network with batch normalisation, and dropout, which draws by chance in every batch."""
    features = mx.sym.Dropout(resnet(8, (3, 8, 8)), p=0.3, name="drop0")
    mx.random.seed(3)
    return TransferNet(features_block(features), 3)


def train(run, devices, optimizer, stop=None):
    labels = np.array([0, 1, 2, 9999] * 2, np.float32)
    net = run.checkpoint.classifier("drop0", 3) if run.checkpoint else noisy_net()
    fit(net, TransferObjective(JMMDLoss()), Numbered(np.zeros((8, 3, 8, 8), np.float32), labels, 4),
        devices, StepSchedule(0.05, 0.5, [5]), 3, optimizer=optimizer, wd=0.01, run=run, stop=stop)


def content(prefix):
    """What a run leaves behind, as bytes; all but starting times, what was said when, and the lock."""
    run = prefix.with_name(f"{prefix.name}-run")
    files = [*prefix.parent.glob(f"{prefix.name}-*.*"), *(file for file in run.rglob("*") if file.is_file())]
    return {str(file.relative_to(prefix.parent)).replace(prefix.name, "m"): file.read_bytes() for file in sorted(files)
            if file.name not in ("settings.json", "log.txt", "lock")}


@pytest.mark.parametrize("optimizer, devices", [("sgd", 1), ("adam", 1), ("nadam", 1), ("rmsprop", 1), ("nag", 2)])
def test_a_stopped_run_goes_on_bit_for_bit(tmp_path, optimizer, devices):
    devices = [mx.cpu(i) for i in range(devices)]
    train(Run(tmp_path / "whole" / "m"), devices, optimizer)
    prefix = tmp_path / "parts" / "m"
    for batches in (0, 2, 1, 4):        # in the first batch, in the middle, at the last batch of an epoch
        with pytest.raises(Stopped, match="SIGTERM: .*saved.*`resume`"):
            train(Run(prefix, resume=True), devices, optimizer, StopAfter(batches))
    train(Run(prefix, resume=True), devices, optimizer)
    one, other = content(prefix), content(tmp_path / "whole" / "m")
    assert [name for name in one if one[name] != other[name]] == []
    assert len(content(prefix)) == 6     # three epochs, their network, summary, state


def test_settings_that_contradict_the_run_are_named(tmp_path):
    settings = {"lr": 0.1, "use_dan": False, "source.lst": "abc"}
    train(Run(tmp_path / "m", settings), CPU, "sgd")
    Run(tmp_path / "m", settings, resume=True)
    with pytest.raises(InputError, match=r"(?s)lr: 0.1 then, 0.2 now.*source.lst: abc then, None now"):
        Run(tmp_path / "m", {"lr": 0.2, "use_dan": False}, resume=True)


def test_a_run_is_never_replaced_silently(tmp_path):
    train(Run(tmp_path / "m"), CPU, "sgd")
    before = content(tmp_path / "m")
    with pytest.raises(InputError, match="the epochs 1, 2, 3 of a run are there already"):
        Run(tmp_path / "m")
    (tmp_path / "pretrained-0000.params").write_bytes(b"")
    with pytest.raises(InputError, match="the epochs 0 of a run are there already"):
        Run(tmp_path / "pretrained")
    with pytest.raises(InputError, match="the epochs 2, 3 of a run are there already"):
        Run(tmp_path / "m", load_epoch=1)
    assert content(tmp_path / "m") == before
    train(Run(tmp_path / "m", overwrite=True), CPU, "adam")
    assert content(tmp_path / "m").keys() == before.keys() and content(tmp_path / "m") != before


def test_two_processes_cannot_write_one_run(tmp_path):
    with Run(tmp_path / "m"), pytest.raises(InputError, match="another process is writing"), \
            Run(tmp_path / "m", overwrite=True):
        pass


def test_the_last_epochs_and_the_best_are_kept(tmp_path):
    class Judge:
        """Validation that finds the first epoch best."""

        def reset(self):
            self._batches = [mx.io.DataBatch([mx.nd.zeros((1, 3, 8, 8))], [mx.nd.array([next(self._answers)])], pad=0)]

        def __iter__(self):
            return iter(self._batches)

        _answers = iter([0, 1, 1, 1])

    class Constant(mx.gluon.HybridBlock):
        """Class 0 for every image."""

        def __init__(self):
            super().__init__()
            self.image_shape = None
            self.weight = self.params.get("fc_weight", shape=(1,), init="ones")

        def hybrid_forward(self, F, images, weight):
            features = F.flatten(images)
            scores = F.concat(F.ones_like(features[:, :1]), F.zeros_like(features[:, :2]), dim=1) \
                if F is mx.nd else F.slice_axis(features, axis=1, begin=0, end=3)
            return F.broadcast_mul(features, weight), F.broadcast_mul(scores, weight)

    fit(Constant(), TransferObjective(), Fixed(np.zeros((2, 3, 8, 8), np.float32), np.zeros(2), 1), CPU,
        StepSchedule(0.0), 4, validation=Judge(), run=Run(tmp_path / "m", keep=2))
    rows = read_summary(tmp_path / "m-run" / "summary.csv")
    assert [row["validation_accuracy"] for row in rows] == ["1.0", "0.0", "0.0", "0.0"]
    assert [file.name for file in sorted(tmp_path.glob("*.params"))] == ["m-0001.params", "m-0003.params",
                                                                         "m-0004.params"]


@pytest.mark.parametrize("keep", [0, 3, 100, 5000, -1])
def test_a_damaged_state_is_refused(tmp_path, keep):
    train(Run(tmp_path / "m"), CPU, "sgd")
    file = tmp_path / "m-run" / "state.params"
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(InputError, match="state.params"):
        Run(tmp_path / "m", resume=True)


def test_the_run_folder_tells_how_a_number_came_about(stage0):
    folder = stage0.with_name("s0-run")
    told = json.loads((folder / "settings.json").read_text())
    assert told["settings"]["lr"] == 0.01 and told["settings"]["devices"] == 1
    assert len(told["settings"]["source.lst"]) == 16
    start, = told["starts"]
    assert "--network resnet" in start["command"] and start["versions"]["mxnet"] == mx.__version__
    assert start["versions"]["transfer-gluon"] != ""
    assert "validation accuracy" in (folder / "log.txt").read_text()


@pytest.fixture(scope="module")
def two_stages(tmp_path_factory):
    """Commands of two stages, their data, and what they leave behind when nothing disturbs them."""
    folder = tmp_path_factory.mktemp("two_stages")
    make_domain(folder, "source", [i % 3 for i in range(160)], seed=1)
    val = make_domain(folder, "val", [i % 3 for i in range(16)], seed=2)
    target = make_domain(folder, "target", [9999] * 120, seed=3)
    assert len(read_list(target)) == 120 and len(read_list(val)) == 16

    def commands(where):
        (where / "data").mkdir(parents=True)
        for name in ("source", "target", "val"):
            images = read_list(folder / f"{name}.lst")
            write_list(where / "data" / f"{name}.lst", images.labels, images.files)
        common = [*SMALL, "--data-dir", where / "data", "--save-batches", 3, "--resume"]
        return [
            [*NEW_NETWORK, *common, "--model-prefix", where / "m0", "--num-epochs", 3],
            ["--train-stage", 1, *common, "--pretrained-model", "m0", "--pretrained-epoch", 3,
             "--model-prefix", where / "m1", "--num-epochs", 2, "--lr-step-epochs", 1]]

    whole = folder / "whole"
    for flags in commands(whole):
        call("fine_tune.py", *flags, cwd=whole)     # where m0 is, under the same name for all: it is in the state
    return commands, content(whole / "m0"), content(whole / "m1")


def start(flags, cwd):
    return subprocess.Popen([sys.executable, ROOT / "fine_tune.py", *map(str, flags)], cwd=cwd,
                            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def kill_when(process, moment):
    """Send SIGKILL as soon as `moment()` is true; say whether it came to that."""
    while process.poll() is None:
        if moment():
            process.kill()
            return process.wait() == -signal.SIGKILL
    return False


def appears(folder, pattern):
    return lambda: any(folder.glob(pattern))


# Where a run is hit: (stage, the file whose appearance is the moment).
MOMENTS = {"packing": (0, "data/.source*"), "first batch": (0, "m0-run/settings.json"),
           "state of a batch": (0, "m0-run/.state*"), "checkpoint": (0, ".m0-0002*"),
           "summary": (0, "m0-run/.summary*"), "between the stages": (0, "m0-0003.params"),
           "start of stage 1": (1, "m1-run/lock"), "state in stage 1": (1, "m1-run/.state*"),
           "checkpoint in stage 1": (1, ".m1-0001*"), "last checkpoint": (1, "m1-0002.params")}


def hit_and_resume(two_stages, folder, name, delay):
    """Kill a run of both stages at a moment, and `delay` seconds later; call it again and compare all it leaves."""
    commands, whole0, whole1 = two_stages
    commands = commands(folder)
    stage, pattern = MOMENTS[name]
    for flags in commands[:stage]:
        call("fine_tune.py", *flags, cwd=folder)
    process = start(commands[stage], folder)
    seen = []

    def moment():
        if not seen and appears(folder, pattern)():
            seen.append(time.monotonic())
        return seen and time.monotonic() >= seen[0] + delay

    killed = kill_when(process, moment)
    process.stderr.close()
    for flags in commands[stage:]:
        call("fine_tune.py", *flags, cwd=folder)
    assert content(folder / "m0") == whole0, (name, delay)
    assert content(folder / "m1") == whole1, (name, delay)
    assert not list(folder.rglob("*.tmp"))
    return killed


@pytest.mark.parametrize("name", ["packing", "start of stage 1"])
def test_a_killed_run_goes_on_bit_for_bit(two_stages, tmp_path, name):
    assert hit_and_resume(two_stages, tmp_path, name, 0)


@pytest.mark.long
def test_twenty_kills(two_stages, tmp_path):
    """Each moment twice, once at once and once some time later: `make test-long`."""
    rng, killed = random.Random(0), 0
    for number, name in enumerate([*MOMENTS, *MOMENTS]):
        folder = tmp_path / str(number)
        killed += hit_and_resume(two_stages, folder, name, rng.uniform(0, 0.3) if number >= len(MOMENTS) else 0)
    assert killed >= 18     # the others had come to their end before the signal arrived


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_is_noted_and_the_second_acts(first):
    before = signal.getsignal(first)
    with pytest.raises(KeyboardInterrupt), StopSignals() as stop:
        signal.raise_signal(first)
        assert stop.name == first.name
        stop.name = "noted"
        signal.raise_signal(signal.SIGINT)
    assert stop.name == "noted" and signal.getsignal(first) == before


def test_signals_end_a_run_with_a_code_of_their_own(two_stages, tmp_path):
    commands, whole0, _ = two_stages
    flags, _ = commands(tmp_path)
    process = start(flags, tmp_path)
    log = tmp_path / "m0-run" / "log.txt"
    while process.poll() is None and not (log.exists() and "batch 10 of 20" in log.read_text()):
        time.sleep(0.001)
    process.send_signal(signal.SIGTERM)
    said = process.communicate()[1]
    assert process.returncode == 3, said
    assert "SIGTERM: the state after epoch" in said and "Traceback" not in said
    call("fine_tune.py", *flags)
    assert content(tmp_path / "m0") == whole0
    again = call("fine_tune.py", *flags)
    assert "nothing is left to train" in again.stderr
    assert os.path.getsize(tmp_path / "m0-run" / "state.params") > 0


def test_a_full_disk_ends_a_run_with_a_sentence_and_what_was_saved(two_stages, tmp_path):
    commands, _, _ = two_stages
    flags, _ = commands(tmp_path)
    small = ("import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000));"
             "sys.argv = sys.argv[1:]; import runpy; runpy.run_path(sys.argv[0], run_name='__main__')")
    done = subprocess.run([sys.executable, "-c", small, ROOT / "fine_tune.py", *map(str, flags), "--save-batches", "0"],
                          capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 2, done.stderr
    assert re.search(r"m0-run/state.params: cannot be written: .*MiB are free there", done.stderr)
    assert "Traceback" not in done.stderr and not list(tmp_path.rglob("*.tmp"))
    assert load_checkpoint(tmp_path / "m0", 1).arg_params
    call("fine_tune.py", *flags)


def test_a_run_with_the_weight_of_an_earlier_version_goes_on_when_that_is_given():
    """They had the loss's usual weight whatever the batch; the same command means another weight now."""
    from transfer_gluon.training.settings import differences
    usual = {"transfer_weighs": 2.0}
    then, explicit = {"transfer": "jmmd", "transfer_weight": None}, {"transfer": "jmmd", "transfer_weight": 5.0}

    def now(weighs, given):
        return {"transfer": "jmmd", "transfer_weight": given, "relative_transfer_weight": None,
                "transfer_weighs": weighs}

    refused, = differences(then, now(16.0, None), usual)
    assert refused == "transfer_weighs: 2.0 then, 16.0 now (`transfer_weight`, as it was)"
    assert not differences(then, now(2.0, 2.0), usual)
    assert not differences(explicit, now(5.0, 5.0), usual)
    assert differences(explicit, now(2.0, 2.0), usual)
    assert not differences(now(2.0, 2.0), now(2.0, None), usual)
