"""What a run says while it trains: a bar on a terminal, plain lines in a pipe or a file."""
import sys
import time

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from transfer_gluon.base.log import log


class EpochProgress:
    """Reports an epoch: loss, transfer loss, accuracy, images a second, time left.

    Parameters
    ----------
    epoch, batches, batch_size : int
    done : int
        Batches done before.
    every : int
        On no terminal, a log line every so many batches.

    Used as ``with EpochProgress(…) as progress: progress.update(text)``.
    """

    def __init__(self, epoch, batches, batch_size, done=0, every=10):
        self._label = f"epoch {epoch}"
        self._batches, self._batch_size, self._every = batches, batch_size, every
        self._bar = tqdm(total=batches * batch_size, initial=done * batch_size, desc=self._label, unit=" images",
                         leave=False, disable=None, file=sys.stderr)
        self._redirect = logging_redirect_tqdm()
        self._done = self._marked = done
        self._since = time.monotonic()

    def __enter__(self):
        self._redirect.__enter__()
        return self

    def __exit__(self, *error):
        self._bar.close()
        self._redirect.__exit__(*error)

    def update(self, text):
        """One more batch is done; `text` gives its running figures."""
        self._done += 1
        self._bar.set_postfix_str(text, refresh=False)
        self._bar.update(self._batch_size)
        if self._bar.disable and self._done % self._every == 0:
            now = time.monotonic()
            speed = (self._done - self._marked) * self._batch_size / max(now - self._since, 1e-9)
            left = (self._batches - self._done) * self._batch_size / speed
            log.info("%s batch %d of %d, %s, %.0f images/s, %.0f s left", self._label, self._done, self._batches,
                     text, speed, left)
            self._marked, self._since = self._done, now
