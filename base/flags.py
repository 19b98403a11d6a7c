"""Flags that hold several numbers."""
from base.errors import InputError


def numbers(flag, text, count, kind=float):
    """The numbers of a flag such as ``3,320,320``, as a tuple.

    Raises: InputError when there are not `count` of them, or one is negative, or a whole number is 0.

    >>> numbers("--image-shape", "3,320,320", 3, int)
    (3, 320, 320)
    """
    try:
        values = tuple(kind(part) for part in text.split(","))
    except ValueError:
        values = ()
    if len(values) != count or min(values) < 0 or (kind is int and 0 in values):
        raise InputError(f"{flag} is {text!r}; expected {count} numbers separated by commas.")
    return values
