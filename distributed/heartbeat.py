"""Processes of a distributed run notice when one of them dies or hangs, whatever started them."""
import ctypes
import faulthandler
import os
import sys
import threading
import time

from transfer_gluon.base.errors import InputError
from transfer_gluon.base.framework import mx
from transfer_gluon.base.watchdog import progress, standing_still

# Before a kvstore is created: seconds between signs of life; MXNet sends none by itself. A process that ends
# waits for its next one, so it is short.
os.environ.setdefault("PS_HEARTBEAT_INTERVAL", "1")
PATIENCE = "TRANSFER_GLUON_PATIENCE"
SCHEDULER = {"the scheduler": 1}
_EVERYBODY = 7      # ps-lite's number of the group of all nodes


def patience():
    """Seconds without progress after which a process gives itself up: of the environment, or half an hour.

    Raises: InputError for what is no number of seconds.
    """
    text = os.environ.get(PATIENCE, "1800")
    if not text.isdecimal() or int(text) < 1:
        raise InputError(f"{PATIENCE} is {text!r}; expected a whole number of seconds, at least 1.")
    return int(text)


def end_with(peers, store, me):
    """End this process, with a message that says who, when one of `peers` has been silent for some 20 s, or when it
    hangs itself: see `base.watchdog` and `patience`.

    ps-lite's nodes tell the scheduler that they live, and the scheduler tells them: a worker or server can
    watch the scheduler, and the scheduler all others. They do so in a thread, also when the process hangs.

    Parameters
    ----------
    peers : dict of str to int
        Names and ps-lite's node numbers; see `everybody`.
    store : KVStore
    me : str
        Name of this process.

    Returns: Event to set when the store is no more.
    """
    left, longest = threading.Event(), patience()
    silence = min(20, longest)

    def watch():
        # At first after a second or more: the store is connected then, or says that nobody is dead.
        while not left.wait(min(5, max(1, longest / 4))):
            for name, node in peers.items():
                if _is_silent(store, node, silence):
                    _give_up(f"{me}: nothing heard of {name} for {silence} s")
            if me.startswith("worker"):
                if standing_still() > longest:
                    faulthandler.dump_traceback()
                    _give_up(f"{me}: no progress for {longest} s, and above is where it hangs. A step that takes so "
                             f"long is given more by the variable {PATIENCE}, which tools/launch.py sets")
                # Ends the process in the same way when this thread does not run any more: a hanging library may
                # hold Python's lock.
                faulthandler.dump_traceback_later(longest + 30, exit=True)
        faulthandler.cancel_dump_traceback_later()

    progress()
    threading.Thread(target=watch, daemon=True).start()
    return left


def _give_up(why):
    print(f"{why}; giving up. A run can be resumed from what was saved last.", file=sys.stderr, flush=True)
    os._exit(1)


def wait_for_all(store):
    """Wait until all processes have joined the run.

    Only a scheduler may ask, and not while it is just beginning to run: ps-lite would be asked before it is there.
    """
    time.sleep(1)
    while not _is_silent(store, _EVERYBODY, -1):    # to the impatient all are silent, once they are there
        time.sleep(0.2)


def _is_silent(store, node, seconds):
    silent = ctypes.c_int()
    mx.base.check_call(mx.base._LIB.MXKVStoreGetNumDeadNode(store.handle, node, ctypes.byref(silent), seconds))
    return bool(silent.value)


def everybody():
    """Names and node numbers of all servers and workers, from the environment."""
    servers, workers = (int(os.environ[f"DMLC_NUM_{role}"]) for role in ("SERVER", "WORKER"))
    return {**{f"server {i}": 8 + 2 * i for i in range(servers)}, **{f"worker {i}": 9 + 2 * i for i in range(workers)}}
