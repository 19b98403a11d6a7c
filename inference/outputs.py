"""A network, run over the images of an iterator: all that is done with a trained network begins here."""
from functools import cached_property

import numpy as np

from transfer_gluon.base.devices import to_devices
from transfer_gluon.base.errors import DivergedError


class Outputs:
    """What a network says about the images of a batch.

    Attributes
    ----------
    logits : array (b, c)
        Class scores.
    features : array (b, …), list of such, or None
        What the network gives beside them, an array a layer; brought from the devices when it is asked for.
    labels : array (b, …) or None
        As the iterator gives them; None where it gives none.
    index : list of int, or None
        Places of the images in their list, where the iterator tells them.
    """

    def __init__(self, parts, labels, index):
        self._parts, self.labels, self.index = parts, labels, index

    def __len__(self):
        return len(self.logits)

    @cached_property
    def logits(self):
        return _joined([logits for _, logits in self._parts])

    @cached_property
    def features(self):
        parts = [features for features, _ in self._parts]
        if isinstance(parts[0], (list, tuple)):
            return [_joined(layer) for layer in zip(*parts)]
        return None if parts[0] is None else _joined(parts)


def outputs(net, batches, devices, source="the network", what=None):
    """Yield the `Outputs` of every batch of one epoch, without the images that only fill a batch up.

    The devices share each batch, and compute on the next one while what they said of the last is used.

    Parameters
    ----------
    net : callable
        From images (b, channels, height, width) to class scores (b, c), or to (features, class scores).
    batches : DataIter
        Read from its next `reset` to the end of that epoch; `EpochIter` says what is taken of a batch.
    devices : list of Context
        Where `net` is.
    source : str
        What computes the class scores, for messages.
    what : str or None
        What it computes, in words, where that is no class scores.

    Raises: DivergedError when a class score is NaN or infinite.

    >>> from transfer_gluon.iters import SyntheticIter
    >>> net = lambda images: (images, images.sum(axis=(2, 3)))
    >>> for batch in outputs(net, SyntheticIter(4, (3, 2, 2), 3, num_images=8), [mx.cpu()]):
    ...     print(batch.logits.shape, batch.features.shape, batch.labels.shape, batch.index)
    (4, 3) (4, 3, 2, 2) (4,) None
    (4, 3) (4, 3, 2, 2) (4,) None
    """
    batches.reset()
    queued = None
    for batch in batches:
        count = batch.data[0].shape[0] - (batch.pad or 0)
        if count <= 0:
            continue
        before, queued = queued, _queue(net, batch, count, devices)
        if before is not None:
            yield _finite(before, source, what)
    if queued is not None:
        yield _finite(queued, source, what)


def _queue(net, batch, count, devices):
    parts = to_devices(batch.data[0][:count], devices[:count], even_split=False)
    answers = [answer if isinstance(answer, (list, tuple)) else (None, answer) for answer in map(net, parts)]
    # Labels and places are taken now: an iterator may write the next batch into the same memory.
    labels = batch.label[0][:count].asnumpy() if batch.label else None
    return Outputs(answers, labels, None if batch.index is None else [int(place) for place in batch.index[:count]])


def _finite(batch, source, what):
    check_finite(batch.logits.reshape(len(batch), -1), source, what)
    return batch


def _joined(parts):
    return parts[0].asnumpy() if len(parts) == 1 else np.concatenate([part.asnumpy() for part in parts])


def check_finite(values, source, what=None):
    """Raises: DivergedError where class scores or probabilities (b, c), those of `source`, are not all finite; or
    other numbers, `what` in words."""
    bad = (~np.isfinite(values)).any(axis=1).sum()
    if bad:
        raise DivergedError(f"{source}: {what or 'class scores'} of {bad} of {len(values)} images are NaN or infinite"
                            f"{'' if what else ', so that their classes cannot be told'}. Take an earlier epoch, or "
                            "train with a smaller learning rate.")
