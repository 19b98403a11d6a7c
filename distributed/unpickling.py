"""Optimizers that come over the network, unpickled so that nothing they bring is run."""
import io
import pickle

from transfer_gluon.base.framework import mx


def load_optimizer(pickled):
    """Unpickle an optimizer of MXNet's, with a schedule of MXNet's or ours. Nothing else is made, and nothing is run.

    Parameters
    ----------
    pickled : bytes

    Raises: pickle.UnpicklingError for a pickle that asks for anything else, and names it.

    >>> load_optimizer(pickle.dumps(mx.optimizer.SGD(momentum=0.9))).momentum
    0.9
    >>> load_optimizer(pickle.dumps(print))
    Traceback (most recent call last):
    _pickle.UnpicklingError: it asks for builtins.print; expected an optimizer of MXNet and its schedule
    """
    optimizer = _Unpickler(io.BytesIO(pickled)).load()
    if not isinstance(optimizer, mx.optimizer.Optimizer):
        raise pickle.UnpicklingError(f"it is {type(optimizer).__name__}; expected an optimizer of MXNet")
    return optimizer


class _Unpickler(pickle.Unpickler):
    def find_class(self, module, name):
        known = {"copyreg._reconstructor", "copy_reg._reconstructor", "builtins.object", "__builtin__.object"}
        if f"{module}.{name}" in known:
            return super().find_class(module, name)
        for kind in [*mx.optimizer.Optimizer.opt_registry.values(), *vars(mx.lr_scheduler).values()]:
            if isinstance(kind, type) and (kind.__module__, kind.__name__) == (module, name):
                return kind
        if module.startswith("transfer_gluon."):    # to import a module of ours runs nothing that another brings
            found = super().find_class(module, name)
            if isinstance(found, type) and issubclass(found, mx.lr_scheduler.LRScheduler):
                return found
        raise pickle.UnpicklingError(f"it asks for {module}.{name}; expected an optimizer of MXNet and its schedule")
