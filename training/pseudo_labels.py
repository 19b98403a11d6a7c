"""Labels that a network gives its own images before every epoch, for losses that train on such."""
import numpy as np

from transfer_gluon.base.framework import mx
from transfer_gluon.base.log import log
from transfer_gluon.inference.outputs import outputs


class PseudoLabels:
    """Makes labels of all images of a list before an epoch, and puts them into its batches.

    They are kept in the objective, as a parameter without gradient: so the state of a run that is stopped in the middle
    of an epoch holds those that the epoch began with.

    Parameters
    ----------
    objective : TransferObjective
        Its `transfer` says by ``makes_labels(features, logits)``, arrays (n, d) and (n, c), which labels images have.
    number : int
        n, images of the list.
    batches : DataIter or None
        The images in the order of the list, as for validation. None: labels stay 0.
    """

    def __init__(self, objective, number, batches=None):
        self._make, self._batches = objective.transfer.makes_labels, batches
        self._labels = objective.keep("pseudo_labels", mx.gluon.Parameter("pseudo_labels", "null", (number,),
                                                                          init="zeros"))

    def before_epoch(self, learner):
        """An item of `fit`'s ``before_epoch``."""
        if self._batches is None:
            return
        features, logits = [], []
        for batch in outputs(learner.on_batches, self._batches, learner.devices, "what gives images their labels"):
            features.append(batch.features[-1] if isinstance(batch.features, list) else batch.features)
            logits.append(batch.logits)
        logits = np.concatenate(logits)
        labels = self._make(np.concatenate(features).reshape(len(logits), -1), logits)
        log.info("%d images of the target have labels by their nearest centroids, %.2f%% of them other than the "
                 "network's", len(labels), 100 * np.mean(labels != logits.argmax(axis=1)))
        self._labels.set_data(mx.nd.array(labels))

    def put_in(self, images, places):
        """An item of `fit`'s ``before_forward``, for batches whose labels are the images' places in the list."""
        return images, mx.nd.take(self._labels.data(images.context), places)
