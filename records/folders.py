"""Images as people keep them: a folder with a folder a class, a folder of unlabelled photos, a picture; or a list."""
import collections
import os
from pathlib import Path

import numpy as np

from transfer_gluon.base.errors import InputError, first_ten
from transfer_gluon.base.log import log
from transfer_gluon.iters.image_list import NULL_LABEL, ImageList, check_names, check_null_label, read_list
from transfer_gluon.records.class_names import classes_beside, read_classes

EXTENSIONS = {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".avif", ".tif", ".tiff", ".jp2", ".ppm", ".pgm"}


def read_images(path, num_classes=None, null_label=NULL_LABEL, classes=None, labels=None):
    """The images of a list, a folder or a picture. Nothing is written.

    Parameters
    ----------
    path : str or Path
        A ``.lst`` file; or a folder with a folder a class, or without: then no image has a label; or an image file.
        What is called ``classes.txt`` beside a list tells its classes.
    num_classes : int or None
        How many classes there must be; labels of a list must be below it, or be the null label. None: as many as have
        names.
    null_label : int
        Of images without a label.
    classes : sequence of str or None
        The names of classes that are known already, that of label 0 first: a folder may have no other, and
        ``classes.txt`` must agree. None: those of the folder, by the alphabet, or of ``classes.txt``.
    labels : bool or None
        Of a folder. True: it must have a folder a class, and two at least unless `classes` are given. False: its images
        have no labels, wherever in it they lie. None: either; of folders none of which is one of the `classes`, they
        have none.

    Returns: `ImageList`; of a folder or a picture `in_place`, read from its files, with indices that follow the
    alphabet.

    Raises: InputError that says what was found and what to do; as `read_list`.

    >>> import cv2
    >>> for name in ("cat", "dog"):
    ...     Path("/tmp/example", name).mkdir(parents=True, exist_ok=True)
    ...     _ = cv2.imwrite(f"/tmp/example/{name}/1.png", np.zeros((8, 8, 3), np.uint8))
    >>> images = read_images("/tmp/example")
    >>> images.labels.tolist(), images.classes, read_images("/tmp/example/dog").labelled.tolist()
    ([0, 1], ('cat', 'dog'), [False])
    """
    path = Path(path)
    if path.is_dir():
        return _read_folder(path, num_classes, null_label, classes, labels)
    if path.suffix.lower() in EXTENSIONS and path.exists():
        if labels:
            raise InputError(f"{path}: one image, which tells no label; expected a list, or a folder with a folder a "
                             "class.")
        check_null_label(null_label)
        return _in_place(path, [null_label], [str(path)], null_label, classes)
    if not path.exists() and path.suffix != ".lst":
        here = "" if path.is_absolute() else f" The command runs in {os.getcwd()}, from which paths count."
        raise InputError(f"{path}: no such file or folder; expected a list (.lst), a folder of images, or an "
                         f"image.{here}")
    names = classes_beside(path)
    if names:
        found = read_classes(names)
        if classes and found != list(classes):
            raise InputError(f"{names}: its classes are {some(found)}, and those to be told apart are {some(classes)}. "
                             f"Give {path} the labels of these, and put the same classes.txt beside it, or none.")
        classes = found
        _check_number(names, len(found), num_classes)
    images = read_list(path, num_classes or (len(classes) if names else None), null_label)
    return ImageList(path, images.indices, images.labels, images.files, null_label,
                     classes=tuple(classes) if classes else None)


def _read_folder(folder, num_classes, null_label, classes, labels):
    check_null_label(null_label)
    files = files_below(folder)
    flat = all(Path(file).parent == folder for file in files)
    if labels is False or labels is None and flat:
        return _in_place(folder, [null_label] * len(files), files, null_label, classes)
    if flat:
        raise InputError(f"{folder}: its {len(files)} images lie in it side by side, which tells no label; expected a "
                         "folder a class.")
    if labels is None and classes and not {Path(file).relative_to(folder).parts[0] for file in files} & {*classes}:
        log.info("%s: none of its folders is called like a class, so that its images have no labels; the classes are "
                 "%s", folder, some(classes))
        return _in_place(folder, [null_label] * len(files), files, null_label, classes)
    names = class_folders(folder, files)
    known = list(classes) if classes else sorted(set(names))
    if labels and not classes and len(known) == 1:
        raise InputError(f"{folder}: one class only, {known[0]}; expected a folder a class, two or more.")
    found = labels_of(folder, names, known, "those to be told apart" if classes else None)
    _check_number(folder, len(known), num_classes)
    return _in_place(folder, found, files, null_label, known)


def _in_place(path, labels, files, null_label, classes):
    return ImageList(path, np.arange(len(files)), np.array(labels, np.int64), files, null_label, in_place=True,
                     classes=tuple(classes) if classes else None)


def _check_number(where, found, wanted):
    if wanted not in (None, found):
        move = ", or move the file away, if it is of other lists" if Path(where).is_file() else ""
        raise InputError(f"{where}: {found} classes, and `num_classes` is {wanted}. Leave it out, or give {found}"
                         f"{move}.", "num_classes", wanted, found)


def some(names):
    """The first ten names, and how many there are of more.

    >>> some("abc"), some(["x"] * 11)[-9:]
    ('a, b, c', 'x, … (11)')
    """
    return ", ".join(names[:10]) + (f", … ({len(names)})" if len(names) > 10 else "")


def class_folders(folder, files):
    """The class of each file below a folder: the name of the folder there that it lies in.

    Raises: InputError for images beside these folders, and where they lie a level deeper.
    """
    places = [Path(file).relative_to(folder).parts[:-1] for file in files]
    loose = [file for file, place in zip(files, places) if not place]
    if loose:
        raise InputError(f"{folder}: {len(loose)} of its images lie{'s' * (len(loose) == 1)} in no class folder, and "
                         f"others do; move what is beside them into one, or away:{first_ten(loose)}")
    top, below = {place[0] for place in places}, sorted({place[1] for place in places if place[1:]})
    if len(top) == 1 and len(below) > 1 and all(place[1:] for place in places):
        deeper = Path(folder, *top)
        raise InputError(f"{folder}: its only folder is {deeper.name}, in which lie the folders {some(below)}. If "
                         f"these are the classes, give {deeper}.")
    return [place[0] for place in places]


def labels_of(folder, names, classes, source):
    """The labels of the class folders that files lie in. Raises: InputError for those that are none of the `classes`,
    which are those of `source`."""
    strangers = sorted(set(names) - set(classes))
    if strangers:
        number = f"{len(strangers)} folders are" if len(strangers) > 1 else "1 folder is"
        raise InputError(f"{folder}: {number} no class of {source}:{first_ten(strangers)}\n"
                         f"  The classes are {some(classes)}. Rename what is one of them, and move away what is none.")
    label = {name: number for number, name in enumerate(classes)}
    return [label[name] for name in names]


def files_below(folder):
    """The image files below a folder, ordered by name. Hidden files, and those that do not end like an image, are left
    out.

    Raises: InputError for a folder without images, one that links to itself, and names that do not fit in a list.
    """
    def refuse(error):
        raise InputError(f"{error.filename}: cannot be read: {error.strerror}.")

    files, others = [], collections.Counter()
    for place, folders, names in os.walk(folder, onerror=refuse, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        here = Path(place).resolve()
        circles = [name for name in folders if (here / name).resolve() in (here, *here.parents)]
        if circles:
            raise InputError(f"{os.path.join(place, circles[0])}: links to a folder that it lies in.")
        images = [name for name in names if Path(name).suffix.lower() in EXTENSIONS and not name.startswith(".")]
        files += [os.path.join(place, name) for name in images]
        others.update(Path(name).suffix for name in set(names) - set(images) if not name.startswith("."))
    files.sort(key=lambda file: Path(file).parts)
    if not files:
        count = sum(others.values())
        endings = ", ".join(sorted(filter(None, others))) or "without ending"
        there = f"{count} other file{'s' * (count > 1)} ({endings})" if others else "nothing at all"
        raise InputError(f"{folder}: no images in it, {there}; expected files that end in "
                         f"{', '.join(sorted(EXTENSIONS))}.")
    check_names(folder, files)
    return files
