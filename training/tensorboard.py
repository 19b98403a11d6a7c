"""What a run says, for TensorBoard: figures by epoch, some images, and in the end how the domains lie among each other.

TensorBoard itself is not needed here: ``tensorboard --logdir FOLDER`` may run anywhere that sees the files.
"""
import contextlib
import dataclasses
import importlib
import itertools
import math
import weakref
from pathlib import Path

import numpy as np

from transfer_gluon.base.errors import InputError
from transfer_gluon.base.files import writing
from transfer_gluon.base.log import log
from transfer_gluon.inference.outputs import outputs

_IMAGES = 16        # of each domain
_SECONDS = 5        # until what was said can be seen
_TAG = "features"   # of the embedding
_EMBEDDINGS = "[0-9]" * 5 + "*/" + _TAG         # in folders by their step
_WRITTEN = ("events.out.tfevents.*", "projector_config.pbtxt",
            f"{_EMBEDDINGS}/tensors.tsv", f"{_EMBEDDINGS}/metadata.tsv")


class TensorBoard:
    """An item after an epoch that writes its figures, those of ``summary.csv``, for TensorBoard. Of several workers,
    the first one does.

    It goes behind all items that tell figures. Where a run goes on, the folder is written anew with the epochs that are
    done, so that no step is there twice, and none that was given up. Of a training that is done it holds

    - scalars by epoch, under the names of the columns;
    - ``images/NAME``: the first images of each domain as the network gets them, augmented, in raw RGB;
    - an embedding: what feeds the classifier, of some images of each domain, with domain, label and prediction of each.

    Parameters
    ----------
    folder : str or Path
        What an earlier one has written into it goes; all else stays.
    images : callable or None
        Makes a dict from names to iterators of batches of images. None: no images are shown.
    samples : dict of str to DataIter
        Images of each domain to embed, as for validation.
    classes : sequence of str or None
        What the labels are called. None: they are numbers.
    null_label : int
        Is shown as no label.

    Raises: InputError where the package tensorboardX is missing, or the folder cannot be written.
    """

    def __init__(self, folder, images=None, samples=None, classes=None, null_label=9999):
        self._folder, self._images, self._samples = Path(folder), images, samples or {}
        self._classes, self._null_label, self._writer = classes, null_label, None

    def begin(self, learner, position, store):
        """Look whether it can write, before anything is trained."""
        self._finish()      # what a training wrote that was stopped
        if store.rank == 0:
            self._package()

    def __call__(self, epoch):
        if epoch.store.rank:
            return
        if self._writer is None:
            self._open(epoch.before)
        self._write(epoch.result)

    def end(self, learner, results):
        """Write the embedding."""
        if self._writer is None:
            return
        found = [self._embedded(learner, domain, batches) for domain, batches in self._samples.items()]
        found = [(features, rows) for features, rows in found if len(rows)]
        if found:
            self._writer.add_embedding(np.concatenate([features for features, _ in found]),
                                       [row for _, rows in found for row in rows],
                                       global_step=results[-1].epoch, tag=_TAG,
                                       metadata_header=["domain", "label", "prediction"])
        self._finish()
        log.info("for TensorBoard: tensorboard --logdir %s", self._folder)

    @staticmethod
    def _package():
        try:
            return importlib.import_module("tensorboardX")
        except ImportError as error:
            raise InputError(f"`tensorboard` needs the package tensorboardX, which cannot be imported ({error}); `pip "
                             "install tensorboardX` brings it.", "tensorboard", True, "tensorboardX") from None

    def _finish(self):
        if self._writer is not None:
            self._close()
            self._writer = None

    def _open(self, before):
        remove_board(self._folder)
        with writing(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
            # A TensorBoard that is watching forgets what it read before.
            self._writer = self._package().SummaryWriter(str(self._folder), purge_step=0, flush_secs=_SECONDS)
        # Its own flush does not wait for what is on the way to its thread; what an error ends is to be whole, too.
        self._close = weakref.finalize(self, self._writer.close)
        for name, batches in (self._images() if self._images else {}).items():
            shown = first_images(batches, _IMAGES)
            if shown is not None:
                self._writer.add_images(f"images/{name}", shown, 0)
        for result in before:
            self._write(result)

    def _write(self, result):
        row = dataclasses.asdict(result)
        row.update(row.pop("others"))
        for name, value in row.items():
            if name != "epoch" and not math.isnan(value):
                self._writer.add_scalar(name, value, result.epoch)

    def _embedded(self, learner, domain, batches):
        """Features (n, d), and domain, label and prediction of each image."""
        features, rows = [], []
        for batch in outputs(learner.on_batches, batches, learner.devices, f"the network, of the {domain}"):
            layers = batch.features if isinstance(batch.features, list) else [batch.features]
            features.append(layers[-1].reshape(len(batch), -1))
            rows += [[domain, self._name(label), self._name(found)]
                     for label, found in zip(batch.labels, batch.logits.argmax(axis=1))]
        return np.concatenate(features) if features else None, rows

    def _name(self, label):
        if label == self._null_label:
            return ""
        return " ".join(str(self._classes[int(label)] if self._classes else int(label)).split())


def remove_board(folder):
    """Remove what a `TensorBoard` has written into a folder, and the folder where nothing else is in it.

    Raises: InputError where that cannot be done.
    """
    folder = Path(folder)
    embeddings = list(folder.glob(_EMBEDDINGS))
    with writing(folder):
        for file in [file for pattern in _WRITTEN for file in folder.glob(pattern)]:
            file.unlink()
    for emptied in *embeddings, *(one.parent for one in embeddings), folder:
        with contextlib.suppress(OSError):      # something else is there
            emptied.rmdir()


def first_images(batches, number):
    """The first images that an iterator gives, (n, channels, height, width) in bytes; None where it gives none.

    >>> from transfer_gluon.iters import SyntheticIter
    >>> first_images(SyntheticIter(4, (3, 2, 2), 3), 6).shape
    (6, 3, 2, 2)
    """
    found = []
    for batch in itertools.islice(batches, -(-number // batches.batch_size)):
        found.append(batch.data[0].asnumpy())
    if not found or found[0].ndim != 4:
        return None
    return np.rint(np.concatenate(found)[:number].clip(0, 255)).astype(np.uint8)
