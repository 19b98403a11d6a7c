"""Pretrained image classifiers of gluoncv's model zoo, as checkpoints: fetched, compared by their SHA-1, converted."""
import lzma
import os
import struct
import zipfile
import zlib
from pathlib import Path

from transfer_gluon.base.errors import InputError
from transfer_gluon.base.files import replacing, writable_folder
from transfer_gluon.base.framework import mx
from transfer_gluon.checkpoints.checkpoint import parameter_file, refuse_to_replace, symbol_file, write_checkpoint
from transfer_gluon.checkpoints.files import read_arrays
from transfer_gluon.exchange.download import LARGEST, Unavailable, base_address, check, digest_of, fetch
from transfer_gluon.exchange.gallery import Fetched
from transfer_gluon.symbols import image_variable
from transfer_gluon.symbols.backbone import check_fit
from transfer_gluon.symbols.zoo import zoo_names, zoo_network


def pretrained_names():
    """The zoo's image classifiers of which it has weights."""
    from transfer_gluon.base.gluoncv_zoo import model_store  # here, since the gallery does without gluoncv
    return [name for name in zoo_names() if name in model_store._model_sha1]


def get_zoo_model(name, folder="model", mirror=None, progress=True):
    """Fetch a network of gluoncv's model zoo as epoch 0 of ``FOLDER/NAME``, with its normalisation inside.

    Parameters
    ----------
    name : str
        One of `pretrained_names()`.
    folder : str or Path
    mirror : str, optional
        Address or folder that has ``gluon/models/NAME-….zip``, as the zoo's site; or a folder with gluoncv's own
        ``NAME-….params``. Default: ``~/.mxnet/models``, then what MXNET_GLUON_REPO says, then the zoo's site.
    progress : bool
        Show a bar on a terminal.

    Returns: Fetched. A checkpoint that is there already is left as it is.

    Raises: Unavailable with what to do when the site or the file is not there; InputError for a name that is not
    known, and for content that is not what was expected.
    """
    from transfer_gluon.base.gluoncv_zoo import model_store
    if name not in pretrained_names():
        raise InputError.of("name", name, f"one of {', '.join(pretrained_names())}")
    prefix = Path(folder) / name
    if parameter_file(prefix, 0).exists() and symbol_file(prefix).exists():
        return Fetched(prefix, digest_of(parameter_file(prefix, 0)), None)
    file, sha1 = f"{name}-{model_store.short_hash(name)}", model_store._model_sha1[name]
    writable_folder(prefix, "folder")
    refuse_to_replace(prefix, None, "folder")
    cached = Path(os.path.expanduser(mirror or "~/.mxnet/models")) / f"{file}.params"
    if os.path.isfile(cached):
        check(cached, sha1)
        return _converted(cached, name, prefix)
    # Hidden, as they are removed, and gluoncv's own files would have these names.
    archive = Path(folder) / f".{file}.zip"
    site = mirror or os.environ.get("MXNET_GLUON_REPO") or model_store.apache_repo_url
    try:
        fetch(f"{base_address(site)}gluon/models/{file}.zip", archive, progress=progress)
    except Unavailable as error:
        raise Unavailable(
            f"{error}\nIf the site is gone: whoever has used this network with gluoncv has it as {file}.params in "
            "~/.mxnet/models, where it is looked for. Name a folder with that file as `mirror`, or a folder or site "
            f"that has gluon/models/{file}.zip. Weights of PyTorch serve too: tools/import_weights.py. "
            "See docs/models.md.") from None
    parameters = archive.with_suffix(".params")
    try:
        with replacing(parameters) as temporary, open(temporary, "wb") as target:
            for block in _unpacked(archive, f"{file}.params", site):
                target.write(block)
        check(parameters, sha1)
        return _converted(parameters, name, prefix)
    finally:
        archive.unlink()
        parameters.unlink(missing_ok=True)


def _unpacked(archive, name, site):
    """The content of a file in a zip archive of a stranger's, block by block. Raises: InputError."""
    try:
        with zipfile.ZipFile(archive) as content, content.open(name) as file:
            if content.getinfo(name).file_size > LARGEST:       # no more than that is unpacked, whatever comes
                raise ValueError(f"{name} in it has more than {LARGEST} bytes")
            while block := file.read(1 << 20):
                yield block
    # What zipfile raises: RuntimeError for encrypted files and (NotImplementedError) unknown methods, the others for
    # damage.
    except (zipfile.BadZipFile, RuntimeError, KeyError, EOFError, ValueError, OSError, struct.error, zlib.error,
            lzma.LZMAError) as error:
        raise InputError(f"{site}: sent something else than {archive.name[1:]} ({error or 'cut off'}); see what it "
                         "says in a browser.") from None


def _converted(file, name, prefix):
    """Write gluoncv's parameters, which it names by their place in its block, as a checkpoint."""
    network = zoo_network(name, classes=10 if name.startswith("cifar_") else 1000)
    scores, found = network.classifier, read_arrays(file)
    values = {ours: found[theirs] for theirs, ours in network.parameters.items() if theirs in found}
    check_fit(scores, values, {}, str(file))
    auxiliary = scores.list_auxiliary_states()
    symbol = mx.sym.Group([mx.sym.SoftmaxOutput(scores[0], name="softmax"), *list(scores)[1:]])
    side = 32 if name.startswith("cifar_") else 299 if name in ("inceptionv3", "xception") else 224
    symbol = symbol(data=image_variable((3, side, side)))
    write_checkpoint(prefix, 0, symbol, {n: value for n, value in values.items() if n not in auxiliary},
                     {n: values[n] for n in auxiliary})
    return Fetched(prefix, digest_of(file), "gluoncv")
