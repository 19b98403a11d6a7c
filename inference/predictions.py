"""What a trained network says about images without labels, and the file it goes to."""
import csv
import sys

import numpy as np
from tqdm import tqdm

from transfer_gluon.base.errors import InputError
from transfer_gluon.base.files import replacing
from transfer_gluon.base.framework import mx
from transfer_gluon.base.log import log
from transfer_gluon.inference.batch_size import good_batch_size
from transfer_gluon.inference.classifier import num_classes, ready_classifier
from transfer_gluon.inference.outputs import outputs
from transfer_gluon.iters import OrderedIter
from transfer_gluon.iters.transforms import prepared
from transfer_gluon.symbols import resize_of


def predict(net, batches, devices, top_k, source="the network"):
    r"""The most probable classes of images.

    .. math:: p = \operatorname{softmax}(\text{class scores})

    Parameters
    ----------
    net : callable
        From images (b, channels, height, width) to class scores (b, c), or to (features, class scores).
    batches : DataIter
        `OrderedIter`: the `index` of a batch holds the places of its images in the list.
    devices : list of Context
    top_k : int
        At most c.
    source : str
        What computes the scores, for messages.

    Returns: (classes (n, top_k) int64, probabilities (n, top_k) float32), the most probable first, in the order of
    the list; class -1 and probability NaN for images that could not be read.

    Raises: DivergedError when a class score is NaN or infinite.
    """
    classes = np.full((batches.num_images, top_k), -1)
    probabilities = np.full((batches.num_images, top_k), np.nan, np.float32)
    with tqdm(total=batches.num_images, unit=" images", disable=None, file=sys.stderr) as bar:
        for batch in outputs(net, batches, devices, source):
            p = mx.nd.softmax(mx.nd.array(batch.logits)).asnumpy()
            ranked = np.argsort(-p, axis=1, kind="stable")[:, :top_k]
            classes[batch.index] = ranked
            probabilities[batch.index] = np.take_along_axis(p, ranked, axis=1)
            bar.update(len(p))
    return classes, probabilities


def predict_images(checkpoint, images, devices, top_k=None, image_shape=None, batch_size=None, threads=4, bad=None,
                   val_resize=None, dtype="float32"):
    """The most probable classes of the images of a list, prepared as for validation, straight from their files.

    Parameters
    ----------
    checkpoint : Checkpoint
    images : ImageList
        Its labels do not matter.
    devices : list of Context
    top_k : int or None
        None: five, or all classes where there are fewer.
    image_shape : (int, int, int) or None
        Channels, height, width of the network's input, in pixels; None: what the checkpoint says.
    batch_size : int or None
        Images computed at a time; None: see `good_batch_size`.
    threads : int
        That decode images.
    bad : list or None
        What is wrong with images that cannot be read is added to it; None: the first one raises.
    val_resize : int, "squeeze" or None
        What images are resized to first: see `iters.transforms.prepared`. None: what the checkpoint says for images of
        this size.
    dtype : "float32", "bfloat16", "float16" or "int8"
        What the network computes in. int8 is calibrated with some of the images, and the log tells what it changes.

    Returns: as `predict`.

    Raises: InputError for more classes than there are, for a network that cannot take such images, for images resized
    to less than it takes, and as `predict`.
    """
    shape = image_shape or checkpoint.image_shape
    prepare = prepared(*shape[1:], val_resize or resize_of(checkpoint.symbol, shape))
    net = ready_classifier(checkpoint, images, devices, shape, prepare, threads, dtype)
    classes = num_classes(checkpoint.symbol, shape, checkpoint.name)
    top_k = min(5, classes) if top_k is None else top_k
    if not 1 <= top_k <= classes:
        raise InputError(f"`top_k` is {top_k}, and {checkpoint.name} has {classes} classes; choose at most that many.",
                         "top_k", top_k, f"a number from 1 to {classes}")
    log.info("%d images of %d × %d pixels, %d classes", len(images), *shape[1:], classes)
    batch_size = batch_size or good_batch_size(net, shape, devices, len(images))
    batches = OrderedIter(images, batch_size, prepare, threads, bad=bad)
    return predict(net, batches, devices, top_k, checkpoint.name)


def write_predictions(path, files, classes, probabilities, names=None):
    """Write a CSV file, whole or not at all: path, label_1, probability_1, label_2, …; a line an image.

    `names` are those of the classes, None for their numbers. Images without prediction have empty fields.
    """
    ranks = range(1, classes.shape[1] + 1)
    with replacing(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["path", *(f"{what}_{rank}" for rank in ranks for what in ("label", "probability"))])
        for image, labels, ps in zip(files, classes.tolist(), probabilities.tolist()):
            fields = [(names[label] if names else label, f"{p:.6g}") if label >= 0 else ("", "")
                      for label, p in zip(labels, ps)]
            writer.writerow([image, *(field for pair in fields for field in pair)])
