"""Regular files only: a pipe hangs who reads it, and a device such as ``/dev/zero`` never ends."""
import errno
import os
import stat


def open_regular(path):
    """A regular file, or a link to one, open to be read as bytes.

    Raises: OSError whose `strerror` says what is wrong: no such file, a folder, a pipe, a device, a socket, a path that
    no file can have.

    >>> open_regular("/dev/zero")
    Traceback (most recent call last):
    OSError: [Errno 22] not a regular file
    """
    try:
        return open(path, "rb", opener=_opener)
    except ValueError:      # a NUL, or a character that the encoding of file names lacks
        raise OSError(errno.EINVAL, "not a path that a file can have") from None


def read_regular(path):
    """The bytes of a regular file. Raises: OSError as `open_regular`."""
    with open_regular(path) as file:
        return file.read() or b""      # None of what answers later, such as /proc/kmsg


def read_regular_text(path, encoding="utf-8"):
    """The text of a regular file, its lines ended by ``\\n``. Raises: OSError as `open_regular`, UnicodeDecodeError."""
    return read_regular(path).decode(encoding).replace("\r\n", "\n")


def _opener(path, flags):
    descriptor = os.open(path, flags | os.O_NONBLOCK)       # a pipe that nobody writes to is opened all the same
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):            # of a folder, open() says so
        return descriptor
    os.close(descriptor)
    raise OSError(errno.EINVAL, "not a regular file")
