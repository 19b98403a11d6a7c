"""How fast a run reads, and how fast it computes: which of the two limits it."""
import time

from transfer_gluon.base.framework import mx
from transfer_gluon.training.schedule import StepSchedule

SECONDS = 10
# The learning rate of what is measured: hardly anything moves, and some optimizers divide by it.
AT_REST = StepSchedule(1e-8)


def reading_speed(batches):
    """Images a second of an epoch, from where it is opened; of about `SECONDS` of it at most."""
    batches.set_epoch(0)
    images, started = 0, time.monotonic()
    for batch in batches:
        batch.data[0].wait_to_read()
        images += batches.batch_size
        if time.monotonic() - started > SECONDS:
            break
    return images / (time.monotonic() - started)


def computing_speed(train, batches):
    """Images a second of training without reading.

    Parameters
    ----------
    train : callable
        Trains an epoch on the batches that it is given; `fit`, told to say nothing.
    batches : DataIter
        That cost nothing to read; `SyntheticIter`, or a `DualIter` of two.
    """
    clock = _Clock(batches)
    train(clock)
    seconds = clock.times[-1] - clock.times[clock.WARM_UP]
    return (len(clock.times) - 1 - clock.WARM_UP) * batches.batch_size / seconds


class _Clock(mx.io.DataIter):
    """One epoch, as long as needed, that notes when each batch was asked for: `LEAST` to `MOST` steps behind the first,
    which warm up, for `SECONDS`."""

    WARM_UP, LEAST, MOST = 2, 3, 100

    def __init__(self, batches):
        super().__init__(batches.batch_size)
        self.batches_per_epoch = self.WARM_UP + self.MOST
        self.provide_data, self.provide_label = batches.provide_data, batches.provide_label
        self.times, self._batches = [], batches

    def set_epoch(self, epoch):
        pass

    def skip(self, count):
        pass

    def next(self):
        self.times.append(time.monotonic())
        steps = len(self.times) - 1 - self.WARM_UP
        if steps == self.MOST or steps >= self.LEAST and self.times[-1] - self.times[self.WARM_UP] > SECONDS:
            raise StopIteration
        try:
            return self._batches.next()
        except StopIteration:
            self._batches.reset()
            return self._batches.next()
