"""The training loop: batches to gradients to parameters, on one device or several."""
import contextlib
import inspect
import math
import time
import zlib

import numpy as np

from transfer_gluon.base.devices import to_devices
from transfer_gluon.base.errors import DivergedError, InputError, Stopped, first_ten
from transfer_gluon.base.framework import mx
from transfer_gluon.base.log import log
from transfer_gluon.distributed.stores import open_store
from transfer_gluon.inference.evaluate import evaluate
from transfer_gluon.symbols.frozen import frozen_below
from transfer_gluon.training.progress import EpochProgress
from transfer_gluon.training.run import Run
from transfer_gluon.training.summary import EpochResult
from transfer_gluon.training.sums import Sums


def prepare(net, devices, trainable=None):
    """Put a network on its devices and settle which parameters learn, and which decay.

    Weight decay acts on names that end in ``_weight`` or ``_gamma``, times the parameter's ``wd_mult``, and on others
    only where their ``wd_mult`` says so by a number other than Gluon's 1. With `trainable`, only parameters learn whose
    names start with one of these prefixes.

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
        if parameter.wd_mult == 1 and not name.endswith(("_weight", "_gamma")):
            parameter.wd_mult = 0.0
    return learning


@contextlib.contextmanager
def _lent(net):
    """Have the parameters learn and decay afterwards as they did before."""
    before = [(parameter, parameter.grad_req, parameter.wd_mult) for parameter in net.collect_params().values()]
    try:
        yield
    finally:
        for parameter, grad_req, wd_mult in before:
            parameter.grad_req, parameter.wd_mult = grad_req, wd_mult


@contextlib.contextmanager
def _own_random_numbers():
    """Have MXNet's random numbers afterwards depend on what they were before, whatever seeds are set inside."""
    seed = int(mx.nd.random.randint(0, 2**31 - 1, shape=(1,)).asscalar())
    try:
        yield
    finally:
        mx.random.seed(seed)


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


# What MXNet registers and the loop cannot use, and why.
_UNUSABLE = {"groupadagrad": "takes matrices only, and biases are none",
             "test": "is for MXNet's own tests and knows no learning rate"}
_ONE_DEVICE = {"nadam": "counts its momentum along once a device and parameter",
               "sgld": "adds other noise on every device"}


def takes_momentum(name):
    """Whether an optimizer of MXNet has a momentum, by its name; one that it does not know has none.

    >>> takes_momentum("sgd"), takes_momentum("adam")
    (True, False)
    """
    kind = mx.optimizer.Optimizer.opt_registry.get(name.lower())
    return kind is not None and "momentum" in inspect.signature(kind.__init__).parameters


def create_optimizer(name, schedule, momentum=0.9, wd=0.0, first_update=0, num_devices=1):
    """An optimizer of MXNet by its name.

    Raises: InputError for a name that MXNet does not know, for one that does not work here, on several devices or with
    momentum, and for a momentum or weight decay that is none.
    """
    registry, name = mx.optimizer.Optimizer.opt_registry, name.lower()
    usable = ", ".join(sorted(registry.keys() - _UNUSABLE.keys() - (_ONE_DEVICE.keys() if num_devices > 1 else set())))
    if name not in registry:
        raise InputError(f"--optimizer is {name!r}; MXNet knows {usable}.")
    why = _UNUSABLE.get(name) or num_devices > 1 and _ONE_DEVICE.get(name)
    if why:
        where = f" on {num_devices} devices" if name in _ONE_DEVICE else ""
        raise InputError(f"--optimizer is {name!r}, which does not work{where}: it {why}. Choose one of {usable}.")
    if not 0 <= momentum <= 1:
        raise InputError(f"--mom is {momentum}; expected a number from 0 to 1.")
    if not 0 <= wd < 1e38:
        raise InputError(f"--wd is {wd}; expected a number from 0 up that float32 holds, below 1e38.")
    if name == "dcasgd" and momentum:
        raise InputError(f"--optimizer is 'dcasgd', which fails in MXNet with momentum, and --mom is {momentum}; "
                         f"give --mom 0, or choose one of {usable}.")
    if name == "adamax" and not wd:
        raise InputError("--optimizer is 'adamax', which in MXNet makes NaN of parameters without gradient, such as "
                         f"fixed gammas, that do not decay, and --wd is 0; give a --wd, or choose one of {usable}.")
    # Any rate but the schedule's own base would replace that, with a warning on standard output.
    return mx.optimizer.create(name, learning_rate=schedule.base_lr, lr_scheduler=schedule, wd=wd,
                               begin_num_update=first_update,
                               **({"momentum": momentum} if takes_momentum(name) else {}))


def fit(net, objective, batches, devices, schedule, num_epochs, *, optimizer="sgd", momentum=0.9, wd=0.0,
        kvstore="device", trainable=None, frozen_statistics="move", validation=None, top_k=1, null_label=9999,
        run=None, stop=None, seed=0, disp_batches=10, monitor=0):
    r"""Train a network.

    The optimizer sees, of a batch of B images on all devices,

    .. math:: \frac{1}{B} \sum_{\text{devices}} \nabla L

    with L the objective of one device's part. At the end of an epoch the moving statistics of batch normalisation are
    averaged over the devices, then validated and saved; training goes on with the averages.

    Afterwards the network stays on `devices`, hybridized. Which of its parameters learn and decay, and MXNet's random
    numbers, do not depend on the call.

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
    frozen_statistics : "move" or "still"
        What the moving statistics of these layers do; see `frozen_below`.
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

    Raises: DivergedError, with epoch, batch and last checkpoint, when the loss or a class score of the validation is no
    longer a number; Stopped when `stop` asked for the end, after the state was saved; InputError for an optimizer that
    does not work (see `create_optimizer`) and for batches that devices cannot share.
    """
    _check_batch(batches.batch_size, len(devices), getattr(objective, "batch_multiple", 1))
    run = run or Run()
    store = open_store(kvstore) if isinstance(kvstore, str) else kvstore
    with contextlib.ExitStack() as stack:
        stack.enter_context(_lent(net))
        learning = prepare(net, devices, trainable)
        _fill_in(net, batches, devices)
        forward = net if trainable is None else frozen_below(net, learning, frozen_statistics)
        objective.hybridize(static_alloc=True, static_shape=True)
        position = run.position
        position.updates = position.updates or position.epoch * batches.batches_per_epoch
        trainer = store.trainer(learning, create_optimizer(optimizer, schedule, momentum, wd, position.updates,
                                                           len(devices)))
        whole_batch = batches.batch_size * store.workers_an_update
        sums, results = Sums(**position.sums) if store.rank == 0 else Sums(), []
        stack.enter_context(_own_random_numbers())
        stack.enter_context(run)
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
                        _check_parameters(net, f"epoch {epoch}, batch {number}; {run.last}")
                        if store.num_workers > 1:   # alone, the state holds every device's own statistics
                            store.agree(net, trainer)
                        position.sums = sums.over_workers(store).state()
                        run.save_batch(net, trainer, position)
                    if asked:
                        raise _stopped(stop, run, store)
                sums.flush()
            # MXNet does not note that a backward pass writes moving statistics: whoever reads them would not wait.
            mx.nd.waitall()
            _check_parameters(net, f"epoch {epoch}; {run.last}")
            store.agree(net, trainer)
            accuracies = (float("nan"),) * 2
            if validation is not None:
                accuracies = evaluate(lambda images: net(images)[1], validation, devices, top_k, null_label, store,
                                      f"epoch {epoch}, validation; {run.last}")
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


def _check_batch(batch_size, num_devices, multiple):
    if batch_size % (num_devices * multiple):
        raise InputError(f"batches of {batch_size} images on {num_devices} device{'s' * (num_devices > 1)}; expected a "
                         f"multiple of {num_devices * multiple}, which is {multiple} × the number of devices.")


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


def _check_parameters(net, where):
    """The loss of a batch tells nothing of the update behind it: what is no number must not take the place of what was
    saved before."""
    broken = [name for name, parameter in net.collect_params().items()
              if not np.isfinite(parameter.list_data()[0].asnumpy()).all()]
    if broken:
        raise DivergedError(f"{len(broken)} parameters are NaN or infinite after {where}. A smaller --lr usually "
                            f"helps. They are{first_ten(broken)}")


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
