"""Packs of small images, which are pickled arrays: GTSRB's ``train.p``, CIFAR-10's batches. And their images as PNG."""
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from transfer_gluon.base.errors import InputError
from transfer_gluon.base.files import writing
from transfer_gluon.exchange.numpy_pickle import read_pickle


@dataclass(frozen=True)
class ImagePack:
    """Images with their labels.

    Attributes
    ----------
    classes : list of str
        Names of the classes, in the order of their labels.
    images : uint8 array (n, height, width, 3)
        RGB.
    labels : int64 array (n,)
    """

    classes: list
    images: np.ndarray
    labels: np.ndarray


def image_pack(path, classes):
    """The pack of a pickled dict of ``features``, uint8 (n, height, width, 3), and ``labels``, (n,) or (n, 1).

    Raises: InputError for any other content, and as `read_pickle`.
    """
    content = _dict(path, "features", "labels")
    images = content["features"]
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3 \
            or 0 in images.shape:
        raise InputError(f"{path}: its features are {_described(images)}; expected uint8 (n, height, width, 3).")
    return ImagePack(classes, images, _labels(content["labels"], len(images), len(classes), path))


def cifar_batches(folder):
    """The pack of the five batches to train on that ``cifar-10-python.tar.gz`` unpacks to.

    A batch holds ``data``, uint8 (n, 3072): of each image 1024 numbers of red, of green, of blue; and ``labels``.

    Raises: InputError for missing files and for any other content.
    """
    names = _dict(Path(folder) / "batches.meta", "label_names")["label_names"]
    if type(names) is not list or len(names) != 10 or not all(type(name) is str for name in names):
        raise InputError(f"{folder}/batches.meta: expected the names of 10 classes.")
    images, labels = [], []
    for number in range(1, 6):
        path = Path(folder) / f"data_batch_{number}"
        content = _dict(path, "data", "labels")
        data = content["data"]
        if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.shape[1:] != (3072,):
            raise InputError(f"{path}: its data are {_described(data)}; expected uint8 (n, 3072).")
        images.append(data.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
        labels.append(_labels(content["labels"], len(data), 10, path))
    return ImagePack(names, np.concatenate(images), np.concatenate(labels))


def write_images(pack, folder):
    """Write a pack's images as ``FOLDER/CLASS/00000.png``, numbered as in the pack.

    Files that are there with the same content are left alone, so that what was packed from them stays up to date.

    Returns: list of (label, path).

    Raises: InputError when a folder cannot be written.
    """
    import cv2

    places = [Path(folder, name) for name in pack.classes]
    images = []
    with writing(folder):
        for place in places:
            place.mkdir(parents=True, exist_ok=True)
        for number, (image, label) in enumerate(zip(tqdm(pack.images, "images", unit=" images", disable=None),
                                                    pack.labels.tolist())):
            path = places[label] / f"{number:05d}.png"
            content = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1].tobytes()
            if not path.is_file() or path.read_bytes() != content:
                temporary = path.with_suffix(".tmp")
                temporary.write_bytes(content)
                os.replace(temporary, path)
            images.append((label, str(path)))
    return images


def _dict(path, *names):
    content = read_pickle(path)
    if not isinstance(content, dict) or not content.keys() >= set(names):
        found = f"a dict of {', '.join(map(str, list(content)[:10]))}" if isinstance(content, dict) \
            else f"a {type(content).__name__}"
        raise InputError(f"{path}: holds {found}; expected a dict of {', '.join(names)}.")
    return content


def _labels(labels, number, classes, path):
    try:
        labels = np.asarray(labels)
    except ValueError:          # lists of several lengths
        labels = np.zeros(0)
    if labels.dtype.kind not in "iu" or labels.shape not in ((number,), (number, 1)):
        raise InputError(f"{path}: its labels are {_described(labels)}; expected whole numbers, one for each of "
                         f"{number} images.")
    labels = labels.ravel().astype(np.int64)
    if labels.size and not 0 <= labels.min() <= labels.max() < classes:
        raise InputError(f"{path}: its labels go from {labels.min()} to {labels.max()}; expected 0 to {classes - 1}.")
    return labels


def _described(value):
    return f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else f"a {type(value).__name__}"
