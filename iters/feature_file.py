"""Feature files: what a layer of a network gave for the images of a list, and what it was computed from.

A file is NumPy's ``.npz``, the same bytes whenever it is written with the same numbers: ``values`` (n, …) of the images
as for validation, ``views`` (v, n, …) of augmented ones, ``indices``, ``labels`` and ``files`` of the list, and
``source``, a JSON text. No pickle is in it, and none is read.
"""
import dataclasses
import hashlib
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Optional, Union

import numpy as np

from transfer_gluon.base.errors import InputError
from transfer_gluon.base.files import reading, replacing

_TYPES = {"values": "float32", "views": "float32", "indices": "int64", "labels": "int64"}


@dataclass(frozen=True)
class FeatureSource:
    """What features were computed from.

    Attributes
    ----------
    network : str
        Its name, for people.
    digest : str
        Of the part of it up to `layer`: `inference.features.network_digest`.
    layer : str
    list : str
        Path of the list, for people.
    images : str
        Digest of its images, `digest_of_images`.
    image_shape : (int, int, int)
        Channels, height, width, in pixels.
    resize : int, "squeeze" or None
        As `iters.transforms.prepared` takes it.
    views : int
        How many augmented views of every image there are beside the plain one.
    augmentation : dict or None
        Its settings; None without views.
    seed : int or None
        Of the views.
    dtype : str
        What the network computed in; the features are float32.
    """

    network: str
    digest: str
    layer: str
    list: str
    images: str
    image_shape: tuple
    resize: Union[int, str, None] = None
    views: int = 0
    augmentation: Optional[dict] = None
    seed: Optional[int] = None
    dtype: str = "float32"

    @property
    def text(self):
        """As JSON; a type of float32 goes without saying."""
        told = dataclasses.asdict(self)
        if self.dtype == "float32":
            del told["dtype"]
        return json.dumps(told, sort_keys=True)

    @classmethod
    def of_text(cls, text):
        """From JSON. Raises: ValueError for any other text."""
        told = json.loads(text)
        names = {field.name for field in dataclasses.fields(cls)}
        if not isinstance(told, dict) or {*told, "dtype"} != names:
            raise ValueError
        told.setdefault("dtype", "float32")
        shape = told["image_shape"]
        if not (isinstance(shape, list) and len(shape) == 3 and all(isinstance(side, int) for side in shape)
                and isinstance(told["views"], int) and all(isinstance(told[name], str) for name in (
                    "network", "digest", "layer", "list", "images", "dtype"))):
            raise ValueError
        return cls(**{**told, "image_shape": tuple(shape)})


@dataclass(frozen=True)
class Features:
    """The content of a feature file.

    Attributes
    ----------
    path : Path
    values : float32 array (n, …)
        Of each image as for validation.
    views : float32 array (v, n, …)
        Of v augmented views of each.
    indices, labels : int64 arrays (n,)
        As the list had them.
    files : list of str
    source : FeatureSource
    """

    path: Path
    values: np.ndarray
    views: np.ndarray
    indices: np.ndarray
    labels: np.ndarray
    files: list
    source: FeatureSource

    def __len__(self):
        return len(self.values)


def digest_of_images(images):
    """A short hash of the indices and paths of an `ImageList`; labels do not matter."""
    lines = list(zip(images.indices.tolist(), images.files))
    return hashlib.sha256(repr(lines).encode()).hexdigest()[:16]


def write_features(features):
    """Write a feature file, whole or not at all. Raises: InputError when the folder cannot be written."""
    arrays = {**{name: getattr(features, name) for name in _TYPES}, "files": np.array(features.files, str),
              "source": np.array(features.source.text)}
    # As np.savez, which on a full disk leaves its archive open: a traceback at the end of the process.
    with replacing(features.path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, array, allow_pickle=False)


def read_features(path):
    """Read and check a feature file.

    Returns: `Features`.

    Raises: InputError that names the file, when it is missing, damaged, or none.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path}: no such file; extract_features.py writes feature files.")
    try:
        with reading(path), np.load(path, allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in (*_TYPES, "files", "source")}
        source = FeatureSource.of_text(str(found["source"]))
    except InputError:
        raise
    except Exception as error:      # whatever NumPy and zipfile say of damaged files: a dozen kinds are known
        raise InputError(f"{path}: not a feature file, or damaged ({_first_line(error)}); compute it again by "
                         "extract_features.py.") from None
    values, views, indices, labels = (found[name] for name in _TYPES)
    problems = [f"{name} is of type {found[name].dtype}, expected {kind}" for name, kind in _TYPES.items()
                if found[name].dtype != kind]
    number = len(indices) if indices.ndim else -1
    shapes = {"values": (number, *values.shape[1:]), "views": (source.views, number, *values.shape[1:]),
              "indices": (number,), "labels": (number,), "files": (number,)}
    problems += [f"{name} has the shape {found[name].shape}, expected {shape}" for name, shape in shapes.items()
                 if found[name].shape != shape]
    if not problems and (number < 1 or values.ndim < 2):
        problems = [f"values has the shape {values.shape}, expected (images, features)"]
    if not problems and not (np.isfinite(values).all() and np.isfinite(views).all()):
        problems = ["some features are NaN or infinite"]
    if not problems and len(set(indices.tolist())) < number:
        problems = ["indices repeat"]
    if problems:
        raise InputError(f"{path}: not a feature file of ours, or damaged: {'; '.join(problems)}.")
    return Features(path, values, views, indices, labels, found["files"].tolist(), source)


def _first_line(error):
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:100]


def check_features(found, wanted):
    """Raise InputError where a file's features are of something else than is wanted, both named.

    Parameters
    ----------
    found : Features
    wanted : FeatureSource
        Names of network and list do not matter, only what they are.
    """
    source = found.source
    compared = {
        "network": (source.digest != wanted.digest, f"the network {source.network} (up to its layer {source.layer})",
                    f"{wanted.network} (up to {wanted.layer})"),
        "layer": (source.layer != wanted.layer, f"the layer {source.layer}", wanted.layer),
        "list": (source.images != wanted.images, f"the images of {source.list}", wanted.list)}
    for name, plural in (("image_shape", "images of the size"), ("resize", "images resized to"),
                         ("augmentation", "views by"), ("seed", "views of the seed"), ("views", "views, as many as"),
                         ("dtype", "numbers computed in")):
        one, other = getattr(source, name), getattr(wanted, name)
        compared[name] = (one != other, f"{plural} {one}", f"{other}")
    different = [f"it holds {one}; expected {other}" for differs, one, other in compared.values() if differs]
    if different:
        raise InputError(f"{found.path}: features of something else: {'; '.join(different)}. Move it away, or give "
                         "another folder or name, and they are computed anew.")
