"""The training loop."""
import contextlib
import copy
import math
import time
import zlib

from transfer_gluon.base.errors import InputError, Stopped
from transfer_gluon.base.framework import mx
from transfer_gluon.base.log import log
from transfer_gluon.distributed.stores import open_store
from transfer_gluon.training.after_epoch import Epoch, Say, Validation
from transfer_gluon.training.learner import Learner
from transfer_gluon.training.optimizers import create_optimizer
from transfer_gluon.training.progress import Progress
from transfer_gluon.training.run import Run
from transfer_gluon.training.summary import COLUMNS, EpochResult
from transfer_gluon.training.sums import Sums


def fit(net, objective, batches, devices, schedule, num_epochs, *, optimizer="sgd", momentum=None, wd=None,
        wd_on="weights", lr_mult=None, ema=0.0, kvstore="device", trainable=None, frozen_statistics="move",
        features_from=None, dtype="float32", before_epoch=(), before_forward=(), penalties=(), after_epoch=(),
        validation=None, top_k=1, null_label=9999, run=None, stop=None, seed=0, disp_batches=10, monitor=0):
    r"""Train a network.

    The optimizer sees, of a batch of B images on all D devices,

    .. math:: \frac{1}{B} \sum_{\text{devices}} \nabla L \; + \sum_{\text{penalties}} \nabla P

    with L the objective of one device's part. At the end of an epoch the moving statistics of batch normalisation are
    averaged over the devices, then validated and saved; training goes on with the averages.

    Afterwards the network and the objective stay on `devices`, hybridized. Which of their parameters learn and decay,
    and MXNet's random numbers, do not depend on the call.

    Parameters
    ----------
    net : HybridBlock
        From images to (features, logits); `TransferNet`.
    objective : HybridBlock
        From (features, logits, labels) to (objective, statistics); `TransferObjective`. Parameters of its own, such as
        those of a transfer loss, are initialised, trained, saved and resumed with the network's.
    batches : DataIter
        With `batch_size`, `batches_per_epoch`, `set_epoch` and `skip`; `ShuffledIter` or `DualIter`.
    devices : list of Context
        Each gets an equal part of every batch.
    schedule : LRScheduler
        Learning rate by number of updates; `StepSchedule`.
    num_epochs : int
        Epoch to stop after, counted from 1.
    optimizer, momentum, wd
        As MXNet has them: a name, or an object; see `create_optimizer`.
    wd_on : "weights" or "all"
        Which parameters decay: see `prepare`.
    lr_mult : dict of str to float, or None
        Factors of the learning rate, by prefixes of parameters' names that cut no number, such as ``{"fc_": 10}``.
    ema : float
        Decay of an exponential moving average of the network's parameters, from 0 to below 1; see `Average`. It is the
        average that is validated, that items after an epoch see, that checkpoints hold and that the network has
        afterwards; training goes on with the parameters themselves. 0: none.
    kvstore : str or Store
        How gradients of several devices are summed: ``device``, ``local`` or ``dist_…``; see `open_store`.
    trainable : sequence of str, or None
        Prefixes of the names of the network's parameters that learn; None: all learn. Layers below all that learn
        are computed forward only.
    frozen_statistics : "move", "still" or "inference"
        What the moving statistics of these layers do; see `frozen_below`.
    features_from : str or None
        A layer whose outputs all batches hold in the place of images, as those of `ShuffledFeatures`: only what lies
        above is computed and learns, and `trainable` is not given. Checkpoints are those of the whole network.
    dtype : "float32", "bfloat16" or "float16"
        What the network computes in, in training and validation; parameters, losses and what is sent to other devices
        are float32. float16 is for GPUs of one machine. See `symbols.precision`.
    before_epoch : sequence of callables
        Called with the `Learner` where an epoch begins, not where a run goes on in the middle of one: what they find
        out for the batches to come they `keep` in the objective.
    before_forward : sequence of callables
        What happens to a batch first: each turns (images, labels) of one device into others. What it draws by chance
        it draws from ``mx.random``, which is seeded for every batch: so a run that goes on draws the same.
    penalties : sequence of callables
        Each turns a dict of the values of all parameters that learn, by name, into a number P, an array of one element,
        by operators that MXNet differentiates. It is added to the mean objective.
    after_epoch : sequence of callables
        Called with the `Epoch`, behind the validation and before the log line and the checkpoint: they may judge the
        network, change it, and end the training. `training.after_epoch` says what else an item may have.
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
        A log line every so many batches, where there is no terminal; 0: neither that, nor a bar, nor a line an epoch.
    monitor : int
        Log the statistics of all parameters every so many batches; 0: never.

    Returns: list of `EpochResult`.

    Raises: DivergedError, with epoch, batch and last checkpoint, when the loss or a class score of the validation is no
    longer a number; Stopped when `stop` asked for the end, after the state was saved; InputError for an optimizer that
    does not work (see `create_optimizer`) and for batches that devices cannot share.
    """
    _check_batch(batches, len(devices), getattr(objective, "batch_multiple", 1))
    schedule = copy.deepcopy(schedule)      # MXNet's own count along
    run = run or Run()
    store = open_store(kvstore) if isinstance(kvstore, str) else kvstore
    transfer = getattr(objective, "transfer", objective) is not None
    items = [*([Validation(validation, top_k, null_label)] if validation is not None else []), *after_epoch,
             *([Say(top_k, transfer)] if disp_batches else [])]
    if not 0 <= ema < 1 or ema and store.asynchronous:
        raise InputError.of("ema", ema, "0 with asynchronous servers, whose workers have parameters of their own"
                            if 0 <= ema < 1 else "a number from 0 to below 1")
    if dtype == "float16" and store.num_workers > 1:
        raise InputError.of("dtype", dtype, "float32 or bfloat16 with several workers")
    if features_from and trainable is not None:
        raise InputError("`trainable` and `features_from` were both given, and each says what learns; expected one of "
                         "them.", "trainable", trainable, "None beside `features_from`")
    with contextlib.ExitStack() as stack:
        learner = stack.enter_context(Learner(net, objective, devices, trainable, frozen_statistics, lr_mult, wd_on,
                                              features_from, dtype))
        learner.fill_in(batches, before_forward)
        if ema:
            learner.average(ema)
        position = run.position
        position.updates = position.updates or position.epoch * batches.batches_per_epoch
        trainer = store.trainer(learner.learning, create_optimizer(optimizer, schedule, momentum, wd, position.updates,
                                                                   len(devices)))
        names = _names_of_statistics(objective)
        sums, results = Sums(**position.sums), []
        if store.rank:      # what was summed before is the first worker's; all have figures of the same names
            sums = Sums(others=dict.fromkeys(sums.others, 0.0))
        progress = Progress(num_epochs, batches.batches_per_epoch, batches.batch_size, disp_batches, transfer)
        stack.enter_context(own_random_numbers())
        stack.enter_context(run)
        run.restore(learner, trainer)
        mx.random.seed(_seed(seed, 0, "before"))
        for item in items:
            if hasattr(item, "begin"):
                with learner.averaged():
                    item.begin(learner, position, store)
        for number_of_epoch in range(position.epoch + 1, num_epochs + 1):
            if position.ended:
                log.info("the training has ended after epoch %d: %s%s", position.epoch, position.ended,
                         ". `load_epoch` goes on from it." if run.saves else "")
                break
            started = time.monotonic()
            if not position.batch:
                mx.random.seed(_seed(seed, number_of_epoch, "before"))
                for item in before_epoch:
                    item(learner)
            batches.set_epoch(number_of_epoch - 1)
            batches.skip(position.batch)
            with progress.epoch(number_of_epoch, position.batch):
                for number, batch in enumerate(batches, start=position.batch + 1):
                    where = f"epoch {number_of_epoch}, batch {number}; {run.last}"
                    mx.random.seed(_seed(seed, number_of_epoch, number))
                    statistics = learner.gradients(batch, before_forward, penalties)
                    learner.update(trainer, len(batch.data[0]) * store.workers_an_update)
                    sums.add(statistics, where, names)
                    position.batch, position.updates = number, position.updates + 1
                    learner.updated(position.updates)
                    progress.update(sums)
                    if monitor and number % monitor == 0:
                        _log_parameters(learner)
                    _save_or_stop(learner, trainer, store, sums, run, stop, number, where)
                sums.flush()
            # MXNet does not note that a backward pass writes moving statistics: whoever reads them would not wait.
            mx.nd.waitall()
            learner.check(f"epoch {number_of_epoch}; {run.last}")
            store.agree(learner.parameters, trainer)
            everywhere = sums.over_workers(store)
            result = EpochResult(number_of_epoch, position.updates, schedule(max(position.updates, 1)),
                                 everywhere.loss, everywhere.transfer_loss, everywhere.accuracy,
                                 others=everywhere.means)
            sums = sums.next_epoch()
            position.epoch, position.batch, position.sums = number_of_epoch, 0, sums.state()
            epoch = Epoch(result, learner, trainer, position, store, run.results(), time.monotonic() - started,
                          run.last)
            mx.random.seed(_seed(seed, number_of_epoch, "after"))
            with learner.averaged():
                for item in items:
                    item(epoch)
            position.ended = epoch.ends
            run.save_epoch(epoch)
            results.append(epoch.result)
            if store.anybody(stop and stop.name):
                raise _stopped(stop, run, store)
        learner.finish()
        for item in items if results else ():
            if hasattr(item, "end"):
                item.end(learner, run.results())
    return results


def _names_of_statistics(objective):
    names = tuple(getattr(objective, "statistics", ()))
    taken = set(COLUMNS).intersection(names[4:])
    if taken or len(set(names)) < len(names):
        raise InputError(f"the objective's statistics are {', '.join(names)}; expected each name once, and none that "
                         f"the summary of a run has: {', '.join(COLUMNS)}.", "statistics", names, "other names")
    return names


def _seed(*place):
    """Of what is drawn by chance at a place of a run."""
    return zlib.crc32(repr(place).encode())


def _save_or_stop(learner, trainer, store, sums, run, stop, number, where):
    """In the middle of an epoch: write the state where it is due, or where the end was asked for."""
    due = run.save_batches and number % run.save_batches == 0
    # All workers must end with the same batch. Asynchronous ones meet only where they save.
    asked = (due or not store.asynchronous) and store.anybody(stop and stop.name)
    if asked or due:
        mx.nd.waitall()
        learner.check(where)
        if store.num_workers > 1:   # alone, the state holds every device's own statistics
            store.agree(learner.parameters, trainer)
        run.position.sums = sums.over_workers(store).state()
        run.save_batch(learner, trainer)
    if asked:
        raise _stopped(stop, run, store)


def _stopped(stop, run, store):
    store.barrier()     # until the first worker has saved
    reason = stop and stop.name or "another worker was stopped"
    return Stopped(f"{reason}: {run.last}. The same command with `resume` goes on.")


def _check_batch(batches, num_devices, multiple):
    batch_size, laid_out_for = batches.batch_size, getattr(batches, "num_devices", num_devices)
    if laid_out_for != num_devices:
        raise InputError(f"batches are laid out for {laid_out_for} devices, and there are {num_devices}; expected "
                         "the same `num_devices`.", "num_devices", laid_out_for, f"{num_devices}")
    if batch_size % (num_devices * multiple):
        expected = f"a multiple of {num_devices * multiple}, which is {multiple} × the number of devices"
        raise InputError(f"batches of {batch_size} images on {num_devices} device{'s' * (num_devices > 1)}; expected "
                         f"{expected}.", "batch_size", batch_size, expected)


@contextlib.contextmanager
def own_random_numbers():
    """Have MXNet's random numbers afterwards depend on what they were before, whatever seeds are set inside."""
    seed = int(mx.nd.random.randint(0, 2**31 - 1, shape=(1,)).asscalar())
    try:
        yield
    finally:
        mx.random.seed(seed)


def _log_parameters(learner):
    for name, parameter in learner.parameters.items():
        value = parameter.list_data()[0]
        log.info("monitor %s: norm / sqrt(size) %.6g", name, value.norm().asscalar() / math.sqrt(value.size))
