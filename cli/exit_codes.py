"""How a command ends: what the user caused becomes one message and an exit code.

Exit codes: 0 done, 1 our fault (with a traceback), 2 the user's input, 3 stopped by a signal with everything saved,
130 interrupted by Ctrl-C where there was nothing to save.

Commands import what computes inside the functions that use it, so that ``--help`` answers at once.
"""
import contextlib
import contextvars
import errno
import functools
import os
import sys
from pathlib import Path

from transfer_gluon.cli.help import HelpfulCommand, HelpfulGroup

import click

from transfer_gluon.base.errors import InputError, Stopped, with_flags
from transfer_gluon.base.log import log

CONTEXT = dict(show_default=True, help_option_names=["-h", "--help"])


# What the user typed to call the command, such as ``transfer-gluon fine-tune``: click forgets it before we say why the
# command has ended.
_typed = contextvars.ContextVar("typed", default=None)


class Command(HelpfulCommand):
    """A command that speaks of its flags and arguments: it puts them in the place of parameters' names in errors and
    log lines."""

    def invoke(self, context):
        _typed.set(context.command_path)
        words = {parameter.name: max(parameter.opts, key=len) if isinstance(parameter, click.Option) else
                 parameter.human_readable_name for parameter in self.params}

        def in_flags(record):
            record.msg, record.args = with_flags(record.getMessage(), words), ()
            return True

        log.addFilter(in_flags)
        try:
            return super().invoke(context)
        except (InputError, Stopped) as error:
            error.args = with_flags(str(error), words),
            raise
        finally:
            log.removeFilter(in_flags)


class Group(HelpfulGroup):
    """A group of such commands."""

    command_class = Command


def exit_codes(command):
    """Decorate a click command, so that it ends with one of the exit codes above."""

    @functools.wraps(command)
    def main():
        _open_standard_streams()
        _typed.set(None)
        code = _code(functools.partial(command, standalone_mode=False))
        # Python would find out at its very end only that nobody reads, or that the disk is full.
        flushed = _code(sys.stdout.flush)
        sys.exit(code or flushed)

    return main


def _open_standard_streams():
    """Where the caller has closed standard input, output or error, open nothing in its place: a file of ours would get
    its number, and what MXNet and others say there would be written into that. What a terminal's encoding lacks is
    escaped."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "r" if name == "stdin" else "w"))
    with contextlib.suppress(AttributeError, OSError):      # it is no file of Python's own, or one that is gone
        sys.stdout.reconfigure(errors="backslashreplace")


def _code(function):
    try:
        return function() or 0
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except InputError as error:
        return _say(error, 2)
    except Stopped as error:
        return _say(error, 3)
    except (click.Abort, KeyboardInterrupt):
        return _say("interrupted", 130)
    except BrokenPipeError:     # whoever read the output has seen enough
        _drop_output()
        return 2
    except OSError as error:    # of the system, with a file that the user named, or standard output
        if error.filename is not None:
            return _say(f"{error.filename}: {error.strerror}.", 2)
        if error.errno not in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT):
            raise
        _drop_output()
        return _say(f"cannot be written: {error.strerror}.", 2)


def _drop_output():
    """Nor must Python write to it at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _say(message, code):
    print(f"{_typed.get() or Path(sys.argv[0]).name}: {message}", file=sys.stderr)
    return code
