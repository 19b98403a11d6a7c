"""What reproduce.py calls, when it calls it again, and which numbers it takes."""
import csv
import subprocess
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from transfer_gluon.commands import reproduce
from transfer_gluon.training.summary import EpochResult, Summary

WORDS = dict(stage0=["--num-epochs", "18"], stage1=["--num-epochs", "14"], common=["--num-epochs", "5", "--wd", "0.1"],
             adabn=["--layers", "all"])


@pytest.fixture
def runs(tmp_path):
    """The commands of two seeds by seed and method."""
    return {(run.seed, run.method): run
            for stage in reproduce.plan(tmp_path, "cars", {"val.lst": "0"}, 7, "2,3", 2, **WORDS) for run in stage}


def given(run, flag):
    """What a flag is in a command: the last that was given counts."""
    return run.command[len(run.command) - run.command[::-1].index(flag)]


def write_accuracies(run, accuracies):
    summary = Summary()
    for epoch, accuracy in enumerate(accuracies, start=1):
        summary.add(EpochResult(epoch, epoch, 0.1, 1.0, 0.0, 0.5, accuracy, accuracy))
    folder = Path(f"{run.prefix}-run")
    folder.mkdir(parents=True, exist_ok=True)
    summary.write(folder / "summary.csv")
    run.done.write_bytes(b"")


def test_every_row_of_the_table_is_called_by_its_own_flags(runs, tmp_path):
    assert runs.keys() == {(seed, method) for seed in (0, 1) for method in reproduce.METHODS}
    for (seed, method), run in runs.items():
        cnn = str(tmp_path / f"seed{seed}" / "cnn")
        if method == "adabn":
            assert run.command == ("adabn.py", "--model", cnn, "--epoch", "18", "--val", "cars/val.lst", "--gpu", "2",
                                   "--layers", "all")
            continue
        assert run.command[0] == "fine_tune.py" and "--resume" in run.command
        for flag, value in (("--data-dir", "cars"), ("--num-classes", "7"), ("--seed", str(seed)), ("--gpus", "2,3"),
                            ("--model-prefix", str(tmp_path / f"seed{seed}" / method)), ("--wd", "0.1"),
                            ("--num-epochs", "18" if method == "cnn" else "14")):
            assert given(run, flag) == value
        assert given(run, "--train-stage") == ("0" if method == "cnn" else "1")
        assert ("--use-dan" in run.command) == (method == "dan")
        assert run.done == tmp_path / f"seed{seed}" / (f"{method}-0018.params" if method == "cnn" else
                                                       f"{method}-0014.params")
        if method != "cnn":
            assert (given(run, "--pretrained-model"), given(run, "--pretrained-epoch")) == (cnn, "18")
    assert not any("gpu" in word for stage in reproduce.plan(tmp_path, "cars", {}, 7, None, 1, **WORDS)
                   for run in stage for word in run.command)


def test_accuracies_are_those_of_the_last_epoch_and_after_adabn(runs, tmp_path):
    write_accuracies(runs[0, "dan"], [0.25, 0.75, 0.5])
    runs[1, "adabn"].log.parent.mkdir(parents=True)
    runs[1, "adabn"].log.write_text("accuracy of 8 images: 12.50% before AdaBN, 62.50% after\n")
    chosen = [runs[0, "dan"], runs[1, "adabn"]]
    assert [reproduce.accuracy(run) for run in chosen] == [50, 62.5]
    reproduce.write_csv(tmp_path / "results.csv", chosen)
    with open(tmp_path / "results.csv", newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["method", "seed", "accuracy_percent", "command"]
    assert [row[:3] for row in rows] == [["dan", "0", "50.0000"], ["adabn", "1", "62.5000"]]
    assert rows[0][3] == " ".join(runs[0, "dan"].command)


def test_a_command_is_called_again_unless_this_very_one_has_ended(runs, monkeypatch):
    called = []

    def call(command, **_):
        called.append(command[2:])
        if dies:
            raise KeyboardInterrupt
        write_accuracies(run, [0.5])
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr(subprocess, "run", call)
    bar, dies = SimpleNamespace(write=lambda *_, **__: None, update=lambda: None), False
    run = first = runs[0, "dan"]
    other, edited = replace(first, command=(*first.command, "--wd", "0")), replace(first, lists={"val.lst": "1"})
    for run, calls in (first, 1), (first, 1), (other, 2), (other, 2), (first, 3), (edited, 4), (first, 5):
        reproduce.execute(run, bar)
        assert len(called) == calls and called[-1] == list(run.command[1:])
    run, dies = other, True
    with pytest.raises(KeyboardInterrupt):
        reproduce.execute(other, bar)
    run, dies = first, False        # whatever the one that was interrupted has written
    reproduce.execute(first, bar)
    assert len(called) == 7
