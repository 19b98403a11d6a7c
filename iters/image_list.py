"""MXNet's ``.lst`` files: a line an image, with index, label and path, tab-separated."""
import hashlib
import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Optional

import numpy as np

from transfer_gluon.base.errors import InputError, first_ten
from transfer_gluon.base.files import replacing
from transfer_gluon.base.regular import read_regular_text

NULL_LABEL = 9999
MOST_INDEX, MOST_LABEL = 2**53, 2**24       # what MXNet's files hold without rounding
_NUMBER = re.compile(r"(-?)([0-9]{1,30})(?:\.([0-9]*))?")


@dataclass(frozen=True)
class ImageList:
    """The lines of a list, checked; or the images of a folder, which has no lines (`records.folders.read_images`).

    Attributes
    ----------
    path : Path
        The ``.lst`` file, or the folder.
    indices, labels : int64 arrays (n,)
    files : list of str
        Image paths as they stand in the list.
    null_label : int
    record : Path or None
        The ``.rec`` file that holds the images under these indices; ``.idx`` stands beside it. Default: that beside
        the list. Its labels do not matter. None where the images are `in_place`.
    in_place : bool
        The images are read from their files, and never packed: nothing is written beside a person's photos.
    classes : tuple of str or None
        What the labels are called, where that is known.
    """

    path: Path
    indices: np.ndarray
    labels: np.ndarray
    files: list
    null_label: int = NULL_LABEL
    record: Optional[Path] = None
    in_place: bool = False
    classes: Optional[tuple] = None

    def __post_init__(self):
        if self.record is None and not self.in_place:
            object.__setattr__(self, "record", self.path.with_suffix(".rec"))

    def __len__(self):
        return len(self.files)

    @property
    def digest(self):
        """A short hash of indices, labels and paths; of a folder, those within it, so that it may lie elsewhere."""
        files = [os.path.join(self.path.name, os.path.relpath(file, self.path)) for file in self.files] \
            if self.in_place else self.files
        lines = zip(self.indices.tolist(), self.labels.tolist(), files)
        return hashlib.sha256(repr(list(lines)).encode()).hexdigest()[:16]

    @property
    def labelled(self):
        """Boolean array (n,): which images have a label."""
        return self.labels != self.null_label

    def part(self, places):
        """The images at some places: a list of the same path, null label, classes and record.

        `places`: what NumPy takes for an axis: whole numbers in any order, a boolean array (n,), a slice.

        >>> images = ImageList(Path("a.lst"), np.arange(3), np.array([5, 6, 7]), ["a", "b", "c"])
        >>> images.part([2, 0]).files, images.part(images.labels > 5).files, images.part(slice(1)).labels.tolist()
        (['c', 'a'], ['b', 'c'], [5])
        """
        places = np.arange(len(self))[places]
        return replace(self, indices=self.indices[places], labels=self.labels[places],
                       files=[self.files[place] for place in places])


def read_list(path, num_classes=None, null_label=NULL_LABEL):
    """Read a ``.lst`` file and check every line.

    Parameters
    ----------
    path : str or Path
    num_classes : int or None
        Labels must be below it, or be the null label. None: any label from 0 up.
    null_label : int, default 9999

    Index and label are whole decimal numbers, ``3`` or, as MXNet's ``im2rec.py`` writes them, ``3.000000``.

    Returns: `ImageList`.

    Raises: InputError that names the file and up to ten lines, with what is wrong in each.

    >>> _ = Path("/tmp/example.lst").write_text("0\\t3\\tphotos/a.jpg\\n1\\t9999\\tphotos/b.jpg\\n")
    >>> read_list("/tmp/example.lst", num_classes=4).labelled.tolist()
    [True, False]
    """
    path = Path(path)
    check_null_label(null_label)
    try:
        text = read_regular_text(path, "utf-8-sig")
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; expected a list of images, a line each: "
                         "index, label, path, separated by tabs.") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not a text file in UTF-8 (byte {error.start}).") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}.") from None

    indices, labels, files, problems = [], [], [], []
    first_line_of, beyond = {}, []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            index, label, file = _parse(line)
            if num_classes is not None and label >= num_classes and label != null_label:
                beyond.append(label)
                raise InputError(f"label {label}; expected 0 to {num_classes - 1} (`num_classes` {num_classes}), "
                                 f"or the null label {null_label}")
            if index in first_line_of:
                raise InputError(f"index {index} stands in line {first_line_of[index]} already")
            first_line_of[index] = number
        except InputError as error:
            problems.append(f"line {number}: {error}")
            continue
        indices.append(index)
        labels.append(label)
        files.append(file)
    if problems:
        raise InputError(f"{path}: {len(problems)} of its lines cannot be used:{first_ten(problems)}"
                         + (_why_beyond(labels, beyond, num_classes) if beyond else ""))
    if not files:
        raise InputError(f"{path}: empty; expected a line an image: index, label, path, separated by tabs.")
    return ImageList(path, np.array(indices, np.int64), np.array(labels, np.int64), files, null_label)


def _why_beyond(labels, beyond, num_classes):
    """What labels beyond the number of classes may come from."""
    if set(beyond) == {num_classes} and 0 not in labels and labels:
        return f"\n  Its labels go from {min(labels)} to {num_classes}: labels count from 0, so subtract 1 from each."
    return (f"\n  Its labels go to {max(beyond)}, which takes {max(beyond) + 1} classes: it may be the list of other "
            "classes, or another label may mean 'unknown' (`null_label`).")


def _parse(line):
    fields = line.split("\t")
    if len(fields) != 3:
        other = _separator(line) if len(fields) == 1 else None
        raise InputError((f"fields are separated by {other}; expected tabs" if other else
                          f"{len(fields)} field{'s' * (len(fields) != 1)}; expected 3, separated by tabs")
                         + ": index, label, path")
    index, label = _whole_number(fields[0], "index", MOST_INDEX), _whole_number(fields[1], "label", MOST_LABEL)
    file = fields[2].strip()
    if not file:
        raise InputError("no path")
    if "\0" in file:
        raise InputError("its path holds a NUL character")
    return index, label, file


def _separator(line):
    """What seems to stand between the fields of a line without tabs, or None."""
    for name, between in ("commas", ","), ("semicolons", ";"), ("blanks", None):
        parts = [part.strip(' "') for part in line.split(between)]
        if len(parts) > 1 and (parts[1].lower() == "label" or any(map(_NUMBER.fullmatch, (*parts[:2], parts[-1])))):
            return name
    return None


def _whole_number(text, name, most):
    text = text.strip()
    number = _NUMBER.fullmatch(text)
    if not number:
        raise InputError(f"{name} {text[:40]!r} is not a number such as 3 or 3.000000")
    minus, whole, fraction = number.groups()
    if (fraction or "").strip("0"):
        raise InputError(f"{name} {text} is not a whole number")
    if minus:
        raise InputError(f"{name} {text} is negative")
    if int(whole) > most:
        raise InputError(f"{name} {text} is too large; MXNet's files hold numbers up to {most}")
    return int(whole)


def check_null_label(null_label):
    """Raise InputError for a null label that no list can hold."""
    if not 0 <= null_label <= MOST_LABEL:
        raise InputError(f"the null label is {null_label}; expected a whole number from 0 to {MOST_LABEL}.",
                         "null_label", null_label, f"a whole number from 0 to {MOST_LABEL}")


def check_names(where, files):
    """Raise InputError that begins with `where` for paths that cannot stand in a list."""
    strange = [repr(file) for file in files if not _fits(file)]
    if strange:
        raise InputError(f"{where}: {len(strange)} names do not fit in a list, which has a line an image, tabs between "
                         f"its fields, and UTF-8; rename them:{first_ten(strange)}")


def _fits(file):
    try:
        file.encode()
    except UnicodeEncodeError:
        return False
    return file == file.strip() and len(file.splitlines()) == 1 and not {"\t", "\0"}.intersection(file)


def write_list(path, labels, files, indices=None):
    """Write a ``.lst`` file, whole or not at all, and return its path. `indices` count from 0 if not given.

    Raises: InputError when the folder cannot be written, and for paths that a list cannot hold.
    """
    check_names(path, files)
    with replacing(path) as temporary:
        temporary.write_text(list_text(labels, files, indices), encoding="utf-8")
    return Path(path)


def list_text(labels, files, indices=None):
    """The content of a ``.lst`` file; `indices` count from 0 unless they are given.

    >>> list_text([3, 9999], ["photos/a.jpg", "photos/b.jpg"])
    '0\\t3\\tphotos/a.jpg\\n1\\t9999\\tphotos/b.jpg\\n'
    """
    indices = range(len(files)) if indices is None else indices
    return "".join(f"{index}\t{label}\t{file}\n" for index, label, file in zip(indices, labels, files))
