"""What is done after an epoch: each item is called with the `Epoch`, in the order in which `fit` was given them.

An item may have two methods beside, which all workers call: ``begin(learner, position, store)``, before the first
batch, also where a run goes on; nothing has been trained where ``position.updates`` is 0, and what an item then keeps
in ``position.began``, of JSON types, is there when the run goes on. And ``end(learner, results)``, when all epochs are
done, with the `EpochResult` of each.
"""
import math
import numbers
from dataclasses import dataclass, field, replace

import numpy as np

from transfer_gluon.base.errors import InputError
from transfer_gluon.base.log import log
from transfer_gluon.inference.evaluate import evaluate
from transfer_gluon.training.summary import COLUMNS, START_TRANSFER_LOSS, best_result


@dataclass
class Epoch:
    """An epoch that has just been trained, as the items after it see it, and may change it.

    Attributes
    ----------
    result : EpochResult
        What it came to so far. An item that judges the network puts its figure in: ``epoch.tell(name=0.5)``.
    learner : Learner
        The network, the objective and their parameters, on their devices, equal on all of them.
    trainer : gluon.Trainer
    position : Position
    store : Store
        Of a distributed run: every worker calls every item.
    before : list of EpochResult
        The epochs before this one, those of the run before it was resumed included.
    seconds : float
        That the training of the epoch took.
    last : str
        What there is to go back to, in words.
    ends : str
        An item that ends the training says here why, the same on all workers: the epoch is saved, and is the last, also
        when the run is gone on with.
    words : list of str
        What the log line says of figures that were told in words.
    """

    result: object
    learner: object
    trainer: object
    position: object
    store: object
    before: list = field(default_factory=list)
    seconds: float = 0.0
    last: str = ""
    ends: str = ""
    words: list = field(default_factory=list)
    _in_words: set = field(default_factory=set, repr=False)

    def tell(self, words=None, /, **figures):
        """Put figures beside those of the `result`; numbers, which the summary gets as columns of their own. The log
        line says them by their names, or says `words` in their place.

        Raises: InputError for what is no number, and for a name that the summary has already.
        """
        for name, value in figures.items():
            if name in COLUMNS or not isinstance(value, numbers.Real) or isinstance(value, (bool, np.bool_)):
                raise InputError(f"an item after epoch {self.result.epoch} tells {name} = {value!r}; expected a "
                                 f"number, under another name than {', '.join(COLUMNS)}.", name, value, "a number")
        figures = {name: float(value) for name, value in figures.items()}
        self.result = replace(self.result, others={**self.result.others, **figures})
        if words:
            self.words.append(words)
            self._in_words.update(figures)

    @property
    def in_figures(self):
        """Those of the further figures that no `words` say, as a dict by their names."""
        return {name: value for name, value in self.result.others.items() if name not in self._in_words}


class Validation:
    """Judges the network by the labelled images of an iterator: see `evaluate`.

    With a `name`, its accuracy stands in the summary under that, else as the validation's.
    """

    def __init__(self, batches, top_k=1, null_label=9999, name=None):
        self._batches, self._top_k, self._null_label, self._name = batches, top_k, null_label, name

    def __call__(self, epoch):
        accuracies = evaluate(epoch.learner.on_batches, self._batches, epoch.learner.devices, self._top_k,
                              self._null_label, epoch.store,
                              f"epoch {epoch.result.epoch}, {self._name or 'validation'}; {epoch.last}")
        if self._name:
            epoch.tell(**{self._name: accuracies[0]})
            return
        epoch.result = replace(epoch.result, validation_accuracy=accuracies[0], validation_top_k=accuracies[1])


class EarlyStop:
    """Ends the training when the accuracy has not risen for a number of epochs: that on the source's held-out part, or
    else the validation's. An accuracy as good as the best is no rise."""

    def __init__(self, patience):
        self._patience = patience

    def __call__(self, epoch):
        results = [*epoch.before, epoch.result]
        best = best_result(results)
        if best and epoch.result.epoch - best.epoch >= self._patience:
            epoch.ends = f"no better accuracy than that of epoch {best.epoch} for {self._patience} epochs"


class Say:
    """Says in a log line what an epoch came to; of the transfer loss nothing where there is none."""

    def __init__(self, top_k=1, transfer=True):
        self._top_k, self._transfer = top_k, transfer

    def __call__(self, epoch):
        result = epoch.result
        further = epoch.in_figures
        start = further.pop(START_TRANSFER_LOSS, math.nan)
        at_first = "" if math.isnan(start) else f" (at the start {start:+.4f})"
        transfer = f"transfer {result.transfer_loss:+.4f}{at_first}, " if self._transfer else ""
        unlabelled = math.isnan(result.loss)       # all that was trained on
        text = (f"epoch {result.epoch}: " + ("" if unlabelled else f"loss {result.loss:.4f}, ") + transfer
                + ("" if unlabelled else f"accuracy {result.accuracy:.2%}, ")
                + f"learning rate {result.learning_rate:g}")
        if not math.isnan(result.validation_accuracy):
            text += f", validation accuracy {result.validation_accuracy:.2%}"
            if self._top_k > 1:
                text += f", top-{self._top_k} {result.validation_top_k:.2%}"
        text += "".join(f", {name} {value:.4g}" for name, value in further.items())
        text += "".join(f", {words}" for words in epoch.words)
        log.info("%s, %.1f s", text, epoch.seconds)
        if epoch.ends:
            log.info("the training ends here: %s", epoch.ends)
