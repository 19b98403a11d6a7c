"""Features with a class each: of feature files, and of packs as courses and papers hand them out."""
import functools
import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Optional

import numpy as np

from transfer_gluon.base.errors import InputError
from transfer_gluon.base.files import reading
from transfer_gluon.base.log import log
from transfer_gluon.base.regular import open_regular
from transfer_gluon.exchange.numpy_pickle import read_pickle
from transfer_gluon.iters.feature_file import FeatureSource, read_features
from transfer_gluon.iters.image_list import NULL_LABEL

_MANY = 10_000      # classes, which a few rows may have as well


@dataclass(frozen=True)
class LabelledFeatures:
    """Rows of numbers, and the class of each.

    Attributes
    ----------
    path : Path
        Where they are from.
    values : float32 array (n, d)
    labels : int64 array (n,)
        From 0 up.
    views : float32 array (v, n, d)
        Of v augmented views; v = 0 without.
    source : FeatureSource or None
        What they were computed from; a pack does not say.
    """

    path: Path
    values: np.ndarray
    labels: np.ndarray
    views: np.ndarray
    source: Optional[FeatureSource] = None

    def __len__(self):
        return len(self.values)

    def part(self, places):
        """The rows at these places."""
        return replace(self, values=self.values[places], labels=self.labels[places], views=self.views[:, places])

    @functools.cached_property
    def digest(self):
        """A short hash of the numbers."""
        hashed = hashlib.sha256(repr((self.values.shape, self.views.shape)).encode())
        for array in self.values, self.labels, self.views:
            hashed.update(np.ascontiguousarray(array).data)
        return hashed.hexdigest()[:16]


def read_labelled(path):
    """Read labelled features: a file of `extract`, whose rows without a label are left out, or a pack.

    A pack is a pickle of ``{"features": (n, …), "labels": (n,) or (n, 1)}``, of Python 2 or 3, read as `read_pickle`
    does: nothing in it is run. What an image has is flattened.

    Returns: `LabelledFeatures`.

    Raises: InputError that names the file, where it is missing, damaged, neither of the two, has no labels, labels that
    are no whole numbers from 0 up, or others than it has features.

    >>> import pickle
    >>> with open("/tmp/read-labelled-example.p", "wb") as file:
    ...     pickle.dump({"features": np.zeros((3, 1, 1, 4)), "labels": np.array([[0], [1], [1]])}, file)
    >>> pack = read_labelled("/tmp/read-labelled-example.p")
    >>> pack.values.shape, pack.labels.tolist()
    ((3, 4), [0, 1, 1])
    """
    path = Path(path)
    with reading(path), open_regular(path) as file:
        archive = file.read(2) == b"PK"
    return _of_file(path) if archive else _of_pack(path)


def _of_file(path):
    features = read_features(path)
    labelled = features.labels != NULL_LABEL
    if not labelled.any():
        raise InputError(f"{path}: none of the {len(features)} images of {features.source.list} has a label.")
    if not labelled.all():
        log.info("%s: %d of %d images have no label and are left out", path, (~labelled).sum(), len(features))
    values = features.values.reshape(len(features), -1)
    views = features.views.reshape(len(features.views), *values.shape)
    found = LabelledFeatures(path, values, features.labels, views, features.source).part(labelled)
    return replace(found, labels=_checked_labels(path, found.labels))


def _of_pack(path):
    pack = read_pickle(path)
    if not isinstance(pack, dict) or not {"features", "labels"} <= pack.keys():
        there = f"a dict of {', '.join(map(repr, list(pack)[:10])) or 'nothing'}" if isinstance(pack, dict) else \
            f"a {type(pack).__name__}"
        raise InputError(f"{path}: holds {there}; expected a dict with 'features' and 'labels', or a file of "
                         "extract_features.py.")
    values, labels = (_array(path, name, pack[name]) for name in ("features", "labels"))
    if values.ndim < 2 or not values.size:
        raise InputError(f"{path}: 'features' has the shape {values.shape}; expected (images, features).")
    if labels.shape not in ((len(values),), (len(values), 1)):
        raise InputError(f"{path}: 'labels' has the shape {labels.shape} and 'features' {values.shape}; expected a "
                         f"label for each row of features, ({len(values)},) or ({len(values)}, 1).")
    with np.errstate(over="ignore"):
        values = values.reshape(len(values), -1).astype(np.float32)
    bad = (~np.isfinite(values)).any(axis=1)
    if bad.any():
        raise InputError(f"{path}: 'features' has NaN or infinity, or what float32 does not hold, in {bad.sum()} of "
                         f"{len(values)} rows, first in row {bad.argmax()}.")
    return LabelledFeatures(path, values, _checked_labels(path, labels.reshape(-1)), np.empty((0, *values.shape)))


def _array(path, name, value):
    try:
        array = np.asarray(value)
    except ValueError:      # lists of different lengths
        array = np.empty(0, object)
    if array.dtype.kind not in "iuf":
        raise InputError(f"{path}: {name!r} is no array of numbers, but {type(value).__name__} of {array.dtype}; "
                         "expected one.")
    return array


def _checked_labels(path, labels):
    """As int64."""
    most = max(len(labels), _MANY)
    with np.errstate(invalid="ignore"):
        bad = ~((labels >= 0) & (labels < most) & (labels == np.floor(labels)))
    if bad.any():
        raise InputError(f"{path}: {bad.sum()} of {len(labels)} labels are no classes, such as {labels[bad][0]} in row "
                         f"{bad.argmax()}; expected whole numbers from 0 to {most - 1}.")
    return labels.astype(np.int64)


def check_together(first, other):
    """Raise InputError, with both named, where the features of two files are not of the same kind, or are the same."""
    both = f"{other.path} and {first.path}"
    kinds = ["a pack" if one.source is None else "a feature file" for one in (other, first)]
    if kinds[0] != kinds[1]:
        raise InputError(f"{both}: the one is {kinds[0]}, the other {kinds[1]}; whether their features are of one "
                         "network cannot be told. Give files of one kind.")
    if _kind(other) != _kind(first):
        raise InputError(f"{both} do not belong together: the one has {_told(other)}, the other {_told(first)}.")
    if (other.values.shape, other.digest) == (first.values.shape, first.digest):
        raise InputError(f"{both} hold the same features: what was trained on would judge itself. Give those of other "
                         "images.")


def _kind(features):
    """What features must have in common: names of networks do not matter."""
    source = features.source
    return features.values.shape[1], source and (source.digest, source.layer, source.image_shape, source.resize)


def _told(features):
    source, numbers = features.source, f"{features.values.shape[1]} numbers an image"
    if source is None:
        return numbers
    size = "×".join(map(str, source.image_shape))
    return (f"{numbers}, of the layer {source.layer} of {source.network} ({source.digest}), for images of {size} "
            f"resized to {source.resize}")
