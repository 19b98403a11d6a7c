"""What a user can cause, and how a command ends.

Exit codes: 0 done, 1 our fault (with a traceback), 2 the user's input, 3 stopped by a signal with everything saved,
130 interrupted by Ctrl-C where there was nothing to save.
"""
import functools
import sys
from pathlib import Path

import click


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


def exit_codes(command):
    """Decorate a click command: what the user caused becomes one message and an exit code."""

    @functools.wraps(command)
    def main():
        name = Path(sys.argv[0]).name
        try:
            sys.exit(command(standalone_mode=False) or 0)
        except click.ClickException as error:
            error.show()
            sys.exit(error.exit_code)
        except InputError as error:
            print(f"{name}: {error}", file=sys.stderr)
            sys.exit(2)
        except Stopped as error:
            print(f"{name}: {error}", file=sys.stderr)
            sys.exit(3)
        except (click.Abort, KeyboardInterrupt):
            print(f"{name}: interrupted", file=sys.stderr)
            sys.exit(130)

    return main
