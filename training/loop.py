"""The training loop: batches to gradients to parameters, on one device or several."""
import collections
import inspect
import math
import time
from dataclasses import dataclass

from base.errors import DivergedError, InputError
from base.framework import mx
from training.evaluate import evaluate
from training.frozen import frozen_below
from training.progress import EpochProgress, log
from training.stores import open_store


@dataclass(frozen=True)
class EpochResult:
    """What an epoch came to: means over its labelled images or its batches; accuracies from 0 to 1."""

    epoch: int
    updates: int
    learning_rate: float
    loss: float
    transfer_loss: float
    accuracy: float
    validation_accuracy: float
    validation_top_k: float
    seconds: float


def prepare(net, devices, trainable=None):
    """Put a network on its devices and settle which parameters learn, and which decay.

    Weight decay acts on names that end in ``_weight`` or ``_gamma`` only. With `trainable`, only parameters
    learn whose names start with one of these prefixes; moving statistics of batch normalisation move everywhere.

    Returns: dict of str to Parameter, the ones that learn. Raises: InputError when none is left.
    """
    parameters = net.collect_params()
    for parameter in parameters.values():
        _put(parameter, devices)
    net.hybridize(static_alloc=True, static_shape=True)
    learning = {name: parameter for name, parameter in parameters.items() if parameter.grad_req != "null"}
    if trainable is not None:
        whole = len(learning)
        for name in [name for name in learning if not name.startswith(tuple(trainable))]:
            learning.pop(name).grad_req = "null"
        log.info("training %d of %d parameters", len(learning), whole)
        if not learning:
            raise InputError(f"nothing is left to train: no parameter starts with {', '.join(trainable)}.")
    for name, parameter in learning.items():
        parameter.wd_mult = float(name.endswith(("_weight", "_gamma")))
    return learning


def _put(parameter, devices):
    try:
        parameter.list_ctx()
    except RuntimeError:        # not initialised yet
        parameter.initialize(default_init=mx.init.Xavier("gaussian", "in", 2), ctx=devices)
    else:
        parameter.reset_ctx(devices)


def create_optimizer(name, schedule, momentum=0.9, wd=0.0, first_update=0):
    """An optimizer of MXNet by its name. Raises: InputError for a name that MXNet does not know."""
    if name.lower() not in mx.optimizer.Optimizer.opt_registry:
        known = ", ".join(sorted(mx.optimizer.Optimizer.opt_registry))
        raise InputError(f"--optimizer is {name!r}; MXNet knows {known}.")
    kind = mx.optimizer.Optimizer.opt_registry[name.lower()]
    takes_momentum = "momentum" in inspect.signature(kind.__init__).parameters
    return mx.optimizer.create(name, learning_rate=schedule(first_update + 1), lr_scheduler=schedule, wd=wd,
                               begin_num_update=first_update, **({"momentum": momentum} if takes_momentum else {}))


def fit(net, objective, batches, devices, schedule, num_epochs, *, optimizer="sgd", momentum=0.9, wd=0.0,
        kvstore="device", trainable=None, first_epoch=0, validation=None, top_k=1, null_label=9999, save=None,
        on_epoch=None, disp_batches=10, monitor=0):
    r"""Train a network.

    The optimizer sees, of a batch of B images on all devices,

    .. math:: \frac{1}{B} \sum_{\text{devices}} \nabla L

    with L the objective of one device's part.

    Parameters
    ----------
    net : HybridBlock
        From images to (features, logits); `TransferNet`.
    objective : HybridBlock
        From (features, logits, labels) to (objective, statistics); `TransferObjective`.
    batches : DataIter
        With `batch_size`, `batches_per_epoch` and `set_epoch`; `RecordIter` or `DualIter`.
    devices : list of Context
        Each gets an equal part of every batch.
    schedule : LRScheduler
        Learning rate by number of updates; `StepSchedule`.
    num_epochs : int
        Epoch to stop after, counted from 1.
    optimizer, momentum, wd
        As MXNet has them. Which parameters decay: see `prepare`.
    kvstore : str or Store
        How gradients of several devices are summed: ``device``, ``local`` or ``dist_…``; see `open_store`.
    trainable : sequence of str, or None
        Prefixes of the names of the parameters that learn; None: all learn. Layers below all that learn
        are computed forward only.
    first_epoch : int
        Epochs already done; the schedule goes on from there.
    validation : DataIter or None
    top_k : int
        Validate top-k accuracy too.
    null_label : int
    save : callable or None
        Called with the epoch, from 1, after each; writes the checkpoint and returns its name.
    on_epoch : callable or None
        Called with the `EpochResult` after each epoch.
    disp_batches : int
        A log line every so many batches, where there is no terminal.
    monitor : int
        Log the statistics of all parameters every so many batches; 0: never.

    Returns: list of `EpochResult`.

    Raises: DivergedError, with epoch, batch and last checkpoint, when the loss is no longer a number.
    """
    learning = prepare(net, devices, trainable)
    forward = net if trainable is None else frozen_below(net, learning)
    objective.hybridize(static_alloc=True, static_shape=True)
    updates = first_epoch * batches.batches_per_epoch
    store = open_store(kvstore) if isinstance(kvstore, str) else kvstore
    trainer = mx.gluon.Trainer(
        learning, create_optimizer(optimizer, schedule, momentum, wd, updates), kvstore=store.store,
        # Gradients are summed in the store and applied here: a parameter server would have to unpickle our schedule.
        update_on_kvstore=False)
    whole_batch = batches.batch_size * store.num_workers
    recent = collections.deque(maxlen=100)
    results, checkpoint = [], None

    for epoch in range(first_epoch + 1, num_epochs + 1):
        started = time.monotonic()
        batches.set_epoch(epoch - 1)
        sums = _Sums(epoch, recent, checkpoint)
        with EpochProgress(epoch, batches.batches_per_epoch, batches.batch_size, disp_batches) as progress:
            for number, batch in enumerate(batches, start=1):
                statistics = _forward_backward(forward, objective, batch, devices)
                trainer.step(whole_batch)
                updates += 1
                sums.add(number, statistics)
                progress.update(sums.text())
                if monitor and number % monitor == 0:
                    _log_parameters(net)
            sums.flush()
        accuracies = (float("nan"),) * 2
        if validation is not None:
            accuracies = evaluate(lambda images: net(images)[1], validation, devices, top_k, null_label)
        result = EpochResult(epoch, updates, schedule(max(updates, 1)), sums.loss, sums.transfer_loss, sums.accuracy,
                             *accuracies, time.monotonic() - started)
        results.append(result)
        log.info("%s", _summary(result, top_k))
        if save is not None:
            checkpoint = save(epoch)
            log.info("saved %s", checkpoint)
        if on_epoch is not None:
            on_epoch(result)
    return results


def _forward_backward(forward, objective, batch, devices):
    images = mx.gluon.utils.split_and_load(batch.data[0], devices)
    labels = mx.gluon.utils.split_and_load(batch.label[0], devices)
    with mx.autograd.record():
        outputs = [objective(*forward(x), y) for x, y in zip(images, labels)]
    mx.autograd.backward([loss for loss, _ in outputs])
    return [statistics for _, statistics in outputs]


class _Sums:
    """The running figures of an epoch.

    A batch's figures are fetched when the next batch is already queued, so that the devices never wait.
    """

    def __init__(self, epoch, recent, checkpoint):
        self._epoch, self._recent, self._checkpoint = epoch, recent, checkpoint
        self._pending = None
        self._softmax = self._correct = self._labelled = self._transfer = 0.0
        self._batches = 0

    def add(self, number, statistics):
        self.flush()
        self._pending = number, statistics

    def flush(self):
        if self._pending is None:
            return
        number, statistics = self._pending
        self._pending = None
        softmax, transfer, correct, labelled = sum(part.asnumpy().astype("float64") for part in statistics)
        transfer /= len(statistics)
        if not math.isfinite(softmax + transfer):
            last = (f"the last good checkpoint is {self._checkpoint}" if self._checkpoint
                    else "no checkpoint was written in this run")
            raise DivergedError(
                f"the loss is {softmax + transfer} in epoch {self._epoch}, batch {number}; {last}. "
                "A smaller --lr usually helps; so does looking at the images with --rgb-mean and the augmentation off.")
        self._softmax += softmax
        self._transfer += transfer
        self._correct += correct
        self._labelled += labelled
        self._batches += 1
        self._recent.append(transfer)

    @property
    def loss(self):
        return self._softmax / self._labelled if self._labelled else float("nan")

    @property
    def accuracy(self):
        return self._correct / self._labelled if self._labelled else float("nan")

    @property
    def transfer_loss(self):
        return self._transfer / self._batches if self._batches else float("nan")

    def text(self):
        recent = sum(self._recent) / len(self._recent) if self._recent else float("nan")
        return f"loss {self.loss:.4f}, transfer {recent:+.4f}, accuracy {self.accuracy:.2%}"


def _summary(result, top_k):
    text = (f"epoch {result.epoch}: loss {result.loss:.4f}, transfer {result.transfer_loss:+.4f}, "
            f"accuracy {result.accuracy:.2%}, learning rate {result.learning_rate:g}, {result.seconds:.1f} s")
    if not math.isnan(result.validation_accuracy):
        text += f", validation accuracy {result.validation_accuracy:.2%}"
        if top_k > 1:
            text += f", top-{top_k} {result.validation_top_k:.2%}"
    return text


def _log_parameters(net):
    for name, parameter in net.collect_params().items():
        value = parameter.list_data()[0]
        log.info("monitor %s: norm / sqrt(size) %.6g", name, value.norm().asscalar() / math.sqrt(value.size))
