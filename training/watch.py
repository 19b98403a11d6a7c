"""What the network says of target images after every epoch, where no label of them is known."""
import itertools
import math

import numpy as np

from transfer_gluon.base.log import log
from transfer_gluon.inference.calibration import log_softmax
from transfer_gluon.inference.outputs import outputs
from transfer_gluon.training.summary import START_TRANSFER_LOSS

# Batches of the first epoch that the transfer loss at the start is the mean of, at most.
_BATCHES = 50
# Epochs at the end over which the transfer loss is compared with that.
_LAST = 3
# From which mean confidence on a network is called sure, and below which part of the classes that would be expected
# it has too few.
_SURE, _FEW = 0.8, 0.5
_READ, _CONFIDENCE, _ENTROPY, _CLASS = range(4)


class Watch:
    r"""An item after an epoch that looks at target images as when the network is used, and at none of their labels.

    With p the probabilities of one of the n images, it tells

    .. math:: \text{target\_confidence} = \tfrac1n \sum \max_c p_c, \qquad
              \text{target\_entropy} = -\tfrac1n \sum \sum_c p_c \log p_c \text{ (nat)},

    - ``target_classes``: the part of the classes that is predicted at all;
    - ``target_shares``: the total variation :math:`\tfrac12 \sum_c |q_c - s_c|` between the shares q of predicted
      classes and the shares s of the source's labels: 0 alike, 1 nothing in common;
    - ``target_changed``: the part of the images for which the network predicts another class than the one that the
      training began with;
    - ``start_transfer_loss``: the transfer loss of that one, in training mode, over the first batches of the first
      epoch.

    What that network said is kept in the run's state, so that a run which goes on compares with the same. Nothing else
    of a training depends on whether it is watched.

    Parameters
    ----------
    target : DataIter
        The images, in their order, as for validation; with `images`, the `ImageList` of all workers' parts:
        `OrderedIter`, `OrderedFeatures`.
    num_classes : int
    shares : array (c,) or None
        s, how often each class is among the source's labels, in any unit. None: ``target_shares`` is not told.
    pairs : callable or None
        Makes the batches to train on, anew, of which the first ones are read once. None: ``start_transfer_loss`` is not
        told.
    before_forward : sequence of callables
        What happens to these first, as `fit` is given it.
    compares : bool
        Whether the network that the training begins with predicts anything, or has a classifier drawn by chance; then
        ``target_changed`` is not told.
    """

    def __init__(self, target, num_classes, shares=None, pairs=None, before_forward=(), compares=True):
        self._target, self._num_classes, self._compares = target, num_classes, compares
        self._pairs, self._before_forward = pairs, before_forward
        self._shares = None if shares is None else np.asarray(shares, np.float64) / np.sum(shares)
        self._began = {}

    def begin(self, learner, position, store):
        """Look at the network that the training begins with; where it goes on, take what was kept."""
        self._digest = self._target.images.digest
        if not position.updates:
            position.began = {"target": self._digest}
            if self._compares:
                looked = self._look(learner, store, "the network that the training begins with")
                position.began["classes"] = looked[_CLASS].astype(int).tolist()
            if self._pairs:
                position.began.update(self._transfer_loss(learner, store))
        began = position.began
        if began.get("target") == self._digest:
            self._began = began
        elif self._compares or self._pairs:
            log.info("what the network said at the beginning was not kept of these target images, so that nothing is "
                     "compared with it")

    def __call__(self, epoch):
        looked = self._look(epoch.learner, epoch.store, f"epoch {epoch.result.epoch}, the target; {epoch.last}")
        if self._pairs:
            epoch.tell(**{START_TRANSFER_LOSS: self._began.get("transfer_loss", math.nan)})
        figures = self._figures(looked)
        epoch.tell(self._in_words(figures), **figures)

    def end(self, learner, results):
        """Say where the figures of a training that is done tell of trouble."""
        # Who has too few classes is to weigh the transfer loss less, and is not told to weigh it more.
        trouble = self._too_few_classes(results[-1]) or self._not_fallen(learner, results)
        if trouble:
            log.warning("%s", trouble)

    def _look(self, learner, store, source):
        """What the network says of every image, in four rows: whether it could be read, its confidence, its entropy,
        its class. Every worker looks at its part, and all get the whole."""
        looked, place = np.zeros((4, len(self._target.images))), 0
        for batch in outputs(learner.on_batches, self._target, learner.devices, source):
            places = batch.index if batch.index is not None else range(place, place + len(batch))
            looked[:, places] = told(batch.logits)
            place += len(batch)
        return store.sum(looked)

    def _transfer_loss(self, learner, store):
        """The transfer loss at the start, and the standard error of this mean over batches."""
        losses = []
        with learner.unmoved():
            for batch in itertools.islice(self._pairs(), _BATCHES):
                parts = learner.statistics(batch, self._before_forward)
                losses.append(np.mean([part[1].asscalar() for part in parts], dtype=np.float64))
        number, total, squares = store.sum([len(losses), np.sum(losses), np.sum(np.square(losses))])
        mean = total / number
        noise = math.sqrt(max(squares / number - mean**2, 0) / (number - 1)) if number > 1 else math.nan
        log.info("the transfer loss is %+.4f at the start, ± %.4f, the standard error over %d batches", mean, noise,
                 number)
        return {"transfer_loss": mean, "noise": noise}

    def _figures(self, looked):
        read = looked[_READ] > 0
        _, confidence, entropy, classes = looked[:, read]
        counts = np.bincount(classes.astype(int), minlength=self._num_classes)
        figures = {"target_confidence": confidence.sum(), "target_entropy": entropy.sum(),
                   "target_classes": (counts > 0).sum() * read.sum() / self._num_classes}
        if self._compares:
            before = np.array(self._began.get("classes", math.nan))
            figures["target_changed"] = (before != looked[_CLASS])[read].sum() if before.ndim else math.nan
        if self._shares is not None:
            figures["target_shares"] = np.abs(counts - read.sum() * self._shares).sum() / 2
        return {name: value / read.sum() if read.any() else math.nan for name, value in figures.items()}

    def _in_words(self, figures):
        words = [f"target: confidence {100 * figures['target_confidence']:.0f} %",
                 f"entropy {figures['target_entropy']:.2g} nat"]
        if not math.isnan(figures.get("target_changed", math.nan)):
            words.append(f"{100 * figures['target_changed']:.0f} % changed")
        words.append(f"{figures['target_classes'] * self._num_classes:.0f} of {self._num_classes} classes")
        if "target_shares" in figures:
            words.append(f"shares differ by {figures['target_shares']:.2g}")
        return ", ".join(words)

    def _not_fallen(self, learner, results):
        """A sentence where the transfer loss is at the end what it was at the start, within its noise; None of one with
        parameters of its own, which train against the network, and of one that weighs nothing."""
        start, noise = self._began.get("transfer_loss", math.nan), self._began.get("noise", math.nan)
        adversary = any(name.startswith("objective.") for name in learner.learning)
        last = results[-_LAST:]
        now = float(np.mean([result.transfer_loss for result in last]))
        if adversary or not getattr(learner.objective, "weight", 1) or math.isnan(noise) or start - now > 2 * noise:
            return None
        compares = getattr(getattr(learner.objective, "transfer", None), "needs_features", True)
        why = "a larger `relative_transfer_weight`, more epochs or a larger `lr` may help" if not compares else \
            "from the start it was no more than its noise, so that it says nothing of the domains: larger batches, " \
            "`estimate` quadratic or `transfer_layers` may show more" if abs(start) <= 2 * noise else \
            "the network tells the domains apart as before: a larger `relative_transfer_weight`, more epochs or a " \
            "larger `lr` may help"
        return (f"the transfer loss has not fallen by more than its noise: {start:+.4f} ± {noise:.4f} at the start, "
                f"{now:+.4f} over the last {len(last)} epoch{'s' * (len(last) > 1)}; "
                f"{why}; docs/my-transfer-loss-does-not-fall.md")

    def _too_few_classes(self, result):
        """A sentence where confident predictions have collapsed to few classes."""
        shares = np.full(self._num_classes, 1 / self._num_classes) if self._shares is None else self._shares
        expected = (1 - (1 - shares)**len(self._target.images)).sum()
        confidence, found = result.others["target_confidence"], result.others["target_classes"] * self._num_classes
        if not (confidence >= _SURE and found < _FEW * expected):
            return None
        before = len(set(self._began.get("classes", [])))
        return (f"the network is sure of the target, {confidence:.0%} on average, and finds {found:.0f} of "
                f"{self._num_classes} classes in it" + (f" ({before} at the start)" if before else "") +
                ": unless there are so few, it has thrown classes together: try a smaller "
                "`relative_transfer_weight` or `lr`, or an earlier epoch")


def told(logits):
    """What is looked at in logits (b, c), as rows (4, b): 1, the largest probability, the entropy in nat, the class.

    >>> told(np.array([[0.0, 0.0], [-800.0, 800.0]])).round(4).tolist()
    [[1.0, 1.0], [0.5, 1.0], [0.6931, 0.0], [0.0, 1.0]]
    """
    log_p = log_softmax(logits)
    p = np.exp(log_p)
    return np.array([np.ones(len(p)), p.max(axis=1), (p * -log_p).sum(axis=1), p.argmax(axis=1)])


def sample(images, number):
    """The places of `number` images of a list, or of all, in an order by chance: the same of equal lists, whatever the
    seed of a run. Folders come class by class, and images are mixed with those beside them.

    >>> sample(range(5), 2).tolist() == sample(range(5), 2).tolist(), sorted(sample(range(3), 9).tolist())
    (True, [0, 1, 2])
    """
    return np.random.default_rng(0).permutation(len(images))[:number]
