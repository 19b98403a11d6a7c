"""Files that are there whole or not at all."""
import contextlib
import glob
import os
from pathlib import Path

from base.errors import InputError


@contextlib.contextmanager
def replacing(path):
    """Give a temporary name beside `path`; what was written there becomes `path` if the block ends well.

    A process that dies leaves the old `path` untouched, and its temporary file goes when `path` is written the
    next time. A block that raises leaves none.

    Raises: InputError when the folder cannot be written or the disk is full.

    >>> with replacing("/tmp/replacing-example.txt") as temporary:
    ...     _ = temporary.write_text("whole")
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        if not _alive(left.name.split(".")[-2]):
            left.unlink(missing_ok=True)
    try:
        yield temporary
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror or error}.") from error
    finally:
        with contextlib.suppress(OSError):      # it is gone, or its folder is none
            temporary.unlink()


def _alive(process):
    try:
        os.kill(int(process), 0)
    except (ProcessLookupError, ValueError):
        return False
    except PermissionError:
        pass
    return True


def _sync_folder(folder):
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def writable_folder(path, what):
    """Create the folder that `path` lies in, if need be, and check that files can be made there.

    `what` names the flag or setting that `path` comes from. Raises: InputError.
    """
    folder = Path(path).parent
    probe = folder / f".writable.{os.getpid()}.tmp"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise InputError(f"{what}: the folder {folder} cannot be written: {error.strerror or error}.") from error
