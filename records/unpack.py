"""A ``.rec`` taken apart: image files in a folder a class, and the list of them."""
import shutil
import uuid
from pathlib import Path

from tqdm import tqdm

from transfer_gluon.base.errors import InputError, first_ten
from transfer_gluon.base.files import replacing
from transfer_gluon.iters.image_list import NULL_LABEL, check_names, list_text
from transfer_gluon.iters.images import read_header
from transfer_gluon.records.class_names import class_name, read_classes
from transfer_gluon.records.contents import contents, count

_SUFFIXES = {"JPEG": ".jpg", "MPO": ".jpg", "JPEG2000": ".jp2", "TIFF": ".tif"}


def unpack(record, folder, classes=None, null_label=NULL_LABEL):
    """Write the images of a ``.rec`` file, byte for byte, to ``FOLDER/LABEL/INDEX.jpg``, and ``FOLDER.lst``.

    File names come from labels and indices only, so that no record can write outside of `folder`, which appears
    whole or not at all. Records need not be decodable, but must show what kind of image they are.

    Parameters
    ----------
    record, folder : str or Path
    classes : str or Path, optional
        A ``classes.txt``: folders get the names of the classes instead of numbers. The null label is ``unknown``.

    Returns: Path of the list.

    Raises: InputError when `folder` is there already, for records that cannot be read, vector labels, labels
    that are no class.
    """
    folder = Path(folder)
    names = read_classes(classes) if classes else None
    if folder.exists():
        raise InputError(f"{folder}: there already; give the name of a folder that is not.", "folder", folder,
                         "a folder that is not there yet")
    list_path = folder.with_name(f"{folder.name}.lst")
    if list_path.exists():
        raise InputError(f"{list_path}: there already; give another folder.")
    check_names(list_path, [str(folder)])
    partial = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}.tmp")
    lines, problems = [], []
    try:
        for content in tqdm(contents(record, null_label), f"unpacking {record}", count(record, null_label),
                            unit=" images", disable=None):
            try:
                label, place = _place(content, names, null_label)
            except InputError as error:
                problems.append(f"index {content.index}, {content.where}: {error}")
                continue
            (partial / place).parent.mkdir(parents=True, exist_ok=True)
            (partial / place).write_bytes(content.packed.view)
            lines.append((content.index, label, str(folder / place)))
        if problems:
            raise InputError(f"{record}: {len(problems)} of its records cannot be unpacked:{first_ten(problems)}")
        indices, labels, files = zip(*lines)
        check_names(list_path, files)
        with replacing(list_path) as temporary:
            temporary.write_text(list_text(labels, files, indices), encoding="utf-8")
            partial.rename(folder)
    except OSError as error:
        raise InputError(f"{folder}: cannot be written: {error.strerror or error}.") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return list_path


def _place(content, names, null_label):
    """The label of a record, and its file's path in the folder."""
    if content.problem:
        raise InputError(content.problem)
    label = content.packed.label()
    kind = read_header(content.packed.image).format
    if names and label >= len(names) and label != null_label:
        raise InputError(f"its label is {label}, and there are {len(names)} classes")
    suffix = _SUFFIXES.get(kind, f".{kind.lower()}")
    return label, Path(class_name(label, null_label, names)) / f"{content.index:08d}{suffix}"
