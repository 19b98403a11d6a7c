"""Files that are there whole or not at all."""
import contextlib
import os
import re
import shutil
import socket
import tempfile
import time
from pathlib import Path

from transfer_gluon.base.errors import InputError
from transfer_gluon.base.regular import read_regular

_DAY = 24 * 3600
_BEHIND = 40        # bytes of a name: -0018.params, and around it the dots, process and ending of a temporary file


def _place():
    """Where a process number means something: this machine, and on it this container."""
    container = 0
    with contextlib.suppress(OSError):
        container = os.stat("/proc/self/ns/pid").st_ino
    return f"{re.sub(r'[^a-zA-Z0-9-]', '_', socket.gethostname())}-{container}"


_PLACE = _place()


@contextlib.contextmanager
def replacing(path):
    """Give a temporary name beside `path`; what was written there becomes `path` if the block ends well.

    A process that dies leaves the old `path` untouched, and its temporary file goes when `path` is written the
    next time on the same machine, or a day later on another one that shares the disk. A block that raises leaves none.
    Where `path` is a link, what it leads to is replaced.

    Raises: InputError when the folder cannot be written or the disk is full, or `path` is a pipe or a device.

    >>> with replacing("/tmp/replacing-example.txt") as temporary:
    ...     _ = temporary.write_text("whole")
    """
    refuse_special(path)
    said, path = path, Path(os.path.realpath(path))
    temporary = path.with_name(f".{path.name}.{_PLACE}.{os.getpid()}.tmp")
    try:
        with writing(said):
            _remove_leftovers(path)
            yield temporary
            with open(temporary, "rb") as file:
                os.fsync(file.fileno())
            os.replace(temporary, path)
            sync_folder(path.parent)
    finally:
        with contextlib.suppress(OSError):      # it is gone, or its folder is none
            temporary.unlink()


@contextlib.contextmanager
def making_folder(path, replaces=()):
    """Give a new folder beside `path`; it becomes `path`, with all that was written there, if the block ends well.

    Of a block that raises nothing is left; what a process that died has left goes when `path` is made the next time.

    `replaces`: names of files; a folder that holds nothing else gives way.

    Raises: InputError when there is something else at `path` already, or it cannot be written.
    """
    refuse_taken(path, replaces)
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{_PLACE}.{os.getpid()}.tmp")
    try:
        with writing(path):
            _remove_leftovers(path)
            temporary.mkdir(parents=True)
            yield temporary
            if replaces and path.is_dir():
                shutil.rmtree(path)
            os.replace(temporary, path)
            sync_folder(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def refuse_taken(path, replaces=()):
    """Raise InputError where there is something at `path` already, but for a folder that holds nothing, or nothing but
    files of the names `replaces`."""
    if os.path.lexists(path) and not (os.path.isdir(path) and set(os.listdir(path)) <= set(replaces)):
        raise InputError(f"{path}: is there already. Give another name, or move it away.")


def refuse_special(path):
    """Raise InputError for a pipe, a socket or a device, which whoever may do everything would replace by a file.

    >>> refuse_special("/dev/null")     # doctest: +ELLIPSIS
    Traceback (most recent call last):
    transfer_gluon.base.errors.InputError: /dev/null: is a pipe or a device, and a file would take its place. ...
    """
    if os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path):
        raise InputError(f"{path}: is a pipe or a device, and a file would take its place. Give another name.")


def _remove_leftovers(path):
    """Remove temporary files of `path` that nobody is writing any more."""
    beginning = f".{path.name}."
    for left in path.parent.iterdir():
        if left.name.startswith(beginning) and left.name.endswith(".tmp"):
            place, _, process = left.name[len(beginning):-len(".tmp")].rpartition(".")
            with contextlib.suppress(OSError):
                if not _alive(process) if place == _PLACE else time.time() - left.stat().st_mtime > _DAY:
                    shutil.rmtree(left) if left.is_dir() else left.unlink()


def _alive(process):
    try:
        os.kill(int(process), 0)
    except (ProcessLookupError, ValueError, OverflowError):
        return False
    except PermissionError:
        pass
    return True


def sync_folder(folder):
    """Wait until the names in `folder` are on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def writing(path):
    """Within the block, what the system says against writing `path` becomes an InputError."""
    try:
        yield
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror or error}.") from error


@contextlib.contextmanager
def reading(path):
    """Within the block, what the system says against reading `path` becomes an InputError.

    So does a folder, a pipe or a device in its place.

    >>> with reading("/tmp"):
    ...     pass
    Traceback (most recent call last):
    transfer_gluon.base.errors.InputError: /tmp: is not a file. Move away what is there.
    """
    try:
        if os.path.exists(path) and not os.path.isfile(path):
            raise InputError(f"{path}: is not a file. Move away what is there.")
        yield
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}.") from error


def read_text(path):
    """The text of a file, ends of lines as they are; bytes that are no UTF-8 become ``\N{REPLACEMENT CHARACTER}``.

    Raises: InputError, as `reading`.
    """
    with reading(path):
        return read_regular(path).decode("utf-8", "replace")


def writable_folder(path, parameter):
    """Create the folder that `path` lies in, if need be, and check that files can be made there, also under names that
    begin with that of `path`.

    `parameter`: the name of the one that `path` comes from, for the message. Raises: InputError.
    """
    refuse_special(path)
    try:
        folder = Path(path).parent
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
        most = os.pathconf(folder, "PC_NAME_MAX") - _BEHIND - len(_PLACE)
    except (OSError, ValueError) as error:      # a ValueError: a character that no name can have
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"`{parameter}`: the folder {os.path.dirname(path) or '.'} cannot be written: {reason}.",
                         parameter, path, "a path in a folder that can be written") from error
    length = len(os.fsencode(Path(path).name))
    if length > most:
        raise InputError(f"`{parameter}`: the name {Path(path).name[:20]}… has {length} bytes; expected at most {most} "
                         "there.", parameter, path, f"a name of at most {most} bytes")
