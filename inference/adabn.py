"""Adaptive batch normalisation: a network's statistics, taken from the target domain.

Li et al. 2016, *Revisiting Batch Normalization For Practical Domain Adaptation*.
"""
import functools
from dataclasses import dataclass, replace

import numpy as np

from transfer_gluon.base.errors import InputError
from transfer_gluon.base.framework import mx
from transfer_gluon.checkpoints.checkpoint import Checkpoint
from transfer_gluon.inference.batch_size import good_batch_size
from transfer_gluon.inference.classifier import check_labels, classifier, inference_block, num_classes
from transfer_gluon.inference.evaluate import evaluate
from transfer_gluon.inference.outputs import outputs
from transfer_gluon.iters import OrderedIter
from transfer_gluon.iters.transforms import prepared, square_centre_crop
from transfer_gluon.symbols import resize_of
from transfer_gluon.symbols.graph import Graph


class RunningMoments:
    """Mean and variance of rows that arrive in blocks, in float64 (Chan et al. 1979, *Updating Formulae
    and a Pairwise Algorithm for Computing Sample Variances*): memory for one row.

    >>> moments = RunningMoments()
    >>> moments.add(np.array([[1.0], [2.0]])); moments.add(np.array([[6.0]]))
    >>> moments.mean.tolist(), moments.variance.round(3).tolist()
    ([3.0], [4.667])
    """

    def __init__(self):
        self.count, self.mean, self._squares = 0, 0.0, 0.0

    def add(self, rows):
        """Take in a block (n, c)."""
        rows = rows.astype(np.float64)
        n, mean = len(rows), rows.mean(axis=0)
        step = mean - self.mean
        total = self.count + n
        self._squares = self._squares + ((rows - mean) ** 2).sum(axis=0) + step**2 * (self.count * n / total)
        self.mean = self.mean + step * (n / total)
        self.count = total

    @property
    def variance(self):
        """Of the rows, dividing by their number."""
        return self._squares / self.count


def adapt(checkpoint, batches, devices, layers=None, statistics="image", dtype="float32"):
    r"""Give batch normalisation layers the statistics of a domain.

    With h the input of a layer, at image i, channel c and pixel q, and :math:`\bar h_{ic}` its mean over
    pixels, all computed with the statistics of the checkpoint everywhere:

    .. math::
        \mu_c = \operatorname{mean}_i \bar h_{ic}, \qquad
        \sigma_c^2 = \operatorname{var}_i \bar h_{ic}
        \;\; \left[ + \operatorname{mean}_i \operatorname{var}_q h_{icq} \right]

    The term in brackets belongs to ``statistics="pixel"``, which is what batch normalisation itself would
    measure; without it, as the original has it, the spread inside an image is left out.

    Parameters
    ----------
    checkpoint : Checkpoint
    batches : DataIter
        Images of the target domain, one epoch.
    devices : list of Context
    layers : sequence of str, "all", or None
        None: the network's last two, as the original has it (``stage4_unit3_bn3`` and ``bn1`` of the
        published ResNets).
    statistics : "image" or "pixel"
    dtype : "float32", "bfloat16" or "float16"
        What the network computes in; statistics are float32.

    Returns: (adapted Checkpoint, classes (n,) predicted before adaptation).

    Raises: InputError for a layer that does not exist, or another word; DivergedError when a class score is NaN or
    infinite.
    """
    if statistics not in ("image", "pixel"):
        raise InputError.of("statistics", statistics, "'image' or 'pixel'")
    graph = Graph.of(checkpoint.symbol)
    norms = _chosen({norm.name: norm for norm in graph.batch_norms()}, layers, checkpoint.name)
    scores, *entering = graph.outputs([graph.logits(), *(norm.input for norm in norms)])
    measured = [value for h in entering for value in _mean_and_variance(h)]
    net = inference_block(mx.sym.Group([*measured, scores]), checkpoint, devices, dtype=dtype)

    moments = [RunningMoments() for _ in measured]
    predictions = []
    for batch in outputs(lambda images: _last_apart(net(images)), batches, devices, checkpoint.name):
        for running, rows in zip(moments, batch.features):
            running.add(rows)
        predictions.append(batch.logits.argmax(axis=1))
    if not predictions:
        raise InputError("there is no image to adapt to.", "batches", batches, "at least one image")

    adapted = dict(checkpoint.aux_params)
    for norm, mean, within in zip(norms, moments[0::2], moments[1::2]):
        variance = mean.variance + (within.mean if statistics == "pixel" else 0)
        adapted[norm.moving_mean] = mx.nd.array(mean.mean)
        adapted[norm.moving_var] = mx.nd.array(variance)
    return replace(checkpoint, aux_params=adapted), np.concatenate(predictions)


def _chosen(norms, layers, name):
    if layers is None or layers == "all":
        layers = list(norms) if layers else list(norms)[-2:]
    layers = [layers] if isinstance(layers, str) else list(layers)
    unknown = [layer for layer in layers if layer not in norms]
    if unknown or not layers:
        raise InputError(f"`layers`: {name} has no batch normalisation layer {', '.join(unknown) or 'at all'}; it has "
                         f"{' '.join(norms) or 'none'}.", "layers", layers, "names of batch normalisation layers")
    return [norms[layer] for layer in layers]


def _mean_and_variance(h):
    """Of every image and channel, over the pixels: (b, c) each."""
    pixels = mx.sym.reshape(h, shape=(0, 0, -1))
    mean = mx.sym.mean(pixels, axis=2)
    return mean, mx.sym.mean(mx.sym.square(mx.sym.broadcast_sub(pixels, mx.sym.expand_dims(mean, axis=2))), axis=2)


def _last_apart(values):
    *features, logits = values
    return features, logits


@dataclass(frozen=True)
class Adaptation:
    """A network, adapted to images.

    Attributes
    ----------
    checkpoint : Checkpoint
    before, after : float
        Accuracy of the labelled images, from 0 to 1, before and after adaptation; NaN without any.
    num_labelled : int
        How many images have a label.
    """

    checkpoint: Checkpoint
    before: float
    after: float
    num_labelled: int


def adapt_to_images(checkpoint, images, devices, layers=None, statistics="image", image_shape=None,
                    batch_size=None, threads=4, val_resize=None, dtype="float32"):
    """Adapt a network to the images of a list, and judge it by those that have a label, before and after.

    Images are prepared as the original did for this, see `square_centre_crop`; or, where the checkpoint or
    `val_resize` says what they are resized to, as for validation.

    Parameters
    ----------
    checkpoint : Checkpoint
    images : ImageList
        All give the statistics.
    devices, layers, statistics, dtype
        See `adapt`.
    image_shape : (int, int, int) or None
        Channels, height, width of the network's input, in pixels; None: what the checkpoint says.
    batch_size : int or None
        Images computed at a time; None: see `good_batch_size`.
    threads : int
        That decode images.
    val_resize : int, "squeeze" or None
        What images are resized to first: see `iters.transforms.prepared`. None: what the checkpoint says for images of
        this size.

    Returns: `Adaptation`.

    Raises: InputError for labels beyond the classes of the network, images that cannot be read or are resized to less
    than the network takes, and as `adapt`.
    """
    shape = image_shape or checkpoint.image_shape
    resize = val_resize or resize_of(checkpoint.symbol, shape)
    prepare = prepared(*shape[1:], resize) if resize else square_centre_crop(*shape[1:])
    classes = num_classes(checkpoint.symbol, shape, checkpoint.name)
    known = images.labelled
    check_labels(images, classes, checkpoint.name)
    tried = functools.cache(lambda: classifier(checkpoint, devices, shape, dtype))      # made for a trial only
    batch_size = batch_size or good_batch_size(lambda images: tried()(images), shape, devices, len(images))
    batches = OrderedIter(images, batch_size, prepare, threads)
    adapted, classes_before = adapt(checkpoint, batches, devices, layers, statistics, dtype)
    before = (classes_before == images.labels)[known].mean() if known.any() else float("nan")
    after, _ = evaluate(classifier(adapted, devices, dtype=dtype), batches, devices, null_label=images.null_label,
                        source=checkpoint.name)
    return Adaptation(adapted, float(before), after, int(known.sum()))
