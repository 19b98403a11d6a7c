"""Settings that belong together, as frozen dataclasses whose fields know what they mean and what they may be.

A field's default, bounds and meaning stand once, here: a library user writes the dataclass, and a command makes its
flags of the fields (`cli.options`).
"""
import dataclasses
import numbers
import os

import numpy as np

from transfer_gluon.base.errors import InputError


def parameter(default, meaning, *, least=None, most=None, above=None, below=None, choices=None, kind=None, flag=None,
              default_words=None):
    """A field of a dataclass that derives from `Parameters`.

    Parameters
    ----------
    default : object
        Where it is not None, other values must be of its type; bool and int are told apart.
    meaning : str
        For people, with the unit.
    least, most, above, below : number or None
        A value must be from `least` to `most`, or be beyond `above`, or below `below`; as must each of several.
    choices : collection of str, or None
        What it may be; one that grows later counts as it then is.
    kind : str or None
        How a command reads it, where the type does not tell: see `cli.options`.
    flag : str or None
        What a command calls it, such as ``color-jitter``; None: as the field is called.
    default_words : str or None
        What a default of None means, in words.

    >>> @dataclasses.dataclass(frozen=True)
    ... class Optimizer(Parameters):
    ...     lr: float = parameter(0.1, "Learning rate.", least=0)
    >>> Optimizer().lr
    0.1
    >>> Optimizer(lr=-1)
    Traceback (most recent call last):
    transfer_gluon.base.errors.InputError: `lr` is -1; expected a number from 0 up.
    """
    words = dict(meaning=meaning, least=least, most=most, above=above, below=below, choices=choices, kind=kind,
                 flag=flag, default_words=default_words)
    return dataclasses.field(default=default, metadata=words)


@dataclasses.dataclass(frozen=True)
class Parameters:
    """A dataclass whose fields are checked when it is made. Raises: InputError that names the field."""

    def __post_init__(self):
        for field in dataclasses.fields(self):
            if field.metadata:
                value = _plain(getattr(self, field.name), field.metadata["kind"])
                object.__setattr__(self, field.name, value)
                if not (value is None and field.default is None or _fits(value, field.default, field.metadata)):
                    raise InputError.of(field.name, value, expectation(field.default, field.metadata))

    @classmethod
    def flags(cls):
        """The fields, as a dict by the names of flags with underscores, under which a run's settings keep them."""
        return {(field.metadata["flag"] or field.name).replace("-", "_"): field
                for field in dataclasses.fields(cls) if field.metadata}

    def settings(self):
        """The values, as a dict by the names of flags with underscores."""
        return {name: getattr(self, field.name) for name, field in self.flags().items()}

    def changed(self):
        """The names of fields whose values are not the defaults."""
        return [field.name for field in dataclasses.fields(self) if getattr(self, field.name) != field.default]


# Kinds of several values, and how many they are where that is fixed.
_SEVERAL = {"image_shape": 3, "rgb_mean": 3, "rgb_std": 3, "epochs": None, "gpus": None, "names": None, "pairs": None}
_WHOLE = ("whole", "resize", "image_shape", "epochs", "gpus")     # kinds whose numbers are whole
_WORDS = {"resize": "squeeze", "keep": "best"}        # what kinds of numbers may be instead


def _plain(value, kind):
    """Paths as text, NumPy's numbers as Python's, lists as tuples; one name as a tuple of it."""
    if kind == "rates" and isinstance(value, (list, tuple)) and len(value) == 1:
        return _plain(value[0], None)
    if isinstance(value, (list, tuple)):
        return tuple(_plain(one, None) for one in value)
    if isinstance(value, str) and kind == "names":
        return (value,)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return value.item() if isinstance(value, np.generic) else value


def _fits(value, default, words):
    kind = words["kind"]
    if kind == "rates":
        several = value if isinstance(value, tuple) else (value,)
        return len(several) in (1, 3) and all(_fits_one(one, 0.0, words) for one in several)
    if value is not None and value == _WORDS.get(kind):
        return True
    if kind not in _SEVERAL:
        return not isinstance(value, tuple) and _fits_one(value, default, words)
    if not isinstance(value, tuple) or _SEVERAL[kind] not in (None, len(value)):
        return False
    if kind == "names":
        return all(isinstance(one, str) and one for one in value)
    if kind == "pairs":
        return all(isinstance(one, tuple) and len(one) == 2 and isinstance(one[0], str)
                   and isinstance(one[1], numbers.Real) for one in value)
    return all(_fits_one(one, 0.0, words) for one in value)


def _fits_one(value, default, words):
    if isinstance(default, bool):
        return isinstance(value, numbers.Integral) and value in (0, 1)
    if not _numeric(default, words):
        return isinstance(value, str) and (not words["choices"] or value in words["choices"])
    kind = numbers.Integral if _whole(default, words) else numbers.Real
    return isinstance(value, kind) and not isinstance(value, bool) and _inside(value, words)


def _numeric(default, words):
    return isinstance(default, numbers.Number) or any(words[bound] is not None
                                                      for bound in ("least", "most", "above", "below"))


def _whole(default, words):
    return isinstance(default, numbers.Integral) or words["kind"] in _WHOLE


def _inside(value, words):
    least, most, above, below = (words[bound] for bound in ("least", "most", "above", "below"))
    return (-3.4e38 <= value <= 3.4e38      # what float32 holds; not so for nan
            and (least is None or value >= least) and (most is None or value <= most)
            and (above is None or value > above) and (below is None or value < below))


def expectation(default, words):
    """In words what a value of a field must be, from its default and its `parameter` words."""
    kind = words["kind"]
    if words["choices"]:
        return f"one of {', '.join(words['choices'])}"
    if isinstance(default, bool):
        return "True or False"
    if kind in ("names", "pairs"):
        return "a sequence of names" if kind == "names" else "a sequence of pairs, a name and a number"
    if not _numeric(default, words):
        return "a path" if kind in ("path", "folder") else "a text"
    low = f" from {words['least']:g}" if words["least"] is not None else \
        f" above {words['above']:g}" if words["above"] is not None else ""
    high = f" to {words['most']:g}" if words["most"] is not None else \
        f", below {words['below']:g}" if words["below"] is not None else " up" if words["least"] is not None else ""
    whole = "whole " * _whole(default, words)
    if kind == "rates":
        return f"a number{low}{high}, or three"
    if kind in _SEVERAL:
        return f"a sequence of {_SEVERAL[kind] or ''} {whole}numbers{low}{high}".replace("  ", " ")
    return f"a {whole}number{low}{high}" + (f", or {_WORDS[kind]}" if kind in _WORDS else "")
