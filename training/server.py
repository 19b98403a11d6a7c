"""A scheduler or server of a distributed run: ``DMLC_ROLE=server python -m training.server``.

MXNet's own way is ``import mxnet`` under that role, which serves inside the import and never returns. An
optimizer that arrives there with a schedule of ours cannot be unpickled: ``cannot import name … from
partially initialized module 'mxnet' (most likely due to a circular import)``. Here the import is done first.
"""
import os
import pickle

role = os.environ.pop("DMLC_ROLE", None)

from base.framework import mx  # noqa: E402
from training.heartbeat import SCHEDULER, end_with, everybody  # noqa: E402
from training.stores import FIGURES  # noqa: E402


def serve():
    """Be what the environment says until all workers have finished."""
    store = mx.kv.create("dist")
    end_with(everybody() if role == "scheduler" else SCHEDULER, store, role)
    _Server(store).run()


class _Server(mx.kvstore.kvstore_server.KVStoreServer):
    """Updates parameters by the optimizer that workers send, and only adds up the figures that they share."""

    def _controller(self):
        return self._take_optimizer

    def _take_optimizer(self, command, pickled, _):
        if command == 0 and self.kvstore._updater is None:      # every worker sends one; a second would lose momentum
            update = mx.optimizer.get_updater(pickle.loads(pickled))
            self.kvstore._set_updater(lambda key, received, stored: stored.__iadd__(received) if key >= FIGURES
                                      else update(key, received, stored))


if __name__ == "__main__":
    os.environ["DMLC_ROLE"] = role
    serve()
