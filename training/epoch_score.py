"""A score without target labels, told after every epoch."""
import math

from transfer_gluon.scores.registry import score as made
from transfer_gluon.scores.seen import look
from transfer_gluon.training.summary import score_column


class EpochScore:
    """An item after an epoch that judges the network by one of the `SCORES`, as ``score_NAME``.

    It is NaN where it cannot be told.

    Parameters
    ----------
    name : str
        Of a score that judges a network by itself.
    target : DataIter
        Images of the target.
    source, trained : DataIter or None
        Of the source: held out of training, and trained on; see `look`.
    """

    def __init__(self, name, target, source=None, trained=None):
        self._name, self._score = name, made(name)
        self._target, self._source, self._trained = target, source, trained

    def __call__(self, epoch):
        learner = epoch.learner
        seen = look(learner.on_batches, self._target, learner.devices, self._source, self._trained,
                    mixed="mixed" in self._score.needs, name=f"epoch {epoch.result.epoch}, the target; {epoch.last}")
        value = self._score(seen) if self._score.can_judge(seen) else math.nan
        epoch.tell(**{score_column(self._name): float(value)})
