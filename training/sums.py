"""The running figures of an epoch."""
import collections
import math
from dataclasses import asdict, dataclass, field

from transfer_gluon.base.errors import DivergedError
from transfer_gluon.base.log import log

# Times the mean loss of the first batch, or 1 nat where that is less: what a loss has grown to that is then no number,
# and one that is a number still.
_GROWN, _EXPLODED = 100, 10_000


@dataclass
class Sums:
    """What the batches of an epoch add up to.

    A batch's figures are fetched when the next batch is already queued, so that the devices never wait.

    Attributes
    ----------
    softmax, transfer : float
        Summed cross-entropy over labelled images; summed transfer losses, a batch's being the mean over devices.
    correct, labelled, batches : float
        Counts.
    others : dict of str to float
        Of further statistics, by their names: sums of the means over devices.
    recent : deque of float
        Transfer losses of the last 100 batches, over the ends of epochs.
    """

    softmax: float = 0.0
    transfer: float = 0.0
    correct: float = 0.0
    labelled: float = 0.0
    batches: float = 0.0
    recent: collections.deque = field(default_factory=lambda: collections.deque(maxlen=100))
    others: dict = field(default_factory=dict)

    def __post_init__(self):
        self.recent = collections.deque(self.recent, maxlen=100)
        self._pending = None
        self._first = self._before = None       # mean losses of the run's first batch, and of the one before
        self._told = False

    def _watch(self, loss, total, where):
        """Raise DivergedError for a loss that is no number; say so once of one that is many times that of the first
        batch."""
        grown = self._first is not None and self._before > _GROWN * max(self._first, 1)
        if not math.isfinite(total):
            was = f"has exploded: it was {self._first:.3g} in the first batch, then {self._before:.3g}, and is " \
                f"{total}" if grown else f"is {total}"
            raise DivergedError(f"the loss {was} in {where}. A smaller `lr` usually helps"
                                + (", or a few `warmup_epochs`." if grown else "; so does looking at the images that "
                                   "were read."))
        self._first, self._before = loss if self._first is None else self._first, loss
        if loss > _EXPLODED * max(self._first, 1) and not self._told:
            self._told = True
            log.warning("the loss has exploded: it was %.3g in the first batch, and is %.3g in %s. A smaller `lr` "
                        "usually helps, or a few `warmup_epochs`", self._first, loss, where)

    def add(self, statistics, where, names=()):
        """Take in a batch: the objective's statistics of every device, and the names of all of them; those behind the
        first four are `others`. `where` names the batch in a message.

        Raises: DivergedError when the loss of the batch before is no longer a number.
        """
        self.flush()
        self._pending = statistics, where, names[4:]

    def flush(self):
        """Wait for the last batch."""
        if self._pending is None:
            return
        statistics, where, names = self._pending
        self._pending = None
        softmax, transfer, correct, labelled, *others = sum(
            part.asnumpy().astype("float64") for part in statistics).tolist()
        transfer /= len(statistics)
        self._watch(softmax / labelled if labelled else 0.0, softmax + transfer, where)
        self.softmax += softmax
        self.transfer += transfer
        self.correct += correct
        self.labelled += labelled
        self.batches += 1
        self.recent.append(transfer)
        for name, value in zip(names, others):
            self.others[name] = self.others.get(name, 0.0) + value / len(statistics)

    def next_epoch(self):
        """Sums of an epoch that has not begun."""
        following = Sums(recent=self.recent)
        following._first, following._before, following._told = self._first, self._before, self._told
        return following

    def over_workers(self, store):
        """The sums of all workers of a distributed run together; the worker's own where it is alone."""
        self.flush()
        totals = list(map(float, store.sum([self.softmax, self.transfer, self.correct, self.labelled, self.batches,
                                            *self.others.values()])))
        return Sums(*totals[:5], self.recent, dict(zip(self.others, totals[5:])))

    def state(self):
        """What `Sums(**state)` is made of again, as numbers and lists."""
        self.flush()
        return dict(asdict(self), recent=list(self.recent))

    @property
    def loss(self):
        """Mean cross-entropy of a labelled image, in nat."""
        return self.softmax / self.labelled if self.labelled else float("nan")

    @property
    def accuracy(self):
        """Over labelled images, 0 to 1."""
        return self.correct / self.labelled if self.labelled else float("nan")

    @property
    def transfer_loss(self):
        """Mean over batches."""
        return self.transfer / self.batches if self.batches else float("nan")

    @property
    def means(self):
        """Of the `others`, over batches."""
        return {name: value / self.batches if self.batches else float("nan") for name, value in self.others.items()}

    def figures(self, transfer=True, digits=4):
        """The running figures as texts, with so many digits behind the point; the transfer loss, unless `transfer` is
        False, over the last 100 batches; loss and accuracy where images have labels. None before the first batch is
        there."""
        if not self.batches:
            return []
        recent = sum(self.recent) / len(self.recent) if self.recent else float("nan")
        return [*([f"loss {self.loss:.{digits}f}"] if self.labelled else []),
                *([f"transfer {recent:+.{digits}f}"] if transfer else []),
                *([f"accuracy {self.accuracy:.{digits - 2}%}"] if self.labelled else []),
                *(f"{name} {value:.4g}" for name, value in self.means.items())]
