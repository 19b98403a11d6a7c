"""The images of a ``.rec`` or a ``.lst`` file, or of a folder, one by one, whatever is wrong with them."""
import dataclasses
from pathlib import Path
from typing import Optional

import numpy as np

from transfer_gluon.base.errors import InputError
from transfer_gluon.base.regular import read_regular
from transfer_gluon.iters.image_list import ImageList, read_list
from transfer_gluon.iters.recordio import Packed, open_record, read_at, read_index
from transfer_gluon.records.folders import read_images


@dataclasses.dataclass(frozen=True)
class Content:
    """An image of a file.

    Attributes
    ----------
    index : int or None
    where : str
        Byte in the ``.rec``, or image file.
    packed : Packed or None
        Labels and bytes.
    problem : str or None
        Why there is no `packed`, or what is wrong with its place.
    """

    index: Optional[int]
    where: str
    packed: Optional[Packed]
    problem: Optional[str] = None


def contents(path, null_label):
    """Every `Content` of a ``.rec``, in the order of its bytes; or of a ``.lst``, a folder or an `ImageList`, in the
    order of their images.

    A ``.rec`` is read by its ``.idx``, as MXNet does, so that one bad record does not hide those behind it; every
    record must begin where the one before ends.

    Raises: InputError when a file cannot be read at all, or the index has no lines or an index twice.
    """
    return _of_record(Path(path)) if _is_record(path) else _of_list(_images(path, null_label))


def count(path, null_label):
    """How many images `contents` gives, for a progress bar."""
    if _is_record(path):
        return len(read_index(Path(path).with_suffix(".idx")))
    return len(_images(path, null_label))


def _is_record(path):
    return not isinstance(path, ImageList) and Path(path).suffix == ".rec" and not Path(path).is_dir()


def _images(path, null_label):
    if isinstance(path, ImageList):
        return path
    return (read_images if Path(path).is_dir() else read_list)(path, null_label=null_label)


def _of_record(path):
    lines = sorted(read_index(path.with_suffix(".idx")), key=lambda line: line[1])
    if not lines:
        raise InputError(f"{path.with_suffix('.idx')}: empty.")
    if len({index for index, _ in lines}) < len(lines):
        raise InputError(f"{path.with_suffix('.idx')}: an index stands in several lines.")
    with open_record(path) as file:
        expected = 0
        for index, offset in lines:
            content, end = _record_at(file, index, offset, expected)
            yield content
            expected = end
        size = path.stat().st_size
        if expected not in (None, size):
            yield Content(None, f"byte {expected}", None, f"{size - expected} bytes behind the index's last record")


def _record_at(file, index, offset, expected):
    """A `Content`, and the byte behind it or None."""
    where = f"byte {offset}"
    try:
        packed, end = read_at(file, offset)
    except InputError as error:
        return Content(index, where, None, str(error)), None
    except EOFError:
        return Content(index, where, None, "behind the end of the file"), None
    except OSError as error:
        return Content(index, where, None, error.strerror or str(error)), None
    problem = None
    if packed.index != index:
        problem = f"the record says that its index is {packed.index}"
    elif expected not in (None, offset):
        problem = f"the record before ends at byte {expected}"
    return Content(index, where, packed, problem), end


def _of_list(images):
    for index, label, file in zip(images.indices.tolist(), images.labels.tolist(), images.files):
        try:
            yield Content(index, file, Packed(index, np.array([label]), read_regular(file)))
        except OSError as error:
            yield Content(index, file, None, error.strerror or str(error))
