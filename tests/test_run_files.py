"""What is on disk at every moment of a run, and what becomes of it when files are lost, damaged or something else."""
import ctypes
import json
import shutil

import pytest
from test_resume import content
from tiny import SHAPE, TinyIter, train

from transfer_gluon.base.errors import InputError
from transfer_gluon.base.framework import mx
from transfer_gluon.base.log import log
from transfer_gluon.checkpoints.checkpoint import saved_epochs
from transfer_gluon.symbols import TransferObjective
from transfer_gluon.training.loop import fit
from transfer_gluon.training.run import Run
from transfer_gluon.training.schedule import StepSchedule


class Died(BaseException):
    """The end of a process: nothing is saved."""


class DieAfter:
    """Ends the run after so many batches, as SIGKILL would."""

    def __init__(self, batches):
        self._left = batches

    @property
    def name(self):
        self._left -= 1
        if self._left < 0:
            raise Died


def die(run, batches=1, num_epochs=5):
    with pytest.raises(Died):
        train(run, num_epochs, stop=DieAfter(batches))


@pytest.fixture(scope="module")
def five(tmp_path_factory):
    """The prefix of a run of five epochs."""
    prefix = tmp_path_factory.mktemp("five") / "m"
    train(Run(prefix), 5)
    return prefix


@pytest.fixture
def copied(five, tmp_path):
    """The same run, to spoil."""
    return shutil.copytree(five.parent, tmp_path / "copied") / "m"


def epochs(prefix):
    return {path.name: path.read_bytes() for path in prefix.parent.glob("m-*.params")}


def remove(prefix, *numbers):
    for number in numbers:
        prefix.with_name(f"m-{number:04d}.params").unlink()


def test_a_run_that_went_on_from_an_epoch_and_died_in_it_is_resumed(copied, five, tmp_path):
    remove(copied, 4, 5)
    before = epochs(copied)
    die(Run(copied, load_epoch=3))
    assert epochs(copied) == before
    run = Run(copied, resume=True)
    assert run.position.epoch == 3
    train(run, 5)
    whole = shutil.copytree(five.parent, tmp_path / "whole") / "m"
    remove(whole, 4, 5)
    train(Run(whole, load_epoch=3), 5)
    assert content(copied) == content(whole) and before.items() <= epochs(copied).items()


def test_checkpoints_without_a_state_are_refused_and_stay(copied):
    (copied.with_name("m-run") / "state.params").unlink()
    before = content(copied)
    with pytest.raises(InputError, match=r"state.params: no such file.*epochs 1, 2, 3, 4, 5.*`load_epoch` 5.*`overwr"):
        Run(copied, resume=True)
    shutil.rmtree(copied.with_name("m-run"))
    with pytest.raises(InputError, match="state.params: no such file"):
        Run(copied, resume=True)
    assert before.items() >= epochs(copied).items()


def test_an_overwritten_run_that_died_goes_on_as_the_new_one(copied, tmp_path):
    old, settings = epochs(copied), {"new": 1}
    die(Run(copied, settings, overwrite=True))
    replaced = copied.with_name("m-run") / "replaced"
    assert epochs(copied) == {} and {path.name: path.read_bytes() for path in replaced.iterdir()} == old
    die(Run(copied, settings, resume=True), 6)
    assert epochs(copied).keys() == {"m-0001.params"} and not replaced.exists()
    train(Run(copied, settings, resume=True), 2)
    train(Run(tmp_path / "fresh" / "m", settings), 2)
    assert content(copied) == content(tmp_path / "fresh" / "m")


def test_a_run_stays_whole_when_the_next_one_dies_before_its_first_state(copied, monkeypatch):
    before = content(copied)

    def dies(*_):
        raise Died

    monkeypatch.setattr(Run, "restore", dies)
    for how in (dict(overwrite=True), dict(resume=True)):
        die(Run(copied, **how))
    assert content(copied) == before
    assert Run(copied, resume=True).position.epoch == 5


@pytest.mark.parametrize("lost", ["settings.json", "summary.csv", "log.txt", "lock", "../m-symbol.json",
                                  "../m-0002.params"])
def test_what_can_be_written_again_may_be_lost(copied, tmp_path, lost):
    (copied.with_name("m-run") / lost).unlink()
    train(Run(copied, resume=True), 6)
    train(Run(tmp_path / "whole" / "m"), 6)
    now, then = content(copied), content(tmp_path / "whole" / "m")
    assert [name for name in then if now.get(name) != then[name]] == ["m-0002.params"] * ("0002" in lost)
    assert (copied.with_name("m-run") / "settings.json").exists()


def test_what_a_run_at_its_end_has_lost_is_written_again(copied):
    before = content(copied)
    for lost in ("m-run/summary.csv", "m-symbol.json"):
        (copied.parent / lost).unlink()
    (copied.with_name("m-run") / "replaced").mkdir()
    (copied.with_name("m-run") / "replaced" / "m-0001.params").write_bytes(b"of a run that was replaced")
    Run(copied, resume=True).mend()
    assert content(copied) == before
    Run(copied, resume=True, keep=2, writes=False).mend()
    assert content(copied) == before
    Run(copied, resume=True, keep=2).mend()
    assert epochs(copied).keys() == {"m-0004.params", "m-0005.params"}


def test_a_lost_checkpoint_is_named(copied):
    remove(copied, 5)
    with pytest.raises(InputError, match="m-0005.params: no such file.*there are the epochs 1, 2, 3, 4. Put it back"):
        Run(copied, resume=True)


def test_no_checkpoints_do_not_take_the_place_of_others(copied):
    with pytest.raises(InputError, match="has a run with checkpoints"):
        Run(copied, overwrite=True, checkpoints=False)


FILES = ["m-symbol.json", "m-0005.params", "m-0003.params", "m-run/settings.json", "m-run/state.params",
         "m-run/summary.csv", "m-run/log.txt", "m-run/lock"]


@pytest.mark.parametrize("name", [*FILES, "m-run", "m-run/replaced"])
def test_a_folder_in_place_of_a_file_is_named_and_the_reverse(copied, name):
    path = copied.parent / name
    if name in FILES:
        path.unlink()
        path.mkdir()
    else:
        if path.exists():
            shutil.rmtree(path)
        path.write_text("")
    for how in (dict(resume=True), dict(overwrite=True), dict(load_epoch=5), {}):
        with pytest.raises(InputError, match=f"{name}: is not a f"):
            train(Run(copied, **how), 6)


def test_only_checkpoints_that_the_state_has_seen_are_counted_as_kept(five, tmp_path, monkeypatch):
    """A process that dies between a checkpoint and its state leaves a checkpoint that is written once more."""
    prefix = tmp_path / "m"
    train(Run(prefix), 3)

    def dies(*_):
        raise Died

    with monkeypatch.context() as patch, pytest.raises(Died):
        patch.setattr(Run, "_save_state", dies)
        train(Run(prefix, resume=True, keep=1), 4)
    assert epochs(prefix).keys() == {"m-0003.params", "m-0004.params"}
    die(Run(prefix, resume=True, keep=1))
    assert epochs(prefix).keys() == {"m-0003.params", "m-0004.params"}
    train(Run(prefix, resume=True), 5)
    assert epochs(prefix)["m-0005.params"] == epochs(five)["m-0005.params"]


def test_what_was_said_and_when_it_was_started_stays(copied, caplog):
    caplog.set_level("INFO", log.name)
    folder = copied.with_name("m-run")
    (folder / "log.txt").write_text("before\n")
    train(Run(copied, resume=True), 6)
    train(Run(copied, load_epoch=6), 7)
    assert (folder / "log.txt").read_text().startswith("before\n") and "epoch 7" in (folder / "log.txt").read_text()
    starts = json.loads((folder / "settings.json").read_text())["starts"]
    assert [start["after_epoch"] for start in starts] == [0, 5, 6]


def test_settings_are_those_of_the_state_where_their_file_is_lost(tmp_path):
    train(Run(tmp_path / "m", {"lr": 0.1}), 1)
    (tmp_path / "m-run" / "settings.json").unlink()
    with pytest.raises(InputError, match="lr: 0.1 then, 0.2 now"):
        Run(tmp_path / "m", {"lr": 0.2}, resume=True)


def test_a_run_serves_one_fit(tmp_path):
    for run in (Run(), Run(tmp_path / "m")):
        train(run, 1)
        with pytest.raises(InputError, match=r"this Run has served one call.*Run\(prefix, settings, resume=True\)"):
            train(run, 2)
    train(Run(tmp_path / "m", resume=True), 2)      # and has left neither lock nor log open


def test_a_fit_that_fails_leaves_neither_lock_nor_log_open(tmp_path, monkeypatch):
    handlers = list(log.handlers)
    with monkeypatch.context() as patch, pytest.raises(AttributeError):
        patch.delattr(Run, "_align")        # the start fails when the log is open already
        train(Run(tmp_path / "m"), 1)
    with pytest.raises(InputError), Run(tmp_path / "m", overwrite=True):
        raise InputError("what")
    assert log.handlers == handlers
    train(Run(tmp_path / "m", overwrite=True), 1)


def test_a_run_that_another_process_wrote_meanwhile_is_not_replaced(tmp_path):
    late = Run(tmp_path / "m")
    train(Run(tmp_path / "m"), 1)
    before = content(tmp_path / "m")
    with pytest.raises(InputError, match="another process has written this run since"):
        train(late, 1)
    assert content(tmp_path / "m") == before


def test_settings_that_a_run_did_not_know_have_their_defaults(copied):
    Run(copied, {"jitter": 0.4}, defaults={"jitter": 0.4}, resume=True)
    with pytest.raises(InputError, match="jitter: 0.4 then, 0.5 now"):
        Run(copied, {"jitter": 0.5}, defaults={"jitter": 0.4}, resume=True)


class Mallinfo(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint) for name in
                ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks",
                 "keepcost")]


def allocated():
    """Bytes that C and C++ hold, modulo 2^32, whatever room the process has for more."""
    mallinfo = ctypes.CDLL(None).mallinfo
    mallinfo.restype = Mallinfo
    info = mallinfo()
    return info.uordblks + info.hblkhd


def test_memory_stands_still_over_many_epochs(tmp_path):
    at = []

    class Validation(TinyIter):
        """Read once an epoch."""

        def reset(self):
            super().reset()
            at.append(allocated())

    train(Run(tmp_path / "m", keep=3), 61, batches=1, validation=Validation(1))
    growth = ctypes.c_int32(at[60] - at[20]).value / 40
    assert growth < 5000    # bytes an epoch; 24,000 when every epoch had MXNet write the network as text


def test_a_log_that_cannot_be_written_is_no_traceback(tmp_path, capsys, caplog):
    caplog.set_level("INFO", log.name)
    run = Run(tmp_path / "m", checkpoints=False)
    with run:
        run._note_start()
        run._log_file.stream.close()
        run._log_file.stream = open("/dev/full", "w")
        log.info("x" * 100_000)
    assert "Traceback" not in capsys.readouterr().err


def test_an_epoch_is_not_gone_on_from_while_others_are_moved_away(copied):
    die(Run(copied, overwrite=True))
    replaced = copied.with_name("m-run") / "replaced"
    (replaced / "m-0005.params").rename(copied.with_name("m-0005.params"))      # as if killed before it was moved
    with pytest.raises(InputError, match="replaced: holds epochs that a killed `overwrite` has moved away"):
        Run(copied, load_epoch=5)
    for file in list(replaced.iterdir()):
        file.rename(copied.with_name(file.name))
    replaced.rmdir()
    train(Run(copied, load_epoch=5), 6)
    assert saved_epochs(copied) == [1, 2, 3, 4, 5, 6]


def test_going_on_from_an_epoch_leaves_the_network_to_the_others(copied):
    copied.with_name("m-0005.params").unlink()
    before = copied.with_name("m-symbol.json").read_bytes()
    for change in (lambda checkpoint: checkpoint.normalized((1, 2, 3), (1, 1, 1)).classifier("flatten0", 3, SHAPE),
                   lambda checkpoint: checkpoint.classifier("flatten0", 3, (3, 5, 5))):
        run = Run(copied, load_epoch=4)
        with pytest.raises(InputError, match="its epochs were trained with images of .3, 4, 4. and no normalisation"):
            fit(change(run.checkpoint), TransferObjective(), TinyIter(1), [mx.cpu()], StepSchedule(0.1), 5, run=run)
        assert copied.with_name("m-symbol.json").read_bytes() == before
    train(Run(copied, load_epoch=4), 5)
    assert saved_epochs(copied) == [1, 2, 3, 4, 5]


def test_a_run_without_checkpoints_is_not_begun_anew_by_resuming(tmp_path):
    train(Run(tmp_path / "m", checkpoints=False), 2)
    before = (tmp_path / "m-run" / "summary.csv").read_bytes()
    with pytest.raises(InputError, match="summary.csv: tells of epochs, and neither a state nor a checkpoint"):
        Run(tmp_path / "m", resume=True)
    assert (tmp_path / "m-run" / "summary.csv").read_bytes() == before
