"""A classifier of its own on features that are computed already: softmax, or one hidden layer and softmax."""
from collections import namedtuple

import numpy as np

from transfer_gluon.base.errors import InputError, does_nothing
from transfer_gluon.base.files import writable_folder
from transfer_gluon.base.framework import mx
from transfer_gluon.base.log import log
from transfer_gluon.inference.evaluate import evaluate
from transfer_gluon.iters.rows import RowIter
from transfer_gluon.symbols import TransferNet, TransferObjective
from transfer_gluon.symbols.bottleneck import BOTTLENECK
from transfer_gluon.symbols.new_layers import classifier_initializers
from transfer_gluon.training.labelled_features import check_together
from transfer_gluon.training.loop import fit, own_random_numbers
from transfer_gluon.training.options import ClassifierOptions
from transfer_gluon.training.run import Run
from transfer_gluon.training.schedule import StepSchedule

# The network on its device, `EpochResult`s of all its epochs, and the accuracy on the test part or NaN.
TrainedClassifier = namedtuple("TrainedClassifier", "net results test_accuracy")

_FEATURES = "features_"     # what the layer that takes features is called
_NO_NULL_LABEL = -1         # every number from 0 up is a class


def train_classifier(training, options=None, *, validation=None, test=None, prefix=None, resume=False,
                     overwrite=False, device=None, stop=None):
    r"""Train a classifier on features.

    Minimised, batch by batch, is the mean cross-entropy

    .. math:: \frac{1}{n} \sum_i -\log p_i[y_i] + \frac{\text{wd}}{2} \lVert W \rVert^2,
              \qquad p_i = \operatorname{softmax}(W x_i + b)

    with a hidden layer between the features x and W if there is to be one, whose weights decay too; biases do not. With
    SGD and Adam, whose weight decay MXNet adds to the gradient, wd = 1 / (C n) makes it what scikit-learn's
    ``LogisticRegression(C)`` minimises.

    Parameters
    ----------
    training : LabelledFeatures
        Classes are counted up to the largest label of all parts.
    options : ClassifierOptions or None
    validation, test : LabelledFeatures or None
        Judge the network after every epoch, and at the end.
    prefix : str, Path or None
        Where the `Run` is kept: the checkpoints of the last epoch and of the best by validation, and what `resume`
        needs. None: nothing is kept.
    resume, overwrite : bool
        As `Run` takes them.
    device : Context or None
        None: the CPU.
    stop : StopSignals or None

    Returns: `TrainedClassifier`: ``net``, a `TransferNet`, as it is after the last epoch; ``results`` and
    ``test_accuracy``.

    Raises: InputError for features that do not belong together, and for options that do nothing or cannot be; as `fit`.

    >>> from transfer_gluon.training.labelled_features import LabelledFeatures
    >>> rows = np.eye(3, dtype=np.float32)[np.arange(30) % 3]
    >>> features = LabelledFeatures("eye", rows, np.arange(30) % 3, np.empty((0, 30, 3)))
    >>> done = train_classifier(features, ClassifierOptions(epochs=20, lr=0.1, batch_size=10))
    >>> done.results[-1].accuracy, done.net(mx.nd.array(rows[:2]))[1].argmax(axis=1).asnumpy().tolist()
    (1.0, [0.0, 1.0])
    """
    options = options or ClassifierOptions()
    for name, why in idle(options).items():
        if name in options.changed():
            raise does_nothing(name, why, getattr(options, name))
    parts = [training, *(part for part in (validation, test) if part is not None)]
    for part in parts[1:]:
        check_together(training, part)
    num_classes = 1 + max(int(part.labels.max()) for part in parts)
    _tell_lacking(training, parts, num_classes)
    if prefix is not None:
        writable_folder(prefix, "prefix")
    settings = {**options.settings(), "num_classes": num_classes, "training": training.digest,
                "validation": None if validation is None else validation.digest}
    del settings["epochs"]
    record = Run(prefix, settings, resume=resume, overwrite=overwrite, keep=1)
    devices = [device or mx.cpu()]
    with own_random_numbers():
        mx.random.seed(options.seed)
        net = _network(record.checkpoint, options, training.values.shape[1], num_classes)
        if record.position.epoch < options.epochs:
            fit(net, TransferObjective(null_label=_NO_NULL_LABEL), _batches(training, options), devices,
                StepSchedule(options.lr), options.epochs, optimizer=options.optimizer, wd=options.wd,
                validation=validation and _in_order(validation), null_label=_NO_NULL_LABEL, run=record, stop=stop,
                seed=options.seed, disp_batches=1000)
        else:
            log.info("%s has %d epochs: nothing is left to train", prefix, record.position.epoch)
            net.initialize(ctx=devices)
            record.mend()
    accuracy = float("nan") if test is None else evaluate(net, _in_order(test), devices, source="the test",
                                                          null_label=_NO_NULL_LABEL)[0]
    return TrainedClassifier(net, record.results(), accuracy)


def idle(options):
    """The `ClassifierOptions` that do nothing beside others: a dict from their names to why."""
    return {name: why for applies, why, name in [
        (options.batches, "with `batches`, of which an epoch has that many", "batch_size"),
        (options.optimizer.lower() == "adadelta", "with `optimizer` adadelta, which knows no learning rate", "lr"),
    ] if applies}


def _network(checkpoint, options, num_features, num_classes):
    """The one to go on with, or a new one."""
    if checkpoint:
        return checkpoint.classifier(BOTTLENECK if options.hidden else f"{_FEATURES}flatten0", num_classes)
    net = TransferNet(mx.gluon.nn.Flatten(prefix=_FEATURES), num_classes, bottleneck=options.hidden or None)
    net.fc_weight.init, net.fc_bias.init = classifier_initializers(options.init, options.hidden or num_features)
    if options.hidden:
        net.bottleneck.weight.init, net.bottleneck.bias.init = classifier_initializers(options.init, num_features)
    return net


def _batches(training, options):
    size = None if options.batches else min(options.batch_size, len(training))
    return RowIter(training.values, training.labels, size, options.batches, options.shuffle, options.seed,
                   training.views)


def _in_order(part):
    return RowIter(part.values, part.labels, batch_size=1024, shuffle=False)


def _tell_lacking(training, parts, num_classes):
    lacking = np.flatnonzero(np.bincount(training.labels, minlength=num_classes) == 0)
    if len(lacking):
        more = f" and {len(lacking) - 10} more" if len(lacking) > 10 else ""
        log.warning("%s has no row of %d of %d classes, which cannot be learned: %s%s", training.path, len(lacking),
                    num_classes, ", ".join(map(str, lacking[:10])), more)


def stratified(labels, shares, seed=0):
    """Divide rows among parts by chance, so that each class, and all, are divided in the same shares.

    Parameters
    ----------
    labels : int array (n,)
    shares : sequence of int
        Per cent of each part, 100 together. All rows are divided so to the nearest below, the rest going to the first
        part; each class to one row more or less.
    seed : int

    Returns: list of int arrays, the places of each part's rows, rising.

    Raises: InputError where the first part, or another that has a share, would be empty.

    >>> labels = np.array([0, 1] * 5)
    >>> [np.bincount(labels[part]).tolist() for part in stratified(labels, (60, 20, 20))]
    [[3, 3], [1, 1], [1, 1]]
    """
    shares = tuple(shares)
    if sum(shares) != 100 or min(shares) < 0 or not shares[0]:
        raise InputError.of("split", shares, "per cent that train, validate and test, 100 together, such as 80, 10, 10")
    rest, left, parts = np.lexsort((np.random.default_rng(seed).random(len(labels)), labels)), 100, []
    for share in shares[:0:-1]:
        # Every so many rows of the classes one behind the other.
        steps = np.arange(len(rest) + 1) * share // left
        taken = np.diff(steps) > 0
        parts.append(np.sort(rest[taken]))
        rest, left = rest[~taken], left - share
    parts = [np.sort(rest), *parts[::-1]]
    for part, share in zip(parts, shares):
        if share and not len(part):
            raise InputError(f"`split` {', '.join(map(str, shares))} of {len(labels)} rows leaves none for the "
                             f"{share} %; give more, or other shares.", "split", shares, "some rows for each share")
    return parts
