"""What a user can cause."""
import re


class InputError(ValueError):
    """Something the user gave cannot be used. The message says what was found, where, what was expected and what to do.

    In it, names of parameters stand in backquotes: a library knows nothing else. A command puts its flags in their
    place (`with_flags`).

    Attributes
    ----------
    parameter : str or None
        The name of the parameter to blame; None where it is something else, such as the content of a file.
    value, expected
        What it is, and in words what it must be.

    >>> error = InputError.of("lr", -1, "a number from 0 up", "0.1 is usual.")
    >>> print(error, "|", error.parameter, error.value, error.expected)
    `lr` is -1; expected a number from 0 up. 0.1 is usual. | lr -1 a number from 0 up
    """

    def __init__(self, message="", parameter=None, value=None, expected=None):
        super().__init__(message)
        self.parameter, self.value, self.expected = parameter, value, expected

    @classmethod
    def of(cls, parameter, value, expected, hint=""):
        """The error of one parameter: its name, its value, what was `expected`, and a `hint` what to do."""
        return cls(f"`{parameter}` is {value!r}; expected {expected}. {hint}".rstrip(), parameter, value, expected)


def does_nothing(name, why, value):
    """The InputError of a parameter that was given, as `value`, where it does nothing.

    >>> print(does_nothing("keep", "with `no_checkpoint`", 3))
    `keep` was given with `no_checkpoint`, where it does nothing; leave it out.
    """
    return InputError(f"`{name}` was given {why}, where it does nothing; leave it out.", name, value, "nothing")


def with_flags(text, flags):
    """A message in the words of a command: `flags`, by the names of parameters; other names stay as they are.

    >>> with_flags("`lr` is -1; `other` is not.", {"lr": "--lr"})
    '--lr is -1; `other` is not.'
    """
    return re.sub(r"`(\w+)`", lambda name: flags.get(name[1], name[0]), text)


class DivergedError(InputError):
    """The loss is no longer a number."""


class Stopped(Exception):
    """A signal asked the run to stop; the message says what was saved and how to go on."""


def first_ten(lines):
    """Join `lines` for a message, the first ten of them and how many more there are."""
    lines = list(lines)
    more = [f"… and {len(lines) - 10} more"] if len(lines) > 10 else []
    return "\n  ".join(["", *map(str, lines[:10]), *more])
