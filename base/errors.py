"""What a user can cause."""



class InputError(ValueError):
    """Something the user gave cannot be used. The message says what was found, where, what was
    expected and what to do."""


class DivergedError(InputError):
    """The loss is no longer a number."""


class Stopped(Exception):
    """A signal asked the run to stop; the message says what was saved and how to go on."""


def first_ten(lines):
    """Join `lines` for a message, the first ten of them and how many more there are."""
    lines = list(lines)
    more = [f"… and {len(lines) - 10} more"] if len(lines) > 10 else []
    return "\n  ".join(["", *map(str, lines[:10]), *more])

