"""How many images a network classifies correctly."""
import numpy as np

from transfer_gluon.base.framework import mx
from transfer_gluon.inference.outputs import outputs


def evaluate(net, batches, devices, top_k=1, null_label=9999, store=None, source="the network"):
    """Accuracy over the labelled images of an epoch.

    .. math:: \\text{accuracy}_k = |\\{i : y_i \\text{ among the } k \\text{ largest logits of } i\\}| / |\\{i\\}|,
              \\qquad y_i \\ne \\text{null}

    Parameters
    ----------
    net : callable
        From images (b, channels, height, width) to class scores (b, c), or to (features, class scores).
    batches : DataIter
        Read from its next `reset`; images beyond `pad` do not count.
    devices : list of Context
    top_k : int
    null_label : int
        Images with this label count neither as right nor as wrong, even where it is also the number of a class.
    store : Store or None
        Its ``sum`` adds the figures of all workers of a distributed run, each of which reads a part of the images: all
        get the accuracy over all of them. None: of this process alone.
    source : str
        What computes the scores, for messages.

    Returns: (top-1 accuracy, top-k accuracy), each from 0 to 1, or NaN without labelled images.

    Raises: DivergedError when a class score is NaN or infinite.

    >>> from transfer_gluon.iters import SyntheticIter
    >>> evaluate(lambda images: images.mean(axis=(2, 3)), SyntheticIter(4, (3, 2, 2), 3), [mx.cpu()], top_k=3)[1]
    1.0
    """
    counts = np.zeros(3)
    for batch in outputs(net, batches, devices, source):
        counts += count_hits(batch.logits, batch.labels, top_k, null_label)
    right, right_k, total = (counts if store is None else store.sum(counts)).tolist()
    return (right / total, right_k / total) if total else (float("nan"), float("nan"))


def count_hits(logits, labels, top_k, null_label):
    """How many of some images have their label at the largest of their logits (b, c), how many among the `top_k`
    largest, and how many have one at all.

    >>> count_hits(np.array([[3, 2, 1], [3, 2, 1], [3, 2, 1]]), np.array([0, 1, 9999]), 2, 9999)
    (1, 2, 2)
    """
    ranked = mx.nd.topk(mx.nd.array(logits), k=top_k, axis=-1).asnumpy()
    labels = labels[:, None]
    hits = (ranked == labels) & (labels != null_label)
    return int(hits[:, 0].sum()), int(hits.any(axis=1).sum()), int((labels != null_label).sum())
