"""Everything that a run needs to go on as if it had never stopped, in one file."""
import hashlib
import inspect
import json
import re
from dataclasses import asdict, dataclass, field

import numpy as np

from transfer_gluon.base.devices import MOVING
from transfer_gluon.base.errors import InputError
from transfer_gluon.base.framework import mx
from transfer_gluon.checkpoints.checkpoint import Checkpoint, inference_symbol
from transfer_gluon.checkpoints.files import read_arrays, symbol_from_text, with_prefix, write_arrays
from transfer_gluon.training.learner import AVERAGE
from transfer_gluon.training.sums import Sums


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
    ended : str
        Why something after the last epoch has ended the training for good; empty: it has not.
    began : dict
        Of JSON types: what items after an epoch are to know of the network that the training began with (`Watch`).
    """

    epoch: int = 0
    batch: int = 0
    updates: int = 0
    sums: dict = field(default_factory=dict)
    ended: str = ""
    began: dict = field(default_factory=dict)


@dataclass
class State:
    """What `save_state` wrote.

    Attributes
    ----------
    checkpoint : Checkpoint
        Network and parameters, of the first device.
    symbol : str
        The network as text, as it stands in ``-symbol.json``.
    position : Position
    settings : dict
        Of the run.
    summary : str or None
        The text of ``summary.csv`` up to here. None: written by an earlier version, which did not keep it.
    replaces : list of int
        Epochs of an older run whose checkpoints are to be moved away.
    optimizer : dict of str to float
        Numbers that the optimizer counts along.
    others : dict of str to NDArray
        Parameters of the objective, averages, arrays of the optimizer, and moving statistics of the other devices.
    """

    checkpoint: Checkpoint
    symbol: str
    position: Position
    settings: dict
    summary: str
    replaces: list
    optimizer: dict
    others: dict

    def restore(self, learner, trainer):
        """Put the objective's parameters, averages, the moving statistics of every device and the state of the
        optimizer where they were.

        The network's parameters come with the network, which is made of `checkpoint`.

        Raises: InputError when they are of another network, objective, optimizer or number of devices.
        """
        for name in learner.own:
            if name not in self.others:
                raise self._misfit(name)
            value = self.others.pop(name)
            for there in learner.parameters[name].list_data():
                self._put(value, there, name)
        for name, parameter in learner.parameters.items():
            for number, value in enumerate(parameter.list_data()[1:], start=1):
                own = self.others.pop(f"device{number}:{name}", None)
                if own is not None:
                    self._put(own, value, name)
                elif name in self.checkpoint.aux_params or _differs(name, parameter):
                    raise self._misfit(name)
        optimizer, names = trainer.optimizer, _names(learner)
        # LARS has some only from its first update on.
        if not _own_numbers(optimizer).keys() <= self.optimizer.keys() <= vars(optimizer).keys():
            raise self._misfit("the optimizer")
        for name in set(inspect.signature(type(optimizer).__init__).parameters).intersection(self.optimizer):
            if vars(optimizer)[name] != self.optimizer[name]:      # as it was made, not what it counts along
                raise self._misfit(f"`{name}` was {self.optimizer[name]:g} then, and is {vars(optimizer)[name]:g} now; "
                                   "it")
        vars(optimizer).update(self.optimizer)
        # MXNet's own save_states would pickle, and what is read again must not be able to run code.
        begun = any(name.startswith("optimizer:") for name in self.others)
        taken = set()
        for updater, context in zip(trainer._updaters, trainer._contexts):
            for index, parameter in enumerate(trainer._params if begun else ()):
                fresh = optimizer.create_state_multi_precision(index, parameter.data(context))
                for number, leaf in enumerate(_leaves(fresh)):
                    name = f"optimizer:{names[id(parameter)]}:{number}"
                    if name not in self.others:
                        raise self._misfit(names[id(parameter)])
                    self._put(self.others[name], leaf, names[id(parameter)])
                    taken.add(name)
                updater.states[index], updater.states_synced[index] = fresh, True
        if self.others.keys() - taken:
            raise self._misfit(min(self.others.keys() - taken))

    def _put(self, array, there, name):
        if array.shape != there.shape or array.dtype != there.dtype:
            raise self._misfit(name)
        there[:] = array.as_in_context(there.context)

    def _misfit(self, what):
        return InputError(f"{self.checkpoint.name}: {what} does not fit this network, optimizer and number of devices. "
                          "Go on from an epoch with `load_epoch`.")


def save_state(path, learner, trainer, position, settings, symbol=None, summary="", replaces=()):
    """Write parameters, moving statistics of every device, optimizer and position; whole or not at all.

    Equal states are equal files.

    Parameters
    ----------
    path : Path
    learner : Learner
        The network and the objective.
    trainer : gluon.Trainer
    position : Position
    settings : dict
        Of the run, to be compared when it goes on.
    symbol : str or None
        The network as text; None: it is asked.
    summary : str
        The text of ``summary.csv`` up to here.
    replaces : sequence of int
        Epochs of an older run whose checkpoints are to be moved away.

    Raises: InputError when the file cannot be written; the previous one stays whole.
    """
    graph, own, names = inference_symbol(learner.net), learner.own, _names(learner)
    auxiliary = {*graph.list_auxiliary_states(), *(name for name in own if _differs(name, learner.parameters[name]))}
    values = {}
    for name, parameter in learner.parameters.items():
        first, *others = parameter.list_data()
        values[name if name in own else f"{'aux' if name in auxiliary else 'arg'}:{name}"] = first
        if name in auxiliary:
            values.update({f"device{number}:{name}": value for number, value in enumerate(others, start=1)})
    for index, state in trainer._updaters[0].states.items():     # of every device alike
        name = names[id(trainer._params[index])]
        values.update({f"optimizer:{name}:{number}": leaf for number, leaf in enumerate(_leaves(state))})
    values["json"] = _bytes(json.dumps({
        "symbol": symbol or graph.tojson(), "position": asdict(position), "settings": settings, "summary": summary,
        "replaces": list(replaces), "optimizer": _own_numbers(trainer.optimizer)}).encode())
    values["sha256"] = _bytes(digest_of(values))
    write_arrays(path, dict(sorted(values.items())))


# Beside the JSON: parameters, averages, statistics of other devices, arrays of the optimizer.
_NAMES = re.compile(r"arg:.+|aux:.+|objective\..+|ema\..+|device[1-9]\d*:.+|optimizer:.+:\d+", re.DOTALL)
_EARLIER = {"symbol", "position", "settings", "optimizer"}


def load_state(path):
    """Read what `save_state` wrote; earlier versions did so without a checksum.

    Raises: InputError when the file is damaged, or changed since.
    """
    values = read_arrays(path)
    try:
        digest, text = values.pop("sha256", None), values["json"]
        if digest is not None and digest.asnumpy().tobytes() != digest_of(values):
            raise ValueError
        del values["json"]
        content = json.loads(text.asnumpy().tobytes())
        earlier = digest is None and content.keys() == _EARLIER
        if not earlier and (digest is None or content.keys() != _EARLIER | {"summary", "replaces"}):
            raise ValueError
        _check(content, values)
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError):
        raise InputError(f"{path}: not the state of a run, damaged, or changed since it was written. "
                         "Go on from an epoch with `load_epoch`.") from None
    checkpoint = Checkpoint(str(path), symbol_from_text(content["symbol"], path), with_prefix(values, "arg:"),
                            with_prefix(values, "aux:"))
    others = {name: value for name, value in values.items() if not name.startswith(("arg:", "aux:"))}
    return State(checkpoint, content["symbol"], Position(**content["position"]), content["settings"],
                 content.get("summary"), content.get("replaces", []), content["optimizer"], others)


def _check(content, values):
    """Raise a ValueError or TypeError where the types are not those that `save_state` writes."""
    position = Position(**content["position"])
    counts = [position.epoch, position.batch, position.updates, *content.get("replaces", [])]
    sums = asdict(Sums(**position.sums))
    numbers = [*sums.pop("recent"), *sums.pop("others").values(), *sums.values(), *content["optimizer"].values()]
    texts = [content["symbol"], content.get("summary", "")]
    if not (all(type(count) is int and count >= 0 for count in counts)
            and all(type(number) is float for number in numbers)
            and all(type(text) is str for text in texts) and type(content["settings"]) is dict
            and type(position.ended) is str and type(position.began) is dict and all(map(_NAMES.fullmatch, values))):
        raise ValueError


def _names(learner):
    """The stable names of parameters, whatever Gluon calls those of the objective in this process."""
    return {id(parameter): name for name, parameter in learner.parameters.items()}


def _bytes(content):
    return mx.nd.array(np.frombuffer(content, np.uint8), dtype="uint8")


def _differs(name, parameter):
    """Whether devices have values of their own of an average or a parameter of the objective, by its name."""
    if name.startswith(AVERAGE):
        return name.endswith(MOVING)
    return name.startswith("objective.") and parameter.grad_req == "null"


def digest_of(values):
    """SHA-256 of names, types, shapes and contents of arrays, a dict by name, as bytes."""
    digest = hashlib.sha256()
    for name, value in sorted(values.items()):
        content = np.ascontiguousarray(value.asnumpy())
        digest.update(f"{len(name)} {name} {content.dtype} {content.shape} ".encode())
        digest.update(content)
    return digest.digest()


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
