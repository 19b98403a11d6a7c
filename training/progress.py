"""What a run says while it trains: a bar on a terminal, plain lines in a pipe or a file."""
import contextlib
import os
import sys
import time

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from transfer_gluon.base.log import log

_BAR = 4        # columns that are left to the bar itself, at least


class Progress:
    """Reports a run: loss, transfer loss, accuracy, images a second, the time left of all its epochs.

    Parameters
    ----------
    num_epochs, batches, batch_size : int
        Epochs of the run, batches an epoch, images a batch.
    every : int
        On no terminal, a log line every so many batches; 0: nothing is said, on a terminal neither.
    transfer : bool
        Whether there is a transfer loss to tell.

    Used as ``with progress.epoch(number, done): progress.update(sums)``, with `done` batches of the epoch done before.
    """

    def __init__(self, num_epochs, batches, batch_size, every=10, transfer=True):
        self._num_epochs, self._batches, self._batch_size = num_epochs, batches, batch_size
        self._every, self._transfer = every, transfer
        self._clock = _Clock()

    @contextlib.contextmanager
    def epoch(self, number, done=0):
        """A context in which an epoch is trained."""
        self._number, self._done, self._marked = number, done, done
        self._since = time.monotonic()
        self._clock.begin()
        with logging_redirect_tqdm(), tqdm(
                total=self._batches, initial=done, leave=False, disable=None if self._every else True,
                file=sys.stderr, ncols=_columns(), nrows=20, bar_format=self._format("")) as self._bar:
            yield self
        self._clock.end()

    def update(self, sums):
        """One more batch is done; `sums` has its running figures."""
        self._done += 1
        self._clock.batch()
        left = self._clock.left(self._batches - self._done, self._num_epochs - self._number, self._batches)
        left = [] if left is None else [f"{tqdm.format_interval(left)} left"]
        if not self._bar.disable:
            self._bar.ncols, speed = _columns(), self._bar.format_dict["rate"]
            width = self._bar.ncols - len(self._format("").format(percentage=100, bar=" " * _BAR))
            self._bar.bar_format = self._format(fitting([*left, *sums.figures(self._transfer, digits=3), *(
                [f"{speed * self._batch_size:.0f} images/s"] if speed else [])], width))
            self._bar.update()
        elif self._every and self._done % self._every == 0:
            now = time.monotonic()
            speed = (self._done - self._marked) * self._batch_size / max(now - self._since, 1e-9)
            log.info("%s", ", ".join([
                f"epoch {self._number} of {self._num_epochs}", f"batch {self._done} of {self._batches}",
                *sums.figures(self._transfer), f"{speed:.0f} images/s", *(f"{time} of the run" for time in left)]))
            self._marked, self._since = self._done, now


    def _format(self, text):
        """Of the bar, as tqdm takes it."""
        return f"epoch {self._number}/{self._num_epochs} {{percentage:3.0f}}%|{{bar}}| {text}"


class _Clock:
    """How long batches take, and what lies between epochs: validating, saving."""

    def __init__(self):
        self._seconds, self._counted, self._between, self._ends = 0.0, 0, 0.0, 0
        self._last = self._ended = None

    def begin(self):
        if self._ended is not None:
            self._between += time.monotonic() - self._ended
            self._ends += 1
        self._last = None if self._ended is None else time.monotonic()      # the very first batch prepares much

    def batch(self):
        now = time.monotonic()
        if self._last is not None:
            self._seconds += now - self._last
            self._counted += 1
        self._last = now

    def end(self):
        self._ended = time.monotonic()

    def left(self, batches, epochs, batches_per_epoch):
        """Seconds, for the rest of an epoch and `epochs` more; None where nothing is known yet."""
        if not self._counted:
            return None
        return ((batches + epochs * batches_per_epoch) * self._seconds / self._counted
                + (epochs + 1) * self._between / max(self._ends, 1))


def fitting(pieces, width):
    """As many of some texts, from the first on, as fit in `width` columns, with commas between them.

    >>> fitting(["1:30 left", "loss 0.123", "accuracy 91.2%"], 30)
    '1:30 left, loss 0.123'
    """
    text = ""
    for piece in pieces:
        longer = f"{text}, {piece}" if text else piece
        if len(longer) > width:
            break
        text = longer
    return text


def _columns():
    """Of the terminal that bars are drawn on."""
    with contextlib.suppress(OSError, ValueError):
        return os.get_terminal_size(sys.stderr.fileno()).columns or 80
    return 80
