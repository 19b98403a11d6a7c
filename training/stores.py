"""How gradients of several devices, and of several machines, are summed."""
import os
from dataclasses import dataclass

import numpy as np

from base.errors import InputError
from base.framework import mx

STORES = ("device", "local", "dist_sync", "dist_device_sync")


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

    def sum(self, values):
        """Numbers summed over workers, as a float64 array."""
        return np.asarray(values, np.float64)


def open_store(name):
    """Open the kvstore of this name; a ``dist_…`` one joins its parameter server.

    Raises: InputError for another name, and for a distributed run that nobody has started.

    >>> open_store("device").num_workers
    1
    """
    if name not in STORES:
        raise InputError(f"--kv-store is {name!r}; expected one of {', '.join(STORES)}.")
    if not name.startswith("dist"):
        return Store(name)
    if os.environ.get("DMLC_ROLE") != "worker":
        raise InputError(f"--kv-store is {name}, and this process is no worker of a distributed run (DMLC_ROLE is "
                         f"{os.environ.get('DMLC_ROLE', 'not set')}). Start a scheduler, servers and workers with "
                         "MXNet's DMLC_… variables, or use --kv-store device on one machine.")
    store = mx.kv.create(name)
    return Store(store, store.num_workers, store.rank)
