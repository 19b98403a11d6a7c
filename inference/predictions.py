"""What a trained network says about images without labels, and the file it goes to."""
import csv
import sys

import numpy as np
from tqdm import tqdm

from transfer_gluon.base.devices import to_devices
from transfer_gluon.base.files import replacing
from transfer_gluon.base.framework import mx
from transfer_gluon.inference.evaluate import check_finite


def predict(scores, batches, device, top_k, source="the network"):
    r"""The most probable classes of images.

    .. math:: p = \operatorname{softmax}(\text{scores})

    Parameters
    ----------
    scores : callable
        From images (b, channels, height, width) to class scores (b, c).
    batches : DataIter
        `OrderedIter`: the `index` of a batch holds the places of its images in the list.
    device : Context
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
        for batch in batches:
            values = scores(*to_devices(batch.data[0], [device]))
            p = mx.nd.softmax(values).asnumpy()
            check_finite(values.asnumpy(), source)
            ranked = np.argsort(-p, axis=1, kind="stable")[:, :top_k]
            classes[list(batch.index)] = ranked
            probabilities[list(batch.index)] = np.take_along_axis(p, ranked, axis=1)
            bar.update(len(p))
    return classes, probabilities


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
