"""What a run says while it trains: a line that fits the terminal, the time that is left, a loss that explodes."""
import fcntl
import os
import re
import struct
import sys
import termios
import threading
from types import SimpleNamespace

import numpy as np
import pytest
from tiny import tiny_net, train

from transfer_gluon.base.errors import DivergedError
from transfer_gluon.base.framework import mx
from transfer_gluon.training import progress
from transfer_gluon.training.progress import Progress
from transfer_gluon.training.sums import Sums


@pytest.fixture
def terminal(monkeypatch):
    """A function that calls another with a terminal of some columns as standard error, and gives the lines on it."""
    def shown(function, columns):
        mine, theirs = os.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 0, columns, 0, 0))
        drawn = []

        def read():
            try:
                while piece := os.read(mine, 4096):
                    drawn.append(piece)
            except OSError:     # nobody writes any more
                pass
        reader = threading.Thread(target=read)
        reader.start()
        with open(theirs, "w", encoding="utf-8") as file:
            monkeypatch.setattr(sys, "stderr", file)
            function()
            monkeypatch.undo()
        reader.join()
        os.close(mine)
        return re.split(r"[\r\n]+", b"".join(drawn).decode())
    return shown


@pytest.fixture
def clock(monkeypatch):
    """A clock that goes on by hand: ``clock.seconds``."""
    clock = SimpleNamespace(seconds=0.0)
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: clock.seconds))
    return clock


def sums(others=None):
    found = Sums(others=others or {})
    found.softmax, found.transfer, found.correct, found.labelled, found.batches = 98.76, 0.12, 73.0, 80.0, 10.0
    found.recent.append(-0.0123)
    return found


def told(caplog):
    return re.findall(r"(\S+) left of the run", caplog.text)


@pytest.mark.parametrize("columns", [80, 120, 40])
def test_the_bar_fits_the_terminal_and_tells_the_time_left_first(terminal, columns):
    def run():
        with Progress(18, 40, 64).epoch(12, 7) as running:
            running._bar.mininterval = running._bar.miniters = 0
            for _ in range(4):
                running.update(sums({"domain_accuracy": 0.5}))
    lines = terminal(run, columns)
    assert max(map(len, lines)) <= columns
    last = [line for line in lines if "left" in line][-1]
    assert re.search(r"^epoch 12/18  2\d%\|.{4,}\| \d\d:\d\d left(, loss 1.23|$)", last), lines
    assert ("transfer -0.012, accuracy 91.2%" in last) == (columns >= 80)
    assert ("domain_accuracy 0.05, " in last) == (columns >= 120)
    assert ("images/s" in last) == (columns >= 120)


def test_a_whole_run_fits_80_columns(terminal):
    lines = terminal(lambda: train(num_epochs=3, batches=6, loss="dann"), 80)
    assert max(map(len, lines)) <= 80 and any(line.startswith("epoch 3/3 ") for line in lines), lines
    assert not any("nan" in line for line in lines)     # figures come a batch later


def test_the_time_left_is_that_of_all_epochs(clock, caplog):
    """Ten seconds a batch, five batches an epoch, four epochs, 100 seconds between epochs; the first batch, of which
    much is prepared, counts for nothing."""
    caplog.set_level("INFO")
    run = Progress(4, 5, 8, every=1)
    for number in (1, 2):
        with run.epoch(number) as running:
            for batch in range(5):
                clock.seconds += 1000 if (number, batch) == (1, 0) else 10
                running.update(sums())
        clock.seconds += 100
    assert len(re.findall("epoch 1 of 4, batch", caplog.text)) == 5
    first, second = told(caplog)[:4], told(caplog)[4:]
    seconds = [3 * 10 + 15 * 10, 2 * 10 + 15 * 10, 10 + 150, 150]
    assert first == [f"{s // 60:02d}:{s % 60:02d}" for s in seconds]
    seconds = [s * 10 + 100 + 300 for s in (4, 3, 2, 1, 0)]        # what is done behind epochs 2, 3 and 4, too
    assert second == [f"{s // 60:02d}:{s % 60:02d}" for s in seconds]


def test_an_epoch_that_is_gone_on_with_has_less_left(clock, caplog):
    caplog.set_level("INFO")
    with Progress(1, 10, 8, every=2).epoch(1, done=6) as running:
        for _ in range(4):
            clock.seconds += 10
            running.update(sums())
    assert "batch 8 of 10" in caplog.text and told(caplog) == ["00:20", "00:00"]
    assert "1 images/s" in caplog.text


def test_without_a_transfer_loss_none_is_told(caplog):
    caplog.set_level("INFO")
    train(num_epochs=1, stage=0, disp_batches=2)
    said = " ".join(caplog.messages)
    assert "batch 2 of 4, loss" in said and "epoch 1: loss" in said and "transfer" not in said
    caplog.clear()
    train(num_epochs=1, stage=1, disp_batches=2)
    assert len(re.findall(r"loss \S+, transfer [+-]\S+, accuracy", caplog.text)) == 3


def test_a_run_can_be_silent(caplog, terminal):
    caplog.set_level("INFO")
    lines = terminal(lambda: train(num_epochs=2, disp_batches=0), 80)
    assert not caplog.messages and lines == [""]


def batch(softmax, labelled=4):
    return [mx.nd.array([softmax, 0.5, 1, labelled])]


def test_a_loss_that_explodes_is_called_so(caplog):
    found = Sums()
    for number, loss in enumerate((8.0, 12.0, 9.0, 1.7e3)):
        found.add(batch(loss), f"batch {number}")
    found.flush()
    found = found.next_epoch()
    found.add(batch(float("nan")), "epoch 2, batch 1")
    with pytest.raises(DivergedError, match=r"the loss has exploded: it was 2 in the first batch, then 425, and is nan "
                                            r"in epoch 2, batch 1. A smaller `lr` usually helps, or a few `warmup_ep"):
        found.flush()
    assert not caplog.messages


def test_a_loss_that_is_none_at_once_is_not_said_to_have_grown():
    for losses in ([], [8.0, 700.0]):
        found = Sums()
        for loss in losses:
            found.add(batch(loss), "before")
        found.add(batch(float("inf")), "there")
        with pytest.raises(DivergedError, match="^the loss is inf in there. .*looking at the images"):
            found.flush()


def test_a_loss_that_is_a_number_still_is_told_once(caplog):
    found = Sums()
    for number, loss in enumerate((0.04, 3.9e4, 5e4, 9e4)):       # 10 000 nat an image and more
        found.add(batch(loss), f"batch {number}")
    found.flush()
    found.add(batch(0.0, labelled=0), "without a label")
    found.flush()
    assert caplog.messages == ["the loss has exploded: it was 0.01 in the first batch, and is 1.25e+04 in batch 2. A "
                               "smaller `lr` usually helps, or a few `warmup_epochs`"]


def test_what_is_told_changes_no_number():
    results = [train(num_epochs=2, disp_batches=every) for every in (0, 1)]
    assert [repr(result) for result in results[0]] == [repr(result) for result in results[1]]
    assert np.isfinite(results[0][-1].loss) and tiny_net() is not None
