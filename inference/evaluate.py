"""How many images a network classifies correctly."""
import numpy as np

from transfer_gluon.base.devices import to_devices
from transfer_gluon.base.errors import DivergedError
from transfer_gluon.base.framework import mx
from transfer_gluon.distributed.stores import ALONE


def evaluate(scores, batches, devices, top_k=1, null_label=9999, store=ALONE, source="the network"):
    """Accuracy over the labelled images of an epoch.

    .. math:: \\text{accuracy}_k = |\\{i : y_i \\text{ among the } k \\text{ largest logits of } i\\}| / |\\{i\\}|,
              \\qquad y_i \\ne \\text{null}

    Parameters
    ----------
    scores : callable
        From images (b, channels, height, width) to class scores (b, c).
    batches : DataIter
        Read from its next `reset`; images beyond `pad` do not count.
    devices : list of Context
    top_k : int
    null_label : int
        Images with this label count neither as right nor as wrong, even where it is also the number of a class.
    store : Store
        Of a distributed run: every worker reads a part of the images, and all get the accuracy over all of them.
    source : str
        What computes the scores, for messages.

    Returns: (top-1 accuracy, top-k accuracy), each from 0 to 1, or NaN without labelled images.

    Raises: DivergedError when a class score is NaN or infinite.
    """
    batches.reset()
    right = right_k = total = 0
    for batch in batches:
        valid = batch.data[0].shape[0] - (batch.pad or 0)
        parts = [to_devices(array[0][:valid], devices[:valid], even_split=False)
                 for array in (batch.data, batch.label)]
        answers = [(values, mx.nd.topk(values, k=top_k, axis=-1), labels)
                   for values, labels in zip(map(scores, parts[0]), parts[1])]
        for values, ranked, labels in answers:
            check_finite(values.asnumpy(), source)
            labels = labels.asnumpy()[:, None]
            hits = (ranked.asnumpy() == labels) & (labels != null_label)
            right += int(hits[:, 0].sum())
            right_k += int(hits.any(axis=1).sum())
            total += int((labels != null_label).sum())
    right, right_k, total = store.sum([right, right_k, total]).tolist()
    return (right / total, right_k / total) if total else (float("nan"), float("nan"))


def check_finite(values, source):
    """Raises: DivergedError where class scores or probabilities (b, c), those of `source`, are not all finite."""
    bad = (~np.isfinite(values)).any(axis=1).sum()
    if bad:
        raise DivergedError(f"{source}: class scores of {bad} of {len(values)} images are NaN or infinite, so that "
                            "their classes cannot be told. Take an earlier epoch, or train with a smaller --lr.")
