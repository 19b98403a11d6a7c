"""How a command ends: what the user caused becomes one message and an exit code.

Exit codes: 0 done, 1 our fault (with a traceback), 2 the user's input, 3 stopped by a signal with everything saved,
130 interrupted by Ctrl-C where there was nothing to save.

Commands import what computes inside the functions that use it, so that ``--help`` answers at once.
"""
import functools
import os
import sys
from pathlib import Path

import click

from base.errors import InputError, Stopped

CONTEXT = dict(show_default=True, help_option_names=["-h", "--help"])


def exit_codes(command):
    """Decorate a click command, so that it ends with one of the exit codes above."""

    @functools.wraps(command)
    def main():
        sys.exit(_code(command))

    return main


def _code(command):
    try:
        return command(standalone_mode=False) or 0
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except InputError as error:
        return _say(error, 2)
    except Stopped as error:
        return _say(error, 3)
    except (click.Abort, KeyboardInterrupt):
        return _say("interrupted", 130)
    except BrokenPipeError:     # whoever read the output has seen enough; nor must Python write to it at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 2
    except OSError as error:    # of the system, with a file that the user named
        if error.filename is None:
            raise
        return _say(f"{error.filename}: {error.strerror}.", 2)


def _say(message, code):
    print(f"{Path(sys.argv[0]).name}: {message}", file=sys.stderr)
    return code
