"""A scheduler or server of a distributed run: ``DMLC_ROLE=server python -m transfer_gluon.distributed.server``.

MXNet's own way is ``import mxnet`` under that role, which serves inside the import and never returns (see
`base.framework`). An optimizer that arrives there with a schedule of ours cannot be unpickled: ``cannot import name …
from partially initialized module 'mxnet' (most likely due to a circular import)``. Here the import is done first. And
there, whatever reaches the port is unpickled; here, an optimizer only.
"""
import os
import sys
import threading

from transfer_gluon.base.framework import mx
from transfer_gluon.distributed.heartbeat import SCHEDULER, end_with, everybody, wait_for_all
from transfer_gluon.distributed.stores import FIGURES
from transfer_gluon.distributed.unpickling import load_optimizer

JOINED = "all workers and servers have joined"


def serve():
    """Be what the environment says until all workers have finished."""
    role, store = os.environ["DMLC_ROLE"], mx.kv.create("dist")
    if role == "scheduler":
        end_with(everybody(), store, role)
        threading.Thread(target=_tell_when_joined, args=(store,), daemon=True).start()
    else:
        end_with(SCHEDULER, store, role)
    _Server(store).run()


def _tell_when_joined(store):
    wait_for_all(store)
    print(JOINED, flush=True)


class _Server(mx.kvstore.kvstore_server.KVStoreServer):
    """Updates parameters by the optimizer that workers send, and only adds up the figures that they share.

    Before there is an optimizer, an asynchronous store asks for the figures alone, by an empty command.
    """

    def _controller(self):
        self._update = None
        return self._take_command

    def _take_command(self, command, body, _):
        if command != 0 or self._update:        # every worker sends an optimizer; a second would lose momentum
            return
        if body:
            try:
                self._update = mx.optimizer.get_updater(load_optimizer(body))
            except Exception as error:          # noqa: BLE001, a pickle can end in anything, and ctypes would go on
                print(f"refused what came as an optimizer: {error}", file=sys.stderr, flush=True)
                os._exit(2)
        self.kvstore._set_updater(self._add_or_update)

    def _add_or_update(self, key, received, stored):
        if key >= FIGURES:
            stored += received
        else:
            self._update(key, received, stored)


if __name__ == "__main__":
    serve()
