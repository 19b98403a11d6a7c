"""Lists made from folders and from other lists."""
import collections
import hashlib
import os
from pathlib import Path

import numpy as np

from transfer_gluon.base.errors import InputError, first_ten
from transfer_gluon.base.regular import read_regular
from transfer_gluon.iters.image_list import check_null_label, write_list
from transfer_gluon.records.class_names import read_classes, write_classes
from transfer_gluon.records.folders import class_folders, files_below, labels_of


def list_folder(folder, path, classes=None, null_label=None):
    """Write a list of the images below a folder, ordered by name.

    Each folder in `folder` is a class; images may lie in folders of their own within it. Hidden files, and those that
    do not end like an image, are left out.

    Parameters
    ----------
    folder : str or Path
        Paths in the list begin with it, as it is given here.
    path : str or Path
        The ``.lst`` to write.
    classes : str or Path, optional
        A ``classes.txt`` that says which label each folder has. Without it, labels follow the alphabet, and
        ``classes.txt`` is written beside the list.
    null_label : int, optional
        All images get this label, and `folder` need not have folders in it.

    Returns: the labels and the paths.

    Raises: InputError when there are no images, images lie beside the class folders, these lie a level deeper, one is
    no class or links to one above it, a name does not fit in a list, or ``classes.txt`` would change.
    """
    files = files_below(folder)
    if null_label is not None:
        check_null_label(null_label)
        labels = [null_label] * len(files)
    else:
        names = class_folders(folder, files)
        known = read_classes(classes) if classes else _new_classes(Path(path).with_name("classes.txt"), names)
        labels = labels_of(folder, names, known, classes)
    write_list(path, labels, files)
    return labels, files


def _new_classes(path, names):
    classes = sorted(set(names))
    if path.exists() and read_classes(path) != classes:
        raise InputError(f"{path}: there already, with other classes than the folders. Give it as `classes` to take "
                         "the labels from it, or write the list to another folder.")
    write_classes(path, classes)
    return classes


def split_list(images, first, second, fraction=None, per_class=None, seed=0):
    """Divide a list in two, class by class and by chance, and write both.

    Lines that mean the same image stay together: the same file under another spelling of its path or behind a link, and
    files of the same bytes. 'Unknown' counts as a class.

    Parameters
    ----------
    images : ImageList
    first, second : str or Path
        The ``.lst`` files to write; lines keep their order, and are numbered anew.
    fraction : float
        Part of each class that goes to `first`, rounded; or
    per_class : int
        number of images of each class that go to `first`.
    seed : int

    Returns: numbers of images in the two.

    Raises: InputError for classes that are too small, when one of the lists would be empty, or replace another.
    """
    _not_over(images, first, second)
    parts = divided(images, fraction, per_class, seed)
    if not all(parts):
        raise InputError(f"{images.path}: of its {len(images)} images, {len(parts[0])} would go to {first} and "
                         f"{len(parts[1])} to {second}; expected some in each.")
    for path, lines in zip((first, second), parts):
        write_list(path, images.labels[lines].tolist(), [images.files[line] for line in lines])
    return tuple(map(len, parts))


def divided(images, fraction=None, per_class=None, seed=0):
    """The numbers of a list's lines, divided in two as by `split_list`; either part may be empty.

    Raises: InputError for a `fraction` beyond 0 to 1, and for classes that are too small.
    """
    if fraction is not None and not 0 <= fraction <= 1:
        raise InputError.of("fraction", fraction, "a number from 0 to 1")
    copies = collections.defaultdict(list)      # from the line where an image is first to all its lines
    for line, earliest in enumerate(_same_image(images.files)):
        copies[earliest].append(line)
    classes = collections.defaultdict(list)
    for earliest in copies:
        classes[images.labels[earliest]].append(earliest)
    rng = np.random.default_rng(seed)
    chosen, small = set(), []
    for label, members in sorted(classes.items()):
        size = sum(len(copies[member]) for member in members)
        wanted = per_class if fraction is None else round(fraction * size)
        if wanted > size:
            small.append(f"label {label}: {size} images")
        taken = 0
        for member in rng.permutation(members).tolist():
            if taken + len(copies[member]) <= wanted:
                chosen.update(copies[member])
                taken += len(copies[member])
    if small:
        raise InputError(f"{images.path}: {len(small)} classes have fewer than {per_class} images:{first_ten(small)}",
                         "per_class", per_class, "at most as many as the smallest class has")
    return [[line for line in range(len(images)) if (line in chosen) == wanted] for wanted in (True, False)]


def _not_over(images, *paths):
    if len({Path(path).resolve() for path in (images.path, *paths)}) <= len(paths):
        raise InputError(f"{images.path} would be overwritten, or another list twice; give each a name of its own.")


def _same_image(files):
    """For each file the number of the first that is the same image. Only files of equal size are read."""
    places = [os.path.realpath(file) for file in files]
    sizes = [os.path.getsize(place) if os.path.isfile(place) else None for place in places]
    occurrences = collections.Counter(dict(zip(places, sizes)).values())
    first, earliest = {}, []
    for number, (place, size) in enumerate(zip(places, sizes)):
        key = place
        if size is not None and occurrences[size] > 1:
            try:
                key = hashlib.sha256(read_regular(place)).digest()
            except OSError:
                pass        # a file that cannot be read is told by its path
        earliest.append(first.setdefault(key, number))
    return earliest


def mask_list(images, path, keep=0, keep_per_class=None, seed=0):
    """Write a list with the null label in place of labels: a target domain for (semi-)supervised transfer.

    `keep` labels in all, or `keep_per_class` of each class, are left as they are, chosen by `seed`. Indices and order
    stay, so that the record of one list can serve as that of the other.

    Returns: how many labels were kept.

    Raises: InputError when more are to be kept than there are, or `path` is the list itself.
    """
    _not_over(images, path)
    rng = np.random.default_rng(seed)
    known = np.flatnonzero(images.labelled)
    groups = [known] if keep_per_class is None else [known[images.labels[known] == label]
                                                     for label in np.unique(images.labels[known])]
    wanted = keep if keep_per_class is None else keep_per_class
    few = [f"label {images.labels[group[0]]}: {len(group)}" if keep_per_class else f"{len(group)} in all"
           for group in groups if len(group) < wanted]
    if few:
        raise InputError(f"{images.path}: {wanted} labels were to be kept, and there are fewer:{first_ten(few)}",
                         "keep" if keep_per_class is None else "keep_per_class", wanted, "at most as many as there are")
    labels = np.full(len(images), images.null_label)
    for group in groups:
        kept = rng.permutation(group)[:wanted]
        labels[kept] = images.labels[kept]
    write_list(path, labels.tolist(), images.files, images.indices.tolist())
    return int((labels != images.null_label).sum())
