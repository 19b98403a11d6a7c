"""What a network says of images of both domains: all that a score looks at."""
import dataclasses
from dataclasses import dataclass
from typing import Optional

import numpy as np

from transfer_gluon.base.errors import InputError
from transfer_gluon.base.framework import mx
from transfer_gluon.inference.outputs import outputs

SHARE = 0.55        # of the first of two mixed images, as the authors of MixVal have it


@dataclass(frozen=True)
class Seen:
    """What a network says of images of both domains, in float32.

    Attributes
    ----------
    target_logits : array (n, c)
        Class scores of target images.
    target_features : array (n, d)
        What feeds the classifier ``fc``; of several layers the last.
    source_logits, source_features, source_labels : arrays (m, c), (m, d), (m,) int64, or None
        Of source images, held out of training where there are such, that have a label. None: no source is at hand.
    trained_features : array (k, d) or None
        Of source images that were trained on.
    mixed_logits, mixed_pairs, mixed_shares : arrays (p, c), (p, 2) int64, (p,), or None
        Of mixtures share · image i + (1 - share) · image j of target images; a pair is (i, j), places in
        `target_logits`.
    target_labels : int64 array (n,) or None
        -1: not known. No score looks at them.
    """

    target_logits: np.ndarray
    target_features: np.ndarray
    source_logits: Optional[np.ndarray] = None
    source_features: Optional[np.ndarray] = None
    source_labels: Optional[np.ndarray] = None
    trained_features: Optional[np.ndarray] = None
    mixed_logits: Optional[np.ndarray] = None
    mixed_pairs: Optional[np.ndarray] = None
    mixed_shares: Optional[np.ndarray] = None
    target_labels: Optional[np.ndarray] = None

    @property
    def parts(self):
        """What there is beside the target: a subset of {"source", "trained", "mixed"}."""
        there = {"source": self.source_logits, "trained": self.trained_features, "mixed": self.mixed_logits}
        return {name for name, values in there.items() if values is not None}

    @property
    def finite(self):
        """Whether all numbers are numbers."""
        return all(np.isfinite(values).all() for values in vars(self).values() if values is not None)

    def accuracy(self, labels):
        """The part of the target images that have these classes, (n,), by the largest class score; NaN of a network
        that gives no numbers.

        >>> Seen(np.eye(2), np.eye(2)).accuracy([0, 0])
        0.5
        """
        return float((self.target_logits.argmax(axis=1) == labels).mean()) if self.finite else float("nan")

    def take(self, target, source=None):
        """The same of some images: places among those of the target, and of the source (None: all).

        Of mixtures those stay whose images both do.

        >>> seen = Seen(np.eye(3), np.eye(3), mixed_logits=np.eye(3), mixed_pairs=np.array([[0, 2], [1, 1], [2, 0]]),
        ...             mixed_shares=np.ones(3))
        >>> some = seen.take([2, 0])
        >>> len(some.target_logits), some.mixed_pairs.tolist()
        (2, [[1, 0], [0, 1]])
        """
        taken = {name: values[target] for name, values in vars(self).items()
                 if name.startswith("target_") and values is not None}
        if source is not None:
            taken.update({name: values[source] for name, values in vars(self).items()
                          if name.startswith("source_") and values is not None})
        if self.mixed_pairs is not None:
            place = np.full(len(self.target_logits), -1)
            place[target] = np.arange(len(target))
            pairs = place[self.mixed_pairs]
            kept = (pairs >= 0).all(axis=1)
            taken.update(mixed_pairs=pairs[kept], mixed_logits=self.mixed_logits[kept],
                         mixed_shares=self.mixed_shares[kept])
        return dataclasses.replace(self, **taken)


def look(net, target, devices, source=None, trained=None, *, mixed=True, null_label=9999, name="the network"):
    """Run a network over images of both domains.

    Parameters
    ----------
    net : callable
        From images (b, channels, height, width) to (features, class scores (b, c)), as a `TransferNet`.
    target, source, trained : DataIter, or None
        Images of the target; of the source, best held out of training; of the source that were trained on. Each is read
        from its next `reset` to the end of that epoch.
    devices : list of Context
    mixed : bool
        Look at mixtures of the target's images too, which takes as long as the target does.
    null_label : int
        Of images whose label is not known; so are labels beyond the network's classes. Of the source they are left out.
    name : str
        Of the network, for messages.

    Returns: `Seen`.

    Raises: InputError where there is no image; DivergedError when a class score is NaN or infinite.

    >>> from transfer_gluon.iters import SyntheticIter
    >>> net = lambda images: (images, images.sum(axis=(2, 3)))
    >>> seen = look(net, SyntheticIter(4, (3, 2, 2), 3, num_images=8), [mx.cpu()])
    >>> seen.target_logits.shape, seen.target_features.shape, seen.mixed_pairs[0].tolist(), sorted(seen.parts)
    ((8, 3), (8, 12), [0, 3], ['mixed'])
    """
    def both(images):
        features, logits = net(images)
        return [features[-1] if isinstance(features, (list, tuple)) else features, logits], logits

    return seen_by(both, 1, target, devices, source, trained, mixed=mixed, null_label=null_label, name=name)[0]


def seen_by(nets, count, target, devices, source=None, trained=None, *, mixed=True, null_label=9999,
            name="the network"):
    """`look` of several networks at once: a list of `Seen`.

    `nets` is a callable from images to ([features, logits, features, logits, …], numbers that must be finite) of
    `count` networks.
    """
    def read(batches, what):
        rows, labels = [[] for _ in range(2 * count)], []
        for batch in outputs(nets, batches, devices, name):
            for kept, part in zip(rows, batch.features):
                kept.append(part.reshape(len(part), -1).astype(np.float32, copy=False))
            labels.append(np.full(len(batch), null_label) if batch.labels is None else batch.labels.astype(np.int64))
        if not labels:
            raise InputError(f"there is no image of {what} to look at.", what, None, "at least one image")
        rows = [np.concatenate(kept) for kept in rows]
        return rows[::2], rows[1::2], np.concatenate(labels)

    features, logits, labels = read(target, "target")
    labels = np.where(labels == null_label, -1, labels)
    told = [dict(target_features=one, target_logits=other, target_labels=labels if (labels >= 0).any() else None)
            for one, other in zip(features, logits)]
    if source is not None:
        features, logits, labels = read(source, "source")
        known = (labels != null_label) & (labels < logits[0].shape[1])
        for one, *values in zip(told, features, logits) if known.any() else ():
            one.update(zip(("source_features", "source_logits", "source_labels"),
                           (rows[known] for rows in (*values, labels))))
    if trained is not None:
        for one, values in zip(told, read(trained, "trained")[0]):
            one.update(trained_features=values)
    if mixed:
        mixtures = Mixtures(target)
        _, logits, _ = read(mixtures, "target")
        for one, values in zip(told, logits):
            one.update(mixed_logits=values, mixed_pairs=np.array(mixtures.pairs),
                       mixed_shares=np.full(len(values), SHARE, np.float32))
    return [Seen(**one) for one in told]


class Mixtures(mx.io.DataIter):
    """Mixtures of the images of an iterator: the first of a batch with its last, the second with the last but one, ….

    `pairs`: the places of the mixed images, in the order of reading, as far as an epoch is read.

    >>> from transfer_gluon.iters import SyntheticIter
    >>> mixtures = Mixtures(SyntheticIter(2, (3, 2, 2), 3, num_images=4))
    >>> [batch.data[0].shape[0] for batch in mixtures], mixtures.pairs
    ([2, 2], [(0, 1), (1, 0), (2, 3), (3, 2)])
    """

    def __init__(self, batches):
        super().__init__(batches.batch_size)
        self._batches, self.pairs = batches, []

    def reset(self):
        self._batches.reset()
        self.pairs = []

    def next(self):
        batch = self._batches.next()
        images = batch.data[0][:batch.data[0].shape[0] - (batch.pad or 0)].astype("float32")
        places = range(len(self.pairs), len(self.pairs) + len(images))
        self.pairs += zip(places, reversed(places))
        return mx.io.DataBatch([SHARE * images + (1 - SHARE) * mx.nd.reverse(images, axis=0)], None, pad=0)


def sample(images, most, seed=0):
    """At most so many images of an `ImageList`, drawn by chance, in an order by chance; those with a label among them,
    where they are few.

    Order matters: `Mixtures` pairs within a batch, and folders come class by class.

    >>> from transfer_gluon.iters import ImageList
    >>> images = ImageList(Path("a.lst"), np.arange(5), np.array([9999, 9999, 9999, 1, 9999]), list("abcde"))
    >>> some = sample(images, 3)
    >>> len(some), "d" in some.files
    (3, True)
    """
    rng = np.random.default_rng(seed)
    places = rng.permutation(len(images))
    if images.labelled.sum() <= most:
        places = places[np.argsort(~images.labelled[places], kind="stable")]
    places = rng.permutation(places[:most])
    return images.part(places)
