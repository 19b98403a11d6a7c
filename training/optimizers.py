"""Optimizers of MXNet by their names, and which of them work here."""
import copy
import inspect

from transfer_gluon.base.errors import InputError
from transfer_gluon.base.framework import mx

# What MXNet registers and the loop cannot use, and why.
_UNUSABLE = {"groupadagrad": "takes matrices only, and biases are none",
             "test": "is for MXNet's own tests and knows no learning rate"}
_ONE_DEVICE = {"nadam": "counts its momentum along once a device and parameter",
               "sgld": "adds other noise on every device"}
# What does not take a learning rate of 0, and why.
NOT_AT_REST = {"ftml": "divides by it", "ftrl": "divides by it", "sgld": "draws noise as large as it"}


def takes_momentum(name):
    """Whether an optimizer of MXNet has a momentum, by its name; one that it does not know has none.

    >>> takes_momentum("sgd"), takes_momentum("adam")
    (True, False)
    """
    kind = mx.optimizer.Optimizer.opt_registry.get(name.lower())
    return kind is not None and "momentum" in inspect.signature(kind.__init__).parameters


def create_optimizer(optimizer, schedule, momentum=None, wd=None, first_update=0, num_devices=1):
    """An optimizer of MXNet, by its name or as a copy of one, that follows a schedule.

    Parameters
    ----------
    optimizer : str or Optimizer
        An object is copied and stays as it is.
    schedule : LRScheduler
        Takes the place of an object's own learning rate.
    momentum, wd : float or None
        None: 0.9, for those that have a momentum, and 0. An object has its own, and takes neither.
    first_update : int
        Updates done before.
    num_devices : int

    Raises: InputError for a name that MXNet does not know, for one that does not work here, on several devices or with
    momentum, and for a momentum or weight decay that is none.
    """
    given = isinstance(optimizer, mx.optimizer.Optimizer)
    registry, name = mx.optimizer.Optimizer.opt_registry, (type(optimizer).__name__ if given else optimizer).lower()
    usable = ", ".join(sorted(registry.keys() - _UNUSABLE.keys() - (_ONE_DEVICE.keys() if num_devices > 1 else set())))
    if name not in registry and not given:
        raise InputError(f"`optimizer` is {name!r}; MXNet knows {usable}.", "optimizer", name, usable)
    why = _UNUSABLE.get(name) or num_devices > 1 and _ONE_DEVICE.get(name)
    if why:
        where = f" on {num_devices} devices" if name in _ONE_DEVICE else ""
        raise InputError(f"`optimizer` is {name!r}, which does not work{where}: it {why}. Choose one of {usable}.",
                         "optimizer", name, usable)
    if given:
        if momentum is not None or wd is not None:
            raise InputError("`momentum` or `wd` was given beside an optimizer object, which has its own; leave them "
                             "out.", "optimizer", optimizer, "a name beside momentum and wd")
        made = copy.deepcopy(optimizer)
        made.lr_scheduler, made.begin_num_update, made.num_update = schedule, first_update, first_update
        made._all_index_update_counts, made.param_dict = {0: {}}, {}        # of what it trained before
        made._index_update_count = made._all_index_update_counts[0]
        return made
    momentum, wd = 0.9 if momentum is None else momentum, wd or 0.0
    if not 0 <= momentum <= 1:
        raise InputError.of("momentum", momentum, "a number from 0 to 1")
    if not 0 <= wd < 1e38:
        raise InputError.of("wd", wd, "a number from 0 up that float32 holds, below 1e38")
    if name == "dcasgd" and momentum:
        raise InputError("`optimizer` is 'dcasgd', which fails in MXNet with momentum, and `momentum` is "
                         f"{momentum}; give 0 for it, or choose one of {usable}.", "momentum", momentum, "0")
    if name == "adamax" and not wd:
        raise InputError("`optimizer` is 'adamax', which in MXNet makes NaN of parameters without gradient, such as "
                         f"fixed gammas, that do not decay, and `wd` is 0; give one, or choose one of {usable}.",
                         "wd", wd, "above 0")
    # Any rate but the schedule's own base would replace that, with a warning on standard output.
    return mx.optimizer.create(name, learning_rate=schedule.base_lr, lr_scheduler=schedule, wd=wd,
                               begin_num_update=first_update,
                               **({"momentum": momentum} if takes_momentum(name) else {}))
