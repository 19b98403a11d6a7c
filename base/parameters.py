"""Settings that belong together, as frozen dataclasses whose fields know what they mean and what they may be.

A field's default, bounds and meaning stand once, here: a library user writes the dataclass, and a command makes its
flags of the fields (`cli.options`).
"""
import dataclasses
import numbers

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
                _check(field.name, getattr(self, field.name), field.default, field.metadata)

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


_WHOLE = ("whole", "image_shape", "epochs", "gpus")     # kinds whose numbers are whole


def _check(name, value, default, words):
    if value is None and default is None:
        return
    several = value if isinstance(value, (tuple, list)) else [value]
    if words["choices"]:
        fits = value in words["choices"]
    elif isinstance(default, bool):
        fits = value in (0, 1)
    elif _numeric(default, words):
        kind = numbers.Integral if _whole(default, words) else numbers.Real
        fits = all(isinstance(one, kind) and not isinstance(one, bool) and _inside(one, words) for one in several)
    else:
        fits = default is None or words["kind"] or isinstance(value, type(default))
    if not fits:
        raise InputError.of(name, value, expectation(default, words))


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
    if words["choices"]:
        return f"one of {', '.join(words['choices'])}"
    if isinstance(default, bool):
        return "True or False"
    if not _numeric(default, words):
        return f"a {words['kind'] or type(default).__name__}"
    low = f" from {words['least']:g}" if words["least"] is not None else \
        f" above {words['above']:g}" if words["above"] is not None else ""
    high = f" to {words['most']:g}" if words["most"] is not None else \
        f", below {words['below']:g}" if words["below"] is not None else " up" if words["least"] is not None else ""
    return f"{'a whole number' if _whole(default, words) else 'a number'}{low}{high}"
