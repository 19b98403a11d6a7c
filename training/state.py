"""Everything that a run needs to go on as if it had never stopped, in one file."""
import json
from dataclasses import asdict, dataclass, field

import numpy as np

from base.errors import InputError
from base.framework import mx
from training.checkpoint import Checkpoint, inference_symbol
from training.checkpoint_files import read_arrays, with_prefix, write_arrays


@dataclass
class Position:
    """Where a run is.

    Attributes
    ----------
    epoch : int
        Epochs done.
    batch : int
        Batches of the next epoch that are done.
    updates : int
        Updates of the optimizer so far.
    sums : dict
        Of the unfinished epoch: `Sums.state`.
    """

    epoch: int = 0
    batch: int = 0
    updates: int = 0
    sums: dict = field(default_factory=dict)


@dataclass
class State:
    """What `save_state` wrote.

    Attributes
    ----------
    checkpoint : Checkpoint
        Network and parameters, of the first device.
    position : Position
    settings : dict
        Of the run.
    optimizer : dict
        Numbers that the optimizer counts along.
    others : dict of str to NDArray
        Arrays of the optimizer, and moving statistics of the other devices.
    """

    checkpoint: Checkpoint
    position: Position
    settings: dict
    optimizer: dict
    others: dict

    def restore(self, net, trainer):
        """Put the moving statistics of every device and the state of the optimizer where they were.

        The parameters themselves come with the network, which is made of `checkpoint`.
        """
        for name, parameter in net.collect_params().items():
            for number, value in enumerate(parameter.list_data()[1:], start=1):
                own = self.others.get(f"device{number}:{name}")
                if own is not None:
                    value[:] = own.as_in_context(value.context)
        optimizer = trainer.optimizer
        vars(optimizer).update(self.optimizer)
        # MXNet's own save_states would pickle, and what is read again must not be able to run code.
        for updater, context in zip(trainer._updaters, trainer._contexts):
            for index, parameter in enumerate(trainer._params):
                leaves = with_prefix(self.others, f"optimizer:{parameter.name}:")
                if leaves:
                    fresh = optimizer.create_state_multi_precision(index, parameter.data(context))
                    for number, leaf in enumerate(_leaves(fresh)):
                        leaf[:] = leaves[str(number)].as_in_context(context)
                    updater.states[index], updater.states_synced[index] = fresh, True


def save_state(path, net, trainer, position, settings):
    """Write parameters, moving statistics of every device, optimizer and position; whole or not at all.

    Parameters
    ----------
    path : Path
    net : HybridBlock
    trainer : gluon.Trainer
    position : Position
    settings : dict
        Of the run, to be compared when it goes on.

    Raises: InputError when the file cannot be written; the previous one stays whole.
    """
    symbol = inference_symbol(net)
    auxiliary = symbol.list_auxiliary_states()
    values = {}
    for name, parameter in net.collect_params().items():
        first, *others = parameter.list_data()
        values[f"{'aux' if name in auxiliary else 'arg'}:{name}"] = first
        if name in auxiliary:
            values.update({f"device{number}:{name}": value for number, value in enumerate(others, start=1)})
    for index, state in trainer._updaters[0].states.items():     # of every device alike
        name = trainer._params[index].name
        values.update({f"optimizer:{name}:{number}": leaf for number, leaf in enumerate(_leaves(state))})
    text = json.dumps({"symbol": symbol.tojson(), "position": asdict(position), "settings": settings,
                       "optimizer": _own_numbers(trainer.optimizer)})
    values["json"] = mx.nd.array(np.frombuffer(text.encode(), np.uint8), dtype="uint8")
    write_arrays(path, values)


def load_state(path):
    """Read what `save_state` wrote. Raises: InputError when the file is damaged."""
    values = read_arrays(path)
    try:
        content = json.loads(values.pop("json").asnumpy().tobytes())
        symbol = mx.sym.load_json(content["symbol"])
        checkpoint = Checkpoint(str(path), symbol, with_prefix(values, "arg:"), with_prefix(values, "aux:"))
        return State(checkpoint, Position(**content["position"]), content["settings"], content["optimizer"], values)
    except (KeyError, TypeError, ValueError, mx.MXNetError):
        raise InputError(f"{path}: not the state of a run, or damaged. "
                         "Go on from an epoch with --load-epoch.") from None


def _leaves(state):
    """The arrays that an optimizer keeps for a parameter, which it nests as it likes."""
    if isinstance(state, (tuple, list)):
        return [leaf for part in state for leaf in _leaves(part)]
    return [] if state is None else [state]


def _own_numbers(optimizer):
    """Numbers that an optimizer counts along beside its arrays (Nadam's m_schedule)."""
    common = vars(mx.optimizer.Optimizer())
    return {name: value for name, value in vars(optimizer).items()
            if name not in common and type(value) is float}
