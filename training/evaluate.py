"""How many images a network classifies correctly."""
from base.framework import mx
from training.devices import to_devices
from training.stores import ALONE


def evaluate(scores, batches, devices, top_k=1, null_label=9999, store=ALONE):
    """Accuracy over the labelled images of an epoch.

    .. math:: \\text{accuracy}_k = |\\{i : y_i \\text{ among the } k \\text{ largest logits of } i\\}| / |\\{i\\}|

    Parameters
    ----------
    scores : callable
        From images (b, channels, height, width) to class scores (b, c).
    batches : DataIter
        Read from its next `reset`; images beyond `pad` do not count.
    devices : list of Context
    top_k : int
    null_label : int
    store : Store
        Of a distributed run: every worker reads a part of the images, and all get the accuracy over all of them.

    Returns: (top-1 accuracy, top-k accuracy), each from 0 to 1, or NaN without labelled images.
    """
    batches.reset()
    right = right_k = total = 0
    for batch in batches:
        valid = batch.data[0].shape[0] - (batch.pad or 0)
        parts = [to_devices(array[0][:valid], devices[:valid], even_split=False)
                 for array in (batch.data, batch.label)]
        answers = [(mx.nd.topk(scores(images), k=top_k, axis=-1), labels) for images, labels in zip(*parts)]
        for ranked, labels in answers:
            hits = ranked.asnumpy() == labels.asnumpy()[:, None]
            right += int(hits[:, 0].sum())
            right_k += int(hits.any(axis=1).sum())
            total += int((labels.asnumpy() != null_label).sum())
    right, right_k, total = store.sum([right, right_k, total]).tolist()
    return (right / total, right_k / total) if total else (float("nan"), float("nan"))
