"""Which of reading and computing limits a run."""
import itertools
import time
from types import SimpleNamespace

import pytest

from transfer_gluon.iters import SyntheticIter
from transfer_gluon.training import stages, throughput


@pytest.mark.parametrize("num_images", [1, 1000])
def test_steps_are_timed_however_few_batches_an_epoch_has(monkeypatch, num_images):
    monkeypatch.setattr(throughput, "SECONDS", 0.2)
    steps = []

    def train(batches):
        batches.set_epoch(0)
        batches.skip(0)
        for batch in batches:
            steps.append(batch.data[0].shape[0])
            time.sleep(1 if len(steps) <= 2 else 0.02)      # the first steps compile

    speed = throughput.computing_speed(train, SyntheticIter(8, (3, 4, 4), 2, num_images))
    assert 5 <= len(steps) <= 102 and set(steps) == {8}
    assert 8 / 1 < speed <= 8 / 0.02


def test_speeds_count_images(monkeypatch):
    seconds = itertools.count()
    monkeypatch.setattr(throughput, "time", SimpleNamespace(monotonic=lambda: next(seconds)))
    batches = SyntheticIter(8, (3, 4, 4), 2, num_images=40)
    assert throughput.computing_speed(list, batches) == 8       # a batch a second
    assert throughput.reading_speed(batches) == 40 / 6          # five batches, and a look at the clock


def test_what_is_slower_limits(capsys):
    stages._say_what_limits(10, 20, [30, 60])       # two decoders, one image of each in turn
    stages._say_what_limits(20, 10, [])
    assert capsys.readouterr().out.splitlines() == [
        "reading 10.0 images/s, raw decoder 40.0, computing 20.0: reading limits this run",
        "reading 20.0 images/s, computing 10.0: computing limits this run"]
