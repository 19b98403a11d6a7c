"""Known checkpoints, each under one name: MXNet's model gallery."""
import contextlib
import os
from collections import namedtuple
from pathlib import Path

from transfer_gluon.base.errors import InputError
from transfer_gluon.base.files import writable_folder
from transfer_gluon.checkpoints.checkpoint import (
    load_checkpoint,
    parameter_file,
    refuse_to_replace,
    symbol_file,
    write_symbol,
)
from transfer_gluon.exchange.download import Unavailable, base_address, check, digest_of, fetch, fetch_text
from transfer_gluon.symbols.normalize import normalized

SITE = "http://data.mxnet.io/models/"

# Where the parameters lie on the site, what they are called here, the mean that the network wants subtracted.
_Known = namedtuple("_Known", "path name mean", defaults=[None])

# Places and means as in MXNet's example/image-classification. The site never told a digest.
GALLERY = {
    "imagenet11k-resnet-152": _Known("imagenet-11k/resnet-152/resnet-152-0000", "resnet-152"),
    **{f"imagenet11k-place365ch-resnet-{depth}": _Known(f"imagenet-11k-place365-ch/resnet-{depth}-0000",
                                                        f"imagenet11k-place365ch-resnet-{depth}")
       for depth in (50, 152)},
    **{f"imagenet1k-resnet-{depth}": _Known(f"imagenet/resnet/{depth}-layers/resnet-{depth}-0000",
                                            f"imagenet1k-resnet-{depth}") for depth in (18, 34, 50, 101, 152, 200)},
    **{f"imagenet1k-resnext-{depth}": _Known(f"imagenet/resnext/{depth}-layers/resnext-{depth}-0000",
                                             f"imagenet1k-resnext-{depth}") for depth in (50, 101)},
    "imagenet1k-inception-bn": _Known("imagenet/inception-bn/Inception-BN-0126", "imagenet1k-inception-bn",
                                      (123.68, 116.779, 103.939)),
}

# A checkpoint that has come: its prefix (epoch 0), the SHA-256 of what was fetched, and whose digest it was compared
# with ("sha256": that parameter's; None: nobody gave one).
Fetched = namedtuple("Fetched", "prefix sha256 checked")


def get_model(name, folder="model", mirror=None, sha256=None, progress=True):
    """Fetch a known checkpoint, ready to start from, as epoch 0 of ``FOLDER/NAME``.

    Parameters
    ----------
    name : str
        A key of `GALLERY`.
    folder : str or Path
    mirror : str, optional
        Address or folder that has the files under the same paths as the site.
    sha256 : str, optional
        What the parameter file's content must give. Default: what a file ``SHA256SUMS`` beside it says, if any.
    progress : bool
        Show a bar on a terminal.

    Returns: Fetched. A checkpoint that is there already is not fetched again, only compared with `sha256`.

    Raises: Unavailable with what to do when the site or the file is not there; InputError for a name that is not
    known, and for content that is not what was expected.
    """
    if name not in GALLERY:
        raise InputError.of("name", name, f"one of {', '.join(GALLERY)}")
    if sha256 and (len(sha256) != 64 or set(sha256.lower()) - set("0123456789abcdef")):
        raise InputError(f"`sha256` is {sha256}; expected 64 hexadecimal digits.", "sha256", sha256,
                         "64 hexadecimal digits")
    known = GALLERY[name]
    prefix, address = Path(folder) / known.name, base_address(mirror or SITE) + known.path
    parameters = parameter_file(prefix, 0)
    if parameters.exists() and symbol_file(prefix).exists():
        check(parameters, sha256)
        return Fetched(prefix, digest_of(parameters), sha256 and "sha256")
    writable_folder(prefix, "folder")
    refuse_to_replace(prefix, None, "folder")
    hidden = prefix.with_name(f".{known.name}")     # what has come is a checkpoint only when it is complete
    try:
        sums = _sums(address)
        digest = sha256 or sums.get(f"{Path(known.path).name}.params")
        symbol_name = f"{known.path.rpartition('-')[0]}-symbol.json"
        fetch(base_address(mirror or SITE) + symbol_name, symbol_file(hidden), sums.get(Path(symbol_name).name),
              progress)
        found = fetch(f"{address}.params", parameter_file(hidden, 0), digest, progress)
        try:
            symbol = load_checkpoint(hidden, 0).symbol
        except InputError:
            raise InputError(f"{address}: the site sent something else than a checkpoint; see what it says in a "
                             "browser.") from None
        text = symbol_file(hidden).read_text(encoding="utf-8")
        write_symbol(prefix, normalized(symbol, known.mean).tojson() if known.mean else text)
        os.replace(parameter_file(hidden, 0), parameters)
    except Unavailable as error:
        raise Unavailable(f"{error}\n{_advice(known.path, folder)}") from None
    finally:
        for file in (parameter_file(hidden, 0), symbol_file(hidden)):
            with contextlib.suppress(OSError):
                file.unlink()
    return Fetched(prefix, found, "sha256" if sha256 else digest and "SHA256SUMS beside it")


def _sums(address):
    """The lines of ``SHA256SUMS`` in the folder of `address`, as ``sha256sum`` writes them: file name → digest."""
    text = fetch_text(f"{address.rpartition('/')[0]}/SHA256SUMS") or ""
    lines = (line.split() for line in text.splitlines())
    return {parts[1].lstrip("*"): parts[0] for parts in lines if len(parts) == 2 and len(parts[0]) == 64}


def _advice(path, folder):
    return (f"If the site is gone: whoever has used this network may still have its two files. Put them into a folder "
            f"of yours as {path}.params and {path.rpartition('-')[0]}-symbol.json and name that folder as `mirror`, "
            f"or a site that has them so; or copy them to {folder}/, and start from them there. "
            "Weights of PyTorch serve too: tools/import_weights.py. See docs/models.md.")
