"""Which of reading and computing limits a run."""
import time

import pytest

from iters import SyntheticIter
from training import throughput


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
