"""What labels are called: ``classes.txt``, a line a class, the name of label 0 first."""
from pathlib import Path

from transfer_gluon.base.errors import InputError, first_ten
from transfer_gluon.base.files import replacing
from transfer_gluon.base.regular import read_regular_text


def read_classes(path):
    """The names of a ``classes.txt``: a line a class, in the order of the labels.

    Raises: InputError for a file that cannot be read, an empty or repeated name, one that is no name of a folder.
    """
    try:
        names = read_regular_text(path).splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}.") from None
    seen = {"", ".", ".."}
    problems = [f"line {number}: {name!r}" for number, name in enumerate(names, start=1)
                if "/" in name or "\0" in name or name in seen or seen.add(name)]
    if problems or not names:
        raise InputError(f"{path}: expected a line a class, each with another name of a folder:{first_ten(problems)}")
    return names


def classes_beside(path):
    """The ``classes.txt`` beside a list or record, as a Path; None where there is none."""
    file = Path(path).with_name("classes.txt")
    return file if file.exists() else None


def write_classes(path, names):
    """Write a ``classes.txt``, a line a class in the order of the labels, whole or not at all. Raises: InputError."""
    with replacing(path) as temporary:
        temporary.write_text("".join(f"{name}\n" for name in names), encoding="utf-8")


def class_name(label, null_label, names=None):
    """What a label is called: its name, if `names` has one, else its number.

    >>> class_name(1, 9999, ["cat", "dog"]), class_name(9999, 9999), class_name(5, 9999)
    ('dog', 'unknown', '5')
    """
    if label == null_label:
        return "unknown"
    return names[label] if names and label < len(names) else str(label)
