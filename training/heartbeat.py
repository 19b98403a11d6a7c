"""Processes of a distributed run notice when one of them dies, whatever started them."""
import ctypes
import os
import sys
import threading

from base.framework import mx

# Before a kvstore is created: seconds between signs of life; MXNet sends none by itself. A process that ends
# waits for its next one, so it is short.
os.environ.setdefault("PS_HEARTBEAT_INTERVAL", "1")
TIMEOUT = 20        # seconds without a sign of life


def end_with(peers, store, me):
    """End this process, with a message that says who died, when one of `peers` has been silent for `TIMEOUT`.

    ps-lite's nodes tell the scheduler that they live, and the scheduler tells them: a worker or server can
    watch the scheduler, and the scheduler all others.

    Parameters
    ----------
    peers : dict of str to int
        Names and ps-lite's node numbers; see `everybody`.
    store : KVStore
    me : str
        Name of this process.

    Returns: Event to set when the store is no more.
    """

    left = threading.Event()

    def watch():
        while not left.wait(5):     # by the first time the store is connected, or says that nobody is dead
            for name, node in peers.items():
                if _is_silent(store, node):
                    print(f"{me}: nothing heard of {name} for {TIMEOUT} s; giving up. --resume goes on from what was "
                          "saved last.", file=sys.stderr, flush=True)
                    os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
    return left


def _is_silent(store, node):
    silent = ctypes.c_int()
    mx.base.check_call(mx.base._LIB.MXKVStoreGetNumDeadNode(store.handle, node, ctypes.byref(silent), TIMEOUT))
    return bool(silent.value)


def everybody():
    """Names and node numbers of all servers and workers, from the environment."""
    servers, workers = (int(os.environ[f"DMLC_NUM_{role}"]) for role in ("SERVER", "WORKER"))
    return {**{f"server {i}": 8 + 2 * i for i in range(servers)}, **{f"worker {i}": 9 + 2 * i for i in range(workers)}}


SCHEDULER = {"the scheduler": 1}
