"""A network and its objective on devices: what computes, what learns, and how a batch becomes gradients."""
import contextlib

import numpy as np

from transfer_gluon.base.devices import MOVING, to_devices
from transfer_gluon.base.errors import DivergedError, InputError, first_ten
from transfer_gluon.base.framework import mx
from transfer_gluon.base.log import log
from transfer_gluon.base.processor import DTYPES
from transfer_gluon.symbols.frozen import above_layer, frozen_below
from transfer_gluon.symbols.layer_groups import begins
from transfer_gluon.symbols.precision import check_dtype, training_block
from transfer_gluon.training.ema import Average
from transfer_gluon.training.loss_scale import LossScale
from transfer_gluon.training.options import WD_ON

AVERAGE = "ema."     # what the names of averages begin with


class Learner(contextlib.AbstractContextManager):
    """What `fit` trains, lent for the time of a call: afterwards parameters learn, decay and are multiplied as before.

    Parameters
    ----------
    net, objective : HybridBlock
    devices : list of Context
    trainable : sequence of str, or None
        Prefixes of the names of the network's parameters that learn; None: all that do anyway.
    frozen_statistics : "move", "still" or "inference"
        See `frozen_below`.
    lr_mult : dict of str to float, or None
        Factors of the learning rate by prefixes of names, times those that parameters have themselves.
    wd_on : "weights" or "all"
        Which parameters decay; see `prepare`.
    features_from : str or None
        The layer whose outputs batches hold in the place of images; nothing below it is computed, or learns.
    dtype : "float32", "bfloat16" or "float16"
        What the network computes in; see `symbols.precision`. With float16, the loss is scaled: see `LossScale`.

    Attributes
    ----------
    on_batches : callable
        From what batches hold to (features, logits), as when the network is used: the network, or its part above
        `features_from`, in `dtype`.
    parameters : dict of str to Parameter
        Everything that a run keeps, by stable names: the network's under their own, the objective's under their place
        in it, such as ``objective.transfer.hidden.weight``, and averages as ``ema.`` and the name.
    learning : dict of str to Parameter
        Those that learn.
    """

    def __init__(self, net, objective, devices, trainable=None, frozen_statistics="move", lr_mult=None,
                 wd_on="weights", features_from=None, dtype="float32"):
        self._average = None
        if dtype == "int8":
            raise InputError.of("dtype", dtype, f"one of {', '.join(DTYPES)}: nothing trains in int8")
        check_dtype(dtype, devices)
        if features_from:
            above, trainable = above_layer(net, features_from, dtype)
        self.net, self.objective, self.devices = net, objective, devices
        own = dict(net.collect_params().items())
        self._scale = LossScale(devices) if dtype == "float16" else None
        mine = {id(parameter) for parameter in own.values()}
        beside = {f"objective.{name}": parameter
                  for name, parameter in objective._collect_params_with_prefix().items() if id(parameter) not in mine}
        if self._scale:
            beside["objective.loss_scale"] = self._scale.parameter
        self.parameters = {**own, **beside}
        self._before = [(parameter, parameter.grad_req, parameter.wd_mult, parameter.lr_mult)
                        for parameter in self.parameters.values()]
        try:
            self.learning = prepare(net, devices, trainable, wd_on)
            _put(beside, devices)
            self.learning.update(_learning(beside, wd_on))
            objective.hybridize(static_alloc=True, static_shape=True)
            _multiply_rates(self.learning, lr_mult or {})
            self.on_batches = above if features_from else training_block(net, dtype)
            self._forward = self.on_batches
            if trainable is not None and not features_from:
                frozen = frozen_below(net, self.learning, frozen_statistics, dtype)
                self._forward = self.on_batches if frozen is net else frozen
        except Exception:
            self.__exit__()
            raise

    def __exit__(self, *error):
        for parameter, grad_req, wd_mult, lr_mult in self._before:
            parameter.grad_req, parameter.wd_mult, parameter.lr_mult = grad_req, wd_mult, lr_mult

    @property
    def own(self):
        """The names of those parameters that are the objective's or averages, and not the network's."""
        return [name for name in self.parameters if name.startswith(("objective.", AVERAGE))]

    def average(self, decay):
        """Average the network's parameters over the updates from here on; see `Average`."""
        own = set(self.own)
        self._average = Average({name: parameter for name, parameter in self.parameters.items() if name not in own},
                                decay)
        self.parameters.update({AVERAGE + name: average for name, average in self._average.parameters.items()})

    def updated(self, number):
        """To be called behind update `number`, counted from 1."""
        if self._average:
            self._average.update(number)

    def averaged(self):
        """A context in which the network's parameters are their averages, where these are kept."""
        return self._average.in_place() if self._average else contextlib.nullcontext()

    def finish(self):
        """Leave the averages in the network, where these are kept."""
        if self._average:
            self._average.exchange()

    def fill_in(self, batches, before_forward=()):
        """Have parameters drawn whose shapes only the first images tell: before batches seed what is drawn.

        Where they are the objective's, a few images and labels of zeros take the way of a batch.
        """
        unknown = [name for name, parameter in self.parameters.items() if not parameter.shape or 0 in parameter.shape]
        few = 2 * getattr(self.objective, "batch_multiple", 1)      # pairs of a domain, for what changes batches
        for device in self.devices if unknown else ():
            if not set(unknown).intersection(self.own):
                self.on_batches(mx.nd.zeros((1, *batches.provide_data[0].shape[1:]), ctx=device))
                continue
            images = mx.nd.zeros((few, *batches.provide_data[0].shape[1:]), ctx=device)
            labels = mx.nd.zeros((few, *batches.provide_label[0].shape[1:]), ctx=device)
            for change in before_forward:
                images, labels = _changed(change, images, labels)
            self.objective(*self.on_batches(images), labels)

    def gradients(self, batch, before_forward=(), penalties=()):
        """Compute the gradients of a batch; its statistics on every device are returned.

        What the seams are given and give: see `fit`.
        """
        size = len(batch.data[0]) // len(self.devices)
        parts = self._parts(batch, before_forward)
        with mx.autograd.record():
            outputs = [self.objective(*self._forward(images), labels) for images, labels in parts]
            losses = [loss for loss, _ in outputs]
            for penalty in penalties:
                # Each device's share of a batch weighs as many times as it has images: see the formula of `fit`.
                losses = [loss + size * _number(penalty, self.values(images.context))
                          for loss, (images, _) in zip(losses, parts)]
            if self._scale:
                losses = [loss * self._scale.value for loss in losses]
        mx.autograd.backward(losses)
        return [statistics for _, statistics in outputs]

    def update(self, trainer, images):
        """Update what learns by the gradients of a batch of so many images."""
        if self._scale is None:
            trainer.step(images)
            return
        scale = self._scale.value
        if self._scale.admits([gradient for parameter in self.learning.values() for gradient in parameter.list_grad()]):
            trainer.step(images * scale)

    def statistics(self, batch, before_forward=()):
        """The statistics of a batch on every device, computed as in training; within `unmoved`, nothing comes of it."""
        with mx.autograd.train_mode():
            return [self.objective(*self._forward(images), labels)[1]
                    for images, labels in self._parts(batch, before_forward)]

    @contextlib.contextmanager
    def unmoved(self):
        """A context behind which moving statistics, the objective's too, are what they were before."""
        before = [(value, value.copy()) for name, parameter in self.parameters.items()
                  if name.endswith(MOVING) or name.startswith("objective.") and parameter.grad_req == "null"
                  for value in parameter.list_data()]
        try:
            yield
        finally:
            mx.nd.waitall()     # MXNet does not note who writes them
            for value, old in before:
                value[:] = old

    def _parts(self, batch, before_forward):
        """Every device's images and labels, changed."""
        parts = list(zip(to_devices(batch.data[0], self.devices), to_devices(batch.label[0], self.devices)))
        for change in before_forward:
            parts = [_changed(change, images, labels) for images, labels in parts]
        return parts

    def values(self, device):
        """The values of the parameters that learn, as a dict by name, on a device."""
        return {name: parameter.data(device) for name, parameter in self.learning.items()}

    def check(self, where):
        """Raise DivergedError where a parameter is no number: the loss of a batch tells nothing of the update behind
        it, and what is none must not take the place of what was saved before."""
        broken = [name for name, parameter in self.parameters.items()
                  if not np.isfinite(parameter.list_data()[0].asnumpy()).all()]
        if broken:
            raise DivergedError(f"{len(broken)} parameters are NaN or infinite after {where}. A smaller `lr` usually "
                                f"helps. They are{first_ten(broken)}")


def _changed(change, images, labels):
    """What an item of `before_forward` makes of a batch."""
    made = change(images, labels)
    if not (isinstance(made, (tuple, list)) and len(made) == 2
            and all(isinstance(array, mx.nd.NDArray) for array in made)):
        raise InputError(f"`before_forward`: {_name(change)} made {_kind(made)} of a batch; expected (images, labels), "
                         "two arrays of MXNet.", "before_forward", change, "callables that return (images, labels)")
    return made


def _number(penalty, values):
    """What a penalty comes to, (1,)."""
    found = penalty(values)
    if not isinstance(found, mx.nd.NDArray) or found.size != 1:
        raise InputError(f"`penalties`: {_name(penalty)} returned {_kind(found)}; expected an array of MXNet with one "
                         "element.", "penalties", penalty, "callables that return an array of one element")
    return found.reshape((1,))


def _name(item):
    return getattr(item, "__name__", type(item).__name__)


def _kind(found):
    return f"an array of shape {found.shape}" if isinstance(found, mx.nd.NDArray) else \
        f"{len(found)} of {type(found).__name__}" if isinstance(found, (tuple, list)) else type(found).__name__


def prepare(net, devices, trainable=None, wd_on="weights"):
    """Put a network on its devices and settle which parameters learn, and which decay.

    Weight decay acts, times the parameter's ``wd_mult``, on names that end in ``_weight`` or ``_gamma``, and on others
    only where their ``wd_mult`` says so by a number other than Gluon's 1; with `wd_on` "all" on every name. With
    `trainable`, only parameters learn whose names begin with one of these prefixes, which cut no number.

    Returns: dict of str to Parameter, the ones that learn. Raises: InputError when none is left.
    """
    if wd_on not in WD_ON:
        raise InputError.of("wd_on", wd_on, f"one of {', '.join(WD_ON)}")
    parameters = net.collect_params()
    _put(parameters, devices)
    net.hybridize(static_alloc=True, static_shape=True)
    if trainable is not None:
        learning = [name for name, parameter in parameters.items() if parameter.grad_req != "null"]
        others = [name for name in learning if not any(begins(name, prefix) for prefix in trainable)]
        for name in others:
            parameters[name].grad_req = "null"
        log.info("training %d of %d parameters", len(learning) - len(others), len(learning))
        if len(others) == len(learning):
            raise InputError(f"nothing is left to train: no parameter starts with {', '.join(trainable)}.", "trainable",
                             tuple(trainable), "prefixes of names of parameters")
    return _learning(parameters, wd_on)


def _learning(parameters, wd_on):
    """Those that learn; others than weights and gammas do not decay, unless they say so or `wd_on` does."""
    learning = {name: parameter for name, parameter in parameters.items() if parameter.grad_req != "null"}
    for name, parameter in learning.items():
        parameter.grad_req = "write"        # whatever its owner adds up over batches
        weight = name.endswith(("_weight", "_gamma", ".weight", ".gamma"))
        if wd_on == "weights" and parameter.wd_mult == 1 and not weight:
            parameter.wd_mult = 0.0
    return learning


def _multiply_rates(learning, factors):
    for prefix, factor in factors.items():
        those = [parameter for name, parameter in learning.items() if begins(name, prefix)]
        if not those or not 0 <= factor < 1e38:
            raise InputError(f"`lr_mult` gives {prefix!r} the factor {factor}; expected a prefix of the name of a "
                             "parameter that learns, and a number from 0 up.", "lr_mult", factors,
                             "numbers from 0 up by prefixes of names")
        for parameter in those:
            parameter.lr_mult *= factor


def _put(parameters, devices):
    for parameter in parameters.values():
        try:
            parameter.list_ctx()
        except RuntimeError:        # not initialised yet
            parameter.initialize(default_init=mx.init.Xavier("gaussian", "in", 2), ctx=devices)
        else:
            parameter.reset_ctx(devices)
