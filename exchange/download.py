"""A file from an address, fetched by libcurl: goes on where it broke off, is checked, is there whole or not at all."""
import glob
import hashlib
import os
import stat
from collections import namedtuple
from contextlib import contextmanager
from pathlib import Path
from urllib.request import url2pathname

import certifi
import pycurl
from filelock import FileLock, Timeout
from tqdm import tqdm

from transfer_gluon.base.errors import InputError
from transfer_gluon.base.files import replacing, writable_folder

_PATIENCE = 30      # seconds to wait for a connection, and at less than 1 kB/s before a transfer is given up
LARGEST = 2**30     # bytes of a file of weights: the largest known one has 0.6 · 10⁹
_LARGEST_TEXT = 2**20
_MISSING = (pycurl.E_FILE_COULDNT_READ_FILE, pycurl.E_REMOTE_FILE_NOT_FOUND)


class Unavailable(InputError):
    """The site or the file is not there, or the transfer broke off."""


# What a server tells of a file without sending it: bytes, and seconds since 1970 of the last change; -1: nothing.
_Remote = namedtuple("_Remote", "size changed")


def base_address(place):
    """The address, ending in a slash, of a site or of a folder on this machine.

    >>> base_address("http://localhost/models"), base_address("/tmp")
    ('http://localhost/models/', 'file:///tmp/')
    """
    if "://" not in str(place):
        place = Path(os.path.expanduser(place)).resolve().as_uri()     # Path's own raises for a user that is not there
    return str(place).rstrip("/") + "/"


def fetch(address, path, digest=None, progress=True):
    """Fetch a file, or the rest of it.

    What has come stays beside `path`, hidden, under a name that tells size and time of the remote file: a later
    call goes on from there, and never with a part of another file. A server that cannot send the rest of a
    file sends it anew.

    Parameters
    ----------
    address : str
        ``http://``, ``https://`` or ``file://``.
    path : str or Path
    digest : str, optional
        What the file's content must give, in hexadecimal: SHA-1 (40 digits) or SHA-256 (64).
    progress : bool
        Show a bar on a terminal.

    Returns: the SHA-256 of the file.

    Raises: Unavailable when the file cannot be had or is larger than `LARGEST`; InputError when `path` cannot be
    written or the content is not what `digest` says, in which case it is removed.
    """
    path = Path(path)
    writable_folder(path, "path")
    remote = _ask(address)
    if remote.size > LARGEST:
        raise _too_large(address, LARGEST)
    part = path.with_name(f".{path.name}.{remote.changed}-{remote.size}.part")
    with _locked(path):
        for old in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
            if old != part or remote.changed < 0 or old.stat().st_size > remote.size:
                old.unlink()
        with open(part, "ab", buffering=0) as file:     # a full disk is told at once, not on closing
            try:
                _transfer(address, file, remote, progress)
            except _CannotGoOn:
                file.truncate(0)
                _transfer(address, file, remote, progress)
        try:
            check(part, digest, name=address)
        except InputError:
            part.unlink()
            raise
        found = digest_of(part)
        with replacing(path) as temporary:
            os.replace(part, temporary)
        return found


def fetch_text(address):
    """The text of a small file, of 1 MiB at most, or None when there is no such file. Raises: Unavailable."""
    text = bytearray()

    def write(data):
        text.extend(data)
        return -1 if len(text) > _LARGEST_TEXT else len(data)

    try:
        with _request(address) as curl:
            curl.setopt(pycurl.WRITEFUNCTION, write)
            curl.perform()
            return text.decode(errors="replace")
    except _NotFound:
        return None
    except Unavailable:
        if len(text) > _LARGEST_TEXT:
            raise _too_large(address, _LARGEST_TEXT) from None
        raise


def digest_of(path, kind="sha256"):
    """The SHA-256 (or another digest that hashlib knows) of a file, in hexadecimal."""
    digest = hashlib.new(kind)
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def check(path, digest, name=None):
    """Compare a file with its SHA-1 or SHA-256. Raises: InputError with the digest found, and for what is neither."""
    if digest is None:
        return
    kind = {40: "sha1", 64: "sha256"}.get(len(digest))
    if kind is None:
        raise InputError.of("digest", digest, "40 hexadecimal digits of a SHA-1, or 64 of a SHA-256")
    found = digest_of(path, kind)
    if found != digest.lower():
        raise InputError(f"{name or path}: not the file it should be. Its {kind.upper()} is {found}, "
                         f"expected {digest}.")


class _NotFound(Unavailable):
    """The site answers, and has no such file."""


class _CannotGoOn(Unavailable):
    """The server sends files from their beginning only."""


def _too_large(address, largest):
    return Unavailable(f"{address}: more than {largest} bytes, which no such file has; see what the site sends in a "
                       "browser.")


@contextmanager
def _request(address):
    scheme, _, place = address.partition("://")
    if scheme == "file" and not stat.S_ISREG(_mode(url2pathname(place))):
        raise _NotFound(f"{address}: there is no such file.")       # of a pipe or a device there may be no end
    curl = pycurl.Curl()
    curl.setopt(pycurl.URL, address)
    curl.setopt(pycurl.FOLLOWLOCATION, True)
    curl.setopt(pycurl.MAXREDIRS, 10)
    curl.setopt(pycurl.FAILONERROR, True)
    curl.setopt(pycurl.OPT_FILETIME, True)
    curl.setopt(pycurl.CAINFO, os.environ.get("SSL_CERT_FILE", certifi.where()))
    curl.setopt(pycurl.CONNECTTIMEOUT, _PATIENCE)
    curl.setopt(pycurl.LOW_SPEED_LIMIT, 1000)
    curl.setopt(pycurl.LOW_SPEED_TIME, _PATIENCE)
    try:
        yield curl
    except pycurl.error as error:
        code, message = error.args
        if code in _MISSING or curl.getinfo(pycurl.RESPONSE_CODE) in (404, 410):
            raise _NotFound(f"{address}: there is no such file.") from None
        kind = _CannotGoOn if code == pycurl.E_HTTP_RANGE_ERROR else Unavailable
        raise kind(f"{address}: cannot be fetched: {message}.") from None
    finally:
        curl.close()


def _mode(path):
    try:
        return os.stat(path).st_mode
    except (OSError, ValueError):
        return 0


def _ask(address):
    with _request(address) as curl:
        curl.setopt(pycurl.NOBODY, True)
        curl.setopt(pycurl.WRITEFUNCTION, len)      # of a file:// address, libcurl writes headers
        curl.perform()
        return _Remote(curl.getinfo(pycurl.CONTENT_LENGTH_DOWNLOAD_T), curl.getinfo(pycurl.INFO_FILETIME))


@contextmanager
def _locked(path):
    """Keep other processes from fetching the same file within the block."""
    lock = FileLock(path.with_name(f".{path.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise InputError(f"{path}: another process is fetching it.") from None
    try:
        yield
    finally:
        Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()


def _transfer(address, file, remote, progress):
    there = file.seek(0, os.SEEK_END)
    if there == remote.size:
        return
    bar = tqdm(total=remote.size if remote.size >= 0 else None, initial=there, desc=address.rpartition("/")[2],
               unit="B", unit_scale=True, disable=None if progress else True)
    full, much = [], []

    def write(data):
        if file.tell() + len(data) > LARGEST:
            much.append(data)
            return -1
        try:
            written = file.write(data)
        except OSError as error:
            full.append(error)
            return -1
        bar.update(written)
        return written

    try:
        with bar, _request(address) as curl:
            curl.setopt(pycurl.RESUME_FROM_LARGE, there)
            curl.setopt(pycurl.WRITEFUNCTION, write)
            curl.perform()
    except _CannotGoOn:
        raise
    except Unavailable as error:
        if full:
            raise InputError(f"{file.name}: cannot be written: {full[0].strerror}.") from None
        if much:
            os.unlink(file.name)
            raise _too_large(address, LARGEST) from None
        raise Unavailable(f"{error} {file.tell()} of {remote.size} bytes have come; call it again to go on "
                          "from there.") from None
