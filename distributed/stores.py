"""How gradients of several devices, and of several machines, are summed."""
import atexit
import hashlib
import json
import os
from dataclasses import dataclass, field

import numpy as np

from transfer_gluon.base.devices import MOVING, mean_over_devices
from transfer_gluon.base.errors import InputError
from transfer_gluon.base.framework import mx
from transfer_gluon.base.watchdog import progress, waiting
from transfer_gluon.distributed import STORES
from transfer_gluon.distributed.heartbeat import SCHEDULER, end_with, patience

# Keys from here up hold figures; those below are Gluon's, which numbers its parameters from 0.
FIGURES = 2**30



@dataclass(frozen=True)
class Store:
    """A kvstore, opened: what `gluon.Trainer` takes, and this process's place among the workers.

    Attributes
    ----------
    store : str or KVStore
    num_workers, rank : int
    """

    store: object
    num_workers: int = 1
    rank: int = 0
    _sent: dict = field(default_factory=dict, repr=False, compare=False)

    @property
    def asynchronous(self):
        """Whether workers go on without waiting for each other, and the servers update the parameters."""
        return "async" in getattr(self.store, "type", "")

    @property
    def workers_an_update(self):
        """How many workers' gradients one update takes."""
        return 1 if self.asynchronous else self.num_workers

    def trainer(self, parameters, optimizer):
        """A `gluon.Trainer` that sums gradients in this store, or in an asynchronous one has them applied there.

        Parameters
        ----------
        parameters : dict of str to Parameter
        optimizer : Optimizer
        """
        if self.asynchronous:
            # It leaves without the parameters, which know how fast they learn and decay, and counts the updates
            # of all workers.
            ordered = list(enumerate(parameters[name] for name in sorted(parameters)))
            optimizer.set_lr_mult({index: parameter.lr_mult for index, parameter in ordered})
            optimizer.set_wd_mult({index: parameter.wd_mult for index, parameter in ordered})
            optimizer.lr_scheduler = Shared(optimizer.lr_scheduler, self.num_workers)
            optimizer.begin_num_update = optimizer.num_update = optimizer.begin_num_update * self.num_workers
        return _Trainer(parameters, optimizer, kvstore=self.store, update_on_kvstore=self.asynchronous)

    def agree(self, parameters, trainer):
        """Make `parameters` (dict of str to Parameter) the same on all devices of all workers: those of asynchronous
        servers, and the mean of the moving statistics of batch normalisation, of which every device of every worker has
        its own."""
        if self.num_workers > 1:
            self.barrier()
        if self.asynchronous:
            for index, parameter in enumerate(trainer._params):
                self.store.pull(index, parameter.list_data())
            self.barrier()
        moving = [parameter for name, parameter in parameters.items()
                  if name.endswith(MOVING)]
        if self.num_workers == 1:
            for parameter in moving:
                if len(parameter.list_ctx()) > 1:
                    parameter.set_data(mean_over_devices(parameter))
            return
        own = [mean_over_devices(parameter).asnumpy() for parameter in moving]
        means = self.sum(np.concatenate([np.zeros(0), *map(np.ravel, own)])) / self.num_workers
        ends = np.cumsum([value.size for value in own])
        for parameter, mean in zip(moving, np.split(means, ends)):
            parameter.set_data(mx.nd.array(mean.reshape(parameter.shape)))

    def sum(self, values):
        """The sum over all workers, the same to the last bit on each; every worker must call it, and waits.

        Parameters
        ----------
        values : sequence of float, or array
            Of the same size on all workers.

        Returns: array of float64, of the same shape.

        >>> open_store("device").sum([1e9 + 1, 1 / 3])
        array([1.00000000e+09, 3.33333333e-01])
        """
        values = np.array(values, np.float64)
        return self.gather(values).sum(axis=0).reshape(values.shape)

    def gather(self, values):
        """The values of all workers, unchanged; every worker must call it, and waits.

        A server adds in float32, whatever it is given. So every worker sends its values as whole numbers of
        16 bits, in a row of its own among zeros.

        Parameters
        ----------
        values : sequence of float, or array
            Of the same size on all workers.

        Returns: array (workers, size) of float64, in the order of their ranks.
        """
        values = np.array(values, np.float64).ravel()
        if self.num_workers == 1:
            return values[None]
        row = np.zeros((self.num_workers, values.size * 4), np.float32)
        row[self.rank] = values.view(np.uint16)
        key = FIGURES + values.size
        with waiting():
            if key not in self._sent:
                self.store.init(key, mx.nd.zeros(row.shape))
                self._sent[key] = np.zeros_like(row)
            answer = mx.nd.zeros(row.shape)
            if self.asynchronous:   # its servers keep adding: send the difference, and let nobody be a round ahead
                self.store.push(key, mx.nd.array(row - self._sent[key]))
                self._sent[key] = row
                self.barrier()
                self.store.pull(key, answer)
                self.barrier()
            else:
                self.store.push(key, mx.nd.array(row))
                self.store.pull(key, answer)
            return answer.asnumpy().astype(np.uint16).view(np.float64)

    def compare(self, settings):
        """Make sure that all workers were given the same; every worker must call it, and waits for the others.

        Workers with different numbers of batches would wait for each other forever, and with different rates or
        seeds train something that nobody meant.

        Parameters
        ----------
        settings : dict of str to str, number, bool or None
            What must not differ.

        Raises: InputError, on every worker, that names each setting that differs, and which worker has which value.

        >>> open_store("device").compare({"batch_size": 64})
        """
        text = json.dumps(settings, sort_keys=True).encode()
        digests = self.gather(np.frombuffer(hashlib.sha256(text).digest()))
        if (digests.view(np.uint64) == digests.view(np.uint64)[0]).all():
            return
        length = int(self.gather([len(text)]).max())
        texts = self.gather(np.frombuffer(text.ljust(-length // 8 * -8)))
        everybodys = [json.loads(row.tobytes()) for row in texts]
        names = sorted({name for one in everybodys for name in one})
        differing = [f"{name}: {_who_has_what([one.get(name) for one in everybodys])}" for name in names
                     if any(one.get(name) != everybodys[0].get(name) for one in everybodys)]
        raise InputError("the workers were given different settings, and must have the same:"
                         + "\n  ".join(["", *differing]))

    def anybody(self, asks):
        """Whether any worker asks."""
        return bool(self.sum([bool(asks)])[0])

    def __enter__(self):
        return self

    def __exit__(self, error, *_):
        """Workers that are done wait for each other; one that failed must not, or nobody would hear of it."""
        if error is not None and self.num_workers > 1:
            mx.base.check_call(mx.base._LIB.MXKVStoreSetBarrierBeforeExit(self.store.handle, 0))

    def barrier(self):
        """Wait until every worker is here."""
        if self.num_workers > 1:
            with waiting():
                mx.nd.waitall()
                self.store._barrier()


def _who_has_what(values):
    """In words, such as ``64 on workers 0, 2; 32 on worker 1``."""
    workers = {}
    for rank, value in enumerate(values):
        workers.setdefault(repr(value), []).append(str(rank))
    return "; ".join(f"{value} on worker{'s' * (len(ranks) > 1)} {', '.join(ranks)}"
                     for value, ranks in workers.items())


class _Trainer(mx.gluon.Trainer):
    """Lets no gradient go before the first parameters have come, and tells that a batch is done.

    Nothing else keeps MXNet from it: a worker that is slow to fetch a parameter now and then got the sum of the
    first gradients in its place.
    """

    def _init_params(self):
        # The first forward pass makes ones of the gammas that batch normalisation fixes, without a word to MXNet: now
        # and then these, and now and then those of before, were spread over the devices.
        mx.nd.waitall()
        with waiting():
            super()._init_params()
            mx.nd.waitall()

    def step(self, *arguments, **more):
        super().step(*arguments, **more)
        progress()


class Shared(mx.lr_scheduler.LRScheduler):
    """A schedule for servers that count the updates of several workers one by one.

    The rate of update t is that of update ⌈t / workers⌉ of `schedule`.
    """

    def __init__(self, schedule, num_workers):
        super().__init__(base_lr=schedule.base_lr)
        self.schedule, self.num_workers = schedule, num_workers

    def __call__(self, num_update):
        return self.schedule(-(-num_update // self.num_workers))


# A process that shares with nobody.
ALONE = Store("device")


def open_store(kv_store):
    """Open the kvstore of this name; a ``dist_…`` one joins its parameter server.

    Raises: InputError for another name, and for a distributed run that nobody has started.

    >>> open_store("device").num_workers
    1
    """
    if kv_store not in STORES:
        raise InputError.of("kv_store", kv_store, f"one of {', '.join(STORES)}")
    if not kv_store.startswith("dist"):
        return Store(kv_store)
    if os.environ.get("DMLC_ROLE") != "worker":
        raise InputError(f"`kv_store` is {kv_store}, and this process is no worker of a distributed run (DMLC_ROLE is "
                         f"{os.environ.get('DMLC_ROLE', 'not set')}). Start it by tools/launch.py, or take the kvstore "
                         "'device' on one machine.", "kv_store", kv_store, "device or local, outside a distributed run")
    patience()      # before anybody waits for this process
    store = mx.kv.create(kv_store)
    if "async" in kv_store:     # its servers ask for something that updates before they take a figure
        store._send_command_to_servers(0, "")
    atexit.register(_free, store, end_with(SCHEDULER, store, f"worker {store.rank}"))
    return Store(store, store.num_workers, store.rank)


def _free(store, left):
    """Leave the parameter server; MXNet does so when nothing refers to the store any more, and dies with ``terminate
    called without an active exception`` at the end of a process where something still does."""
    with waiting():
        mx.base.check_call(mx.base._LIB.MXKVStoreFree(store.handle))
    left.set()
    type(store).__del__ = lambda self: None
