"""What a layer of a network gives for the images of a list, computed once and kept in a file."""
import ast
import contextlib
import dataclasses
import hashlib
import io
import json
import re
import sys
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout
from tqdm import tqdm

from transfer_gluon.base.errors import InputError, first_ten
from transfer_gluon.base.files import read_text, replacing, writable_folder, writing
from transfer_gluon.base.log import log
from transfer_gluon.base.watchdog import waiting
from transfer_gluon.inference.batch_size import USUAL
from transfer_gluon.inference.classifier import inference_block
from transfer_gluon.inference.outputs import outputs
from transfer_gluon.iters import OrderedIter, ViewIter, prepared
from transfer_gluon.iters.augmentation import validation_size
from transfer_gluon.iters.feature_file import (
    Features,
    FeatureSource,
    check_features,
    digest_of_images,
    read_features,
    write_features,
)
from transfer_gluon.symbols import cut, resize_of
from transfer_gluon.symbols.graph import Graph

_CHUNK = 512        # images, rounded up to whole batches: what a killed extraction loses at most
# Files of ours in a folder of pieces, and what a killed process has left of them.
_PIECE = re.compile(r"\.?[0-9]{4,}-[0-9]{6,}\.npy(\..*\.tmp)?")
_HEADER = re.compile(r"\.?source\.json(\..*\.tmp)?")


def network_digest(symbol, arg_params, aux_params):
    """A short hash of what a network computes: its operators, their attributes, and the values of its parameters.

    It is the same however often the network was written and read again: names of layers, spaces in attributes and
    attributes with underscores, which only tell people something, do not matter.

    >>> from transfer_gluon.base.framework import mx
    >>> relu = [mx.sym.Flatten(mx.sym.relu(mx.sym.var("data"), name=name)) for name in ("a", "b")]
    >>> network_digest(relu[0], {}, {}) == network_digest(relu[1], {}, {})
    True
    """
    values, hashed = {**arg_params, **aux_params}, hashlib.sha256()
    for node in Graph.of(symbol).nodes:
        variable = node["op"] == "null"
        attributes = {} if variable else {name: _plain(text) for name, text in node.get("attrs", {}).items()
                                          if not name.startswith("__")}
        told = node["op"], node["name"] if variable else "", [entry[:2] for entry in node["inputs"]], attributes
        hashed.update(json.dumps(told, sort_keys=True).encode())
        if variable and node["name"] in values:
            value = values[node["name"]].asnumpy()
            hashed.update(f"{value.shape} {value.dtype}".encode())
            hashed.update(np.ascontiguousarray(value).data)
    return hashed.hexdigest()[:16]


def _plain(text):
    """An attribute as numbers, where it is made of numbers: ``(3, 3)`` and ``(3,3)``, ``True`` and ``1``."""
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
    return [float(one) for one in value] if isinstance(value, (tuple, list)) and all(
        isinstance(one, (int, float)) for one in value) else float(value) if isinstance(value, (int, float)) else text


def feature_source(checkpoint, layer, images, image_shape=None, val_resize=None, views=0, augmentation=None, seed=0,
                   digest=None, dtype="float32"):
    """The `FeatureSource` of what `extract` would compute; `digest` is that of the network up to the layer, where it is
    known already: it takes a look at every weight."""
    shape = tuple(image_shape or checkpoint.image_shape)
    resize = val_resize or resize_of(checkpoint.symbol, shape) or validation_size(max(shape[1:]))
    drawn = None
    if digest is None:
        digest = network_digest(cut(checkpoint.symbol, layer), checkpoint.arg_params, checkpoint.aux_params)
    if views:       # as JSON gives them back
        drawn = json.loads(json.dumps({**augmentation.settings(), "augmentation": augmentation.mode or "original"}))
    return FeatureSource(checkpoint.name, digest, layer, str(images.path), digest_of_images(images), shape, resize,
                         views, drawn, seed if views else None, dtype)


def extract(checkpoint, layer, images, path, devices, *, image_shape=None, val_resize=None, views=0, augmentation=None,
            seed=0, batch_size=None, threads=4, packed=False, overwrite=False, dtype="float32"):
    """Compute what a layer gives for every image of a list, as when the network is used, and keep it in a file.

    What is computed is kept in ``PATH.part/`` until all is: an extraction that was stopped, by ``kill -9`` or a full
    disk, goes on when it is called again, and ends with the same bytes. Where `path` is there already and holds the
    same, it is read; while another process computes it, it is waited for. At the end all values are in memory once,
    four bytes each.

    Parameters
    ----------
    checkpoint : Checkpoint
    layer : str
        Any layer; one whose output is (b, channels, height, width) is kept in this shape.
    images : ImageList
    path : str or Path
        The ``.npz`` file to write.
    devices : list of Context
    image_shape : (int, int, int) or None
        Channels, height, width of the network's input, in pixels; None: what the checkpoint says.
    val_resize : int, "squeeze" or None
        As `iters.transforms.prepared` takes it; None: what the checkpoint says for images of this size.
    views : int
        How many augmented views of each image are computed beside the plain one: view k is what training makes of the
        image in epoch k, counted from 0.
    augmentation : Augmentation or None
        Of the views.
    seed : int
        Of the views.
    batch_size : int or None
        Images computed at a time; None: as many as the extraction that was stopped, else 32.
    threads : int
        That decode images.
    packed : bool
        Read the record of the list instead of the image files.
    overwrite : bool
        Replace what is there and holds something else.
    dtype : "float32", "bfloat16" or "float16"
        What the network computes in; features are float32.

    Returns: `Features`.

    Raises: InputError for a layer that there is not; for a file that holds something else, both named; for images that
    cannot be read, after all others were computed; DivergedError for features that are no numbers.
    """
    path = Path(path)
    if views and augmentation is None:
        raise InputError.of("augmentation", augmentation, "an Augmentation, of the `views`")
    writable_folder(path, "path")
    source = feature_source(checkpoint, layer, images, image_shape, val_resize, views, augmentation, seed,
                            dtype=dtype)
    with _alone(path):
        if path.exists() and not overwrite:
            found = read_features(path)
            check_features(found, source)
            log.info("%s is there already", path)
            return found
        work = _Part(path, source, batch_size, overwrite)
        batch_size = work.batch_size
        net = inference_block(cut(checkpoint.symbol, layer), checkpoint, devices, source.image_shape, dtype)
        passes = passes_over(source, augmentation, batch_size, threads=threads, packed=packed)
        bad = []
        with tqdm(total=len(images) * len(passes), unit=" images", disable=None, file=sys.stderr) as bar:
            for number, batches in enumerate(passes):
                work.fill(number, images, batches, lambda reader: outputs(net, reader, devices, checkpoint.name,
                                                                          f"what {layer} gives"), bad, bar)
        if bad:
            raise InputError(f"{images.path}: {len(bad)} of its {len(images)} images are missing or cannot be decoded; "
                             "leave them out of the list, or put others in their place, and call this again:"
                             f"{first_ten(list(dict.fromkeys(map(str, bad))))}")
        values = work.values(len(passes), len(images))
        features = Features(path, values[0], values[1:], images.indices, images.labels, list(images.files), source)
        write_features(features)
        work.remove()
        return features


def passes_over(source, augmentation, batch_size, **how):
    """What makes iterators of the images that features are computed of: one for the images as they are, and one for
    each view that a `FeatureSource` tells of. Each is called with a list of images, and with a list for those that
    cannot be read, or None, as `OrderedIter` takes it; `how` are further parameters of iterators."""
    plain = prepared(*source.image_shape[1:], source.resize)
    passes = [lambda images, bad=None: OrderedIter(images, batch_size, plain, bad=bad, **how)]
    return passes + [
        lambda images, bad=None, view=view: ViewIter(images, batch_size, source.image_shape, augmentation, view,
                                                     source.seed, bad=bad, **how)
        for view in range(source.views)]


@contextlib.contextmanager
def _alone(path):
    """Wait until no other process writes this file, and keep them from it within the block."""
    lock = FileLock(path.with_name(f".{path.name}.lock"))
    with writing(path):
        try:
            lock.acquire(timeout=0)
        except Timeout:
            log.info("%s is being computed by another process: waiting", path)
            with waiting():
                lock.acquire()
    try:
        yield
    finally:
        lock.release()


class _Part:
    """What is computed so far, in ``PATH.part/``: a header, and a ``.npy`` file for every `_CHUNK` images of a pass
    over the list, each written whole."""

    def __init__(self, path, source, batch_size, overwrite):
        self.folder = Path(f"{path}.part")
        header = self.folder / "source.json"
        told, size = _header(header) if header.exists() else (None, None)
        batch_size = self.batch_size = batch_size or size or USUAL
        self._size = -(-_CHUNK // batch_size) * batch_size
        if told is None or size != batch_size or _unnamed(told) != _unnamed(source):
            if told and not overwrite:
                empty = np.empty((0, 1), np.float32)
                check_features(Features(self.folder, empty, empty, empty, empty, [], told), source)
            self.remove()       # of other batches, or nobody knows of what: it is computed again
        with writing(self.folder):
            self.folder.mkdir(exist_ok=True)
        with replacing(header) as temporary:
            temporary.write_text(json.dumps([source.text, batch_size]), encoding="utf-8")

    def fill(self, number, images, batches, run, bad, bar):
        """Compute what is missing of pass `number`.

        `batches` makes an iterator of a part of the list, `run` yields the outputs of all batches of an iterator.
        """
        for chunk, start in enumerate(range(0, len(images), self._size)):
            part = images.part(slice(start, start + self._size))
            if self._rows(number, chunk, len(part)) is None:
                unreadable, rows = [], []
                for batch in run(batches(part, unreadable)):
                    rows.append(batch.logits)
                    bar.update(len(batch))
                bad += unreadable
                if not unreadable:
                    content = io.BytesIO()      # NumPy does not tell why it could not write to a file itself
                    np.save(content, np.concatenate(rows))
                    with replacing(self._file(number, chunk)) as temporary:
                        temporary.write_bytes(content.getbuffer())
            else:
                bar.update(len(part))

    def values(self, passes, count):
        """All rows of all passes over `count` images, (passes, count, …): in memory once, and one piece beside."""
        values = None
        for number in range(passes):
            for chunk, start in enumerate(range(0, count, self._size)):
                end = min(start + self._size, count)
                rows, file = self._rows(number, chunk, end - start), self._file(number, chunk)
                if rows is None or values is not None and rows.shape[1:] != values.shape[2:]:
                    file.unlink(missing_ok=True)
                    raise InputError(f"{file}: gone, or changed, since it was computed. Call this again, and it is "
                                     "computed anew.")
                if values is None:
                    values = np.empty((passes, count, *rows.shape[1:]), np.float32)
                values[number, start:end] = rows
        return values

    def _rows(self, number, chunk, count):
        """Those of a chunk of `count` images; None where they are not there."""
        try:
            rows = np.load(self._file(number, chunk), allow_pickle=False)
        except Exception:       # whatever NumPy and zipfile say of damaged files
            return None
        fits = isinstance(rows, np.ndarray) and rows.dtype == np.float32 and rows.ndim and len(rows) == count
        return rows if fits else None

    def _file(self, number, chunk):
        return self.folder / f"{number:04d}-{chunk:06d}.npy"

    def remove(self):
        """Remove what is ours, the header last: pieces without one are nobody's. Other files stay, and the folder with
        them, and so does a link to a folder."""
        if not self.folder.is_dir():
            return
        with writing(self.folder):
            names = [entry.name for entry in self.folder.iterdir()]
            for kind in _PIECE, _HEADER:
                for name in filter(kind.fullmatch, names):
                    (self.folder / name).unlink()
        with contextlib.suppress(OSError):
            self.folder.rmdir()


def _unnamed(source):
    """Without what is told to people only."""
    return dataclasses.replace(source, network="", list="")


def _header(path):
    """The source and the batch size that a header tells; None and None for a file that tells none."""
    try:
        text, batch_size = json.loads(read_text(path))
        return FeatureSource.of_text(text), batch_size
    except (ValueError, TypeError, RecursionError):
        return None, None
