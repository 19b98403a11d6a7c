"""A score without target labels, told after every epoch."""
import math

from transfer_gluon.base.errors import InputError
from transfer_gluon.base.log import log
from transfer_gluon.scores.registry import score as made
from transfer_gluon.scores.seen import look
from transfer_gluon.training.summary import score_column

# Why a score that tells nothing of a network alone judges no epoch.
COMPARES = "it compares networks with each other, and an epoch is judged when it is done; choose.py does so when the " \
    "run is"


def check_images(name, number, num_classes):
    """Raise InputError where so many images of the target are too few for a score."""
    fewest = made(name).fewest(num_classes)
    if number < fewest:
        raise InputError(f"`by` {name} was given, which looks at {fewest} target images or more, and `watch` has "
                         f"{number} of them.", "by", name, f"at least {fewest} images of the target")


class EpochScore:
    """An item after an epoch that judges the network by one of the `SCORES`, as ``score_NAME``.

    It is NaN where it cannot be told, which a line of the log says the first time.

    Parameters
    ----------
    name : str
        Of a score that judges a network by itself.
    target : DataIter
        Images of the target.
    source, trained : DataIter or None
        Of the source: held out of training, and trained on; see `look`.

    Raises: InputError for a score that compares networks with each other.
    """

    def __init__(self, name, target, source=None, trained=None):
        self._name, self._score, self._said = name, made(name), False
        if not self._score.alone:
            raise InputError(f"`name` is {name}: {COMPARES}.", "name", name, "a score of one network")
        self._target, self._source, self._trained = target, source, trained

    def __call__(self, epoch):
        learner = epoch.learner
        seen = look(learner.on_batches, self._target, learner.devices, self._source, self._trained,
                    mixed="mixed" in self._score.needs, name=f"epoch {epoch.result.epoch}, the target; {epoch.last}")
        value = self._score(seen) if self._score.can_judge(seen) else math.nan
        if math.isnan(value) and not self._said:
            self._said = True
            log.warning("epoch %d cannot be judged by %s: the network gives no numbers, or the images are too few",
                        epoch.result.epoch, self._name)
        epoch.tell(**{score_column(self._name): float(value)})
