"""What a user can cause, and how a command ends.

Exit codes: 0 done, 2 the user's input, 1 our fault (with a traceback), 130 interrupted by Ctrl-C.
"""
import functools
import sys
from pathlib import Path


class InputError(ValueError):
    """Something the user gave cannot be used. The message says what was found, where, what was
    expected and what to do."""


class DivergedError(InputError):
    """The loss is no longer a number."""


def first_ten(lines):
    """Join `lines` for a message, the first ten of them and how many more there are."""
    lines = list(lines)
    more = [f"… and {len(lines) - 10} more"] if len(lines) > 10 else []
    return "\n  ".join(["", *map(str, lines[:10]), *more])


def exit_codes(main):
    """Decorate the main function of a command: an `InputError` becomes one message and exit code 2."""

    @functools.wraps(main)
    def wrapper(*args, **kwargs):
        try:
            return main(*args, **kwargs)
        except InputError as error:
            print(f"{Path(sys.argv[0]).name}: {error}", file=sys.stderr)
            sys.exit(2)

    return wrapper
