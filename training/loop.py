"""The training loop: batches to gradients to parameters, on one device or several."""
import inspect
import math
import time
import zlib

from base.errors import InputError, Stopped
from base.framework import mx
from training.devices import to_devices
from training.evaluate import evaluate
from training.frozen import frozen_below
from training.progress import EpochProgress, log
from training.run import Run
from training.stores import open_store
from training.summary import EpochResult
from training.sums import Sums


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


def _fill_in(net, batches, devices):
    """Have parameters drawn whose shapes are known from the first images only: before batches seed what is drawn."""
    if all(parameter.shape and 0 not in parameter.shape for parameter in net.collect_params().values()):
        return
    shape = batches.provide_data[0].shape
    for device in devices:
        net(mx.nd.zeros((1, *shape[1:]), ctx=device))


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
        kvstore="device", trainable=None, validation=None, top_k=1, null_label=9999, run=None, stop=None, seed=0,
        disp_batches=10, monitor=0):
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
        With `batch_size`, `batches_per_epoch`, `set_epoch` and `skip`; `ShuffledIter` or `DualIter`.
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
    validation : DataIter or None
    top_k : int
        Validate top-k accuracy too.
    null_label : int
    run : Run or None
        Where training goes on and what it keeps; None: from the beginning, and nothing.
    stop : StopSignals or None
        Asked after every batch whether to end.
    seed : int
        Of what networks draw by chance (dropout), anew for every batch.
    disp_batches : int
        A log line every so many batches, where there is no terminal.
    monitor : int
        Log the statistics of all parameters every so many batches; 0: never.

    Returns: list of `EpochResult`.

    Raises: DivergedError, with epoch, batch and last checkpoint, when the loss is no longer a number; Stopped
    when `stop` asked for the end, after the state was saved.
    """
    run = run or Run()
    store = open_store(kvstore) if isinstance(kvstore, str) else kvstore
    learning = prepare(net, devices, trainable)
    _fill_in(net, batches, devices)
    forward = net if trainable is None else frozen_below(net, learning)
    objective.hybridize(static_alloc=True, static_shape=True)
    position = run.position
    position.updates = position.updates or position.epoch * batches.batches_per_epoch
    trainer = store.trainer(learning, create_optimizer(optimizer, schedule, momentum, wd, position.updates))
    whole_batch = batches.batch_size * store.workers_an_update
    sums, results = Sums(**position.sums) if store.rank == 0 else Sums(), []

    with run:
        run.restore(net, trainer)
        for epoch in range(position.epoch + 1, num_epochs + 1):
            started = time.monotonic()
            batches.set_epoch(epoch - 1)
            batches.skip(position.batch)
            with EpochProgress(epoch, batches.batches_per_epoch, batches.batch_size, position.batch,
                               disp_batches) as progress:
                for number, batch in enumerate(batches, start=position.batch + 1):
                    mx.random.seed(zlib.crc32(repr((seed, epoch, number)).encode()))
                    statistics = _forward_backward(forward, objective, batch, devices)
                    trainer.step(whole_batch)
                    sums.add(statistics, f"epoch {epoch}, batch {number}; {run.last}")
                    position.batch, position.updates = number, position.updates + 1
                    progress.update(str(sums))
                    if monitor and number % monitor == 0:
                        _log_parameters(net)
                    due = run.save_batches and number % run.save_batches == 0
                    # All workers must end with the same batch. Asynchronous ones meet only where they save.
                    asked = (due or not store.asynchronous) and store.anybody(stop and stop.name)
                    if asked or due:
                        mx.nd.waitall()
                        store.agree(net, trainer)
                        position.sums = sums.over_workers(store).state()
                        run.save_batch(net, trainer, position)
                    if asked:
                        raise _stopped(stop, run, store)
                sums.flush()
            # MXNet does not note that a backward pass writes moving statistics: whoever reads them would not wait.
            mx.nd.waitall()
            store.agree(net, trainer)
            accuracies = (float("nan"),) * 2
            if validation is not None:
                accuracies = evaluate(lambda images: net(images)[1], validation, devices, top_k, null_label, store)
            everywhere = sums.over_workers(store)
            result = EpochResult(epoch, position.updates, schedule(max(position.updates, 1)), everywhere.loss,
                                 everywhere.transfer_loss, everywhere.accuracy, *accuracies)
            results.append(result)
            log.info("%s, %.1f s", _in_words(result, top_k), time.monotonic() - started)
            sums = sums.next_epoch()
            position.epoch, position.batch, position.sums = epoch, 0, sums.state()
            run.save_epoch(net, trainer, position, result)
            if store.anybody(stop and stop.name):
                raise _stopped(stop, run, store)
    return results


def _stopped(stop, run, store):
    store.barrier()     # until the first worker has saved
    reason = stop and stop.name or "another worker was stopped"
    return Stopped(f"{reason}: {run.last}. The same command with --resume goes on.")


def _forward_backward(forward, objective, batch, devices):
    images, labels = to_devices(batch.data[0], devices), to_devices(batch.label[0], devices)
    with mx.autograd.record():
        outputs = [objective(*forward(x), y) for x, y in zip(images, labels)]
    mx.autograd.backward([loss for loss, _ in outputs])
    return [statistics for _, statistics in outputs]


def _in_words(result, top_k):
    text = (f"epoch {result.epoch}: loss {result.loss:.4f}, transfer {result.transfer_loss:+.4f}, "
            f"accuracy {result.accuracy:.2%}, learning rate {result.learning_rate:g}")
    if not math.isnan(result.validation_accuracy):
        text += f", validation accuracy {result.validation_accuracy:.2%}"
        if top_k > 1:
            text += f", top-{top_k} {result.validation_top_k:.2%}"
    return text


def _log_parameters(net):
    for name, parameter in net.collect_params().items():
        value = parameter.list_data()[0]
        log.info("monitor %s: norm / sqrt(size) %.6g", name, value.norm().asscalar() / math.sqrt(value.size))
