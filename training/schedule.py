"""Learning rates as pure functions of the number of updates."""
import math
import numbers

from transfer_gluon.base.errors import InputError
from transfer_gluon.base.framework import mx
from transfer_gluon.training.options import check_rising

_TOO_LARGE = 3e38       # for float32


class StepSchedule(mx.lr_scheduler.LRScheduler):
    r"""The learning rate drops by a factor after given numbers of updates.

    .. math:: \eta(t) = \eta_0 \cdot f^{\,|\{s \in \text{steps} : s < t\}|}

    for update t = 1, 2, …: update number s still has the rate from before the step.

    Parameters
    ----------
    lr : float
        Rate of the first update, from 0 up.
    factor : float
        From 0 up.
    steps : sequence of int
        Updates.

    Raises: InputError when the rate is no number from 0 up that float32 holds, from the first update to the last.

    >>> schedule = StepSchedule(0.1, 0.5, [2])
    >>> [schedule(t) for t in (1, 2, 3)]
    [0.1, 0.1, 0.05]
    """

    def __init__(self, lr, factor=1.0, steps=()):
        super().__init__(base_lr=_rate("lr", lr))
        self.lr, self.factor, self.steps = lr, factor, tuple(steps)
        if not 0 <= factor < _TOO_LARGE or factor > 1 and lr and (
                math.log(lr) + len(self.steps) * math.log(factor) > math.log(_TOO_LARGE)):
            raise InputError(f"`lr_factor` is {factor}; expected a number from 0 up, such as 0.1, by which the rate "
                             f"{lr} stays below {_TOO_LARGE:g} after {len(self.steps)} steps.",
                             "lr_factor", factor, "a number from 0 up")

    def __call__(self, num_update):
        return self.lr * self.factor ** sum(step < num_update for step in self.steps)


class InverseDecay(mx.lr_scheduler.LRScheduler):
    r"""The learning rate falls like a power of the progress of the training, epoch by epoch.

    .. math:: \eta = \eta_0 \left( 1 + \gamma \, \frac{e}{E} \right)^{-p}

    with e the number of epochs finished before an update, of E epochs altogether. Ganin & Lempitsky 2015, *Unsupervised
    Domain Adaptation by Backpropagation*, with γ = 10 and p = 0.75.

    Parameters
    ----------
    lr : float
        Rate η0 of the first epoch, from 0 up.
    gamma : float, default 10
    power : float, default 0.75
        p. Both from 0 up.
    num_epochs : int
        E.
    updates_per_epoch : int

    Raises: InputError.

    >>> schedule = InverseDecay(0.1, gamma=10, power=0.75, num_epochs=10, updates_per_epoch=2)
    >>> [round(schedule(t), 4) for t in (1, 2, 3, 5)]
    [0.1, 0.1, 0.0595, 0.0439]
    """

    def __init__(self, lr, gamma=10.0, power=0.75, *, num_epochs, updates_per_epoch):
        super().__init__(base_lr=_rate("lr", lr))
        self.lr, self.gamma, self.power = lr, _rate("lr_gamma", gamma), _rate("lr_power", power)
        self.num_epochs = _count("num_epochs", num_epochs)
        self.updates_per_epoch = _count("updates_per_epoch", updates_per_epoch)

    def __call__(self, num_update):
        finished = (num_update - 1) // self.updates_per_epoch
        return self.lr * (1 + self.gamma * finished / self.num_epochs) ** -self.power


class Warmup(mx.lr_scheduler.LRScheduler):
    r"""The learning rate rises to that of a schedule in the first epochs, epoch by epoch.

    .. math:: \eta = \eta_w + \frac{e}{n} (\eta_0 - \eta_w) \quad \text{for } e < n

    with e the number of epochs finished before an update, and η0 the rate that the schedule begins with; afterwards η
    is what the schedule says, whose time has gone on meanwhile: a drop after epoch 30 comes after epoch 30. So do
    timm's schedules (Wightman 2019, *PyTorch Image Models*). The idea is of Goyal et al. 2017, *Accurate, Large
    Minibatch SGD*, section 2.2.

    Parameters
    ----------
    schedule : LRScheduler
        A function of the number of an update, 1, 2, …; `StepSchedule`, `InverseDecay`.
    lr : float
        Rate ηw of the first epoch, from 0 up.
    epochs : int
        n, from 0 up.
    updates_per_epoch : int

    Raises: InputError.

    >>> schedule = Warmup(StepSchedule(0.3, 0.1, [6]), lr=0.1, epochs=2, updates_per_epoch=2)
    >>> [round(schedule(t), 4) for t in range(1, 8)]
    [0.1, 0.1, 0.2, 0.2, 0.3, 0.3, 0.03]
    """

    def __init__(self, schedule, lr, epochs, updates_per_epoch):
        super().__init__(base_lr=schedule.base_lr)
        self.schedule, self.lr = schedule, _rate("warmup_lr", lr)
        self.epochs = _count("warmup_epochs", epochs, least=0)
        self.updates_per_epoch = _count("updates_per_epoch", updates_per_epoch)

    def __call__(self, num_update):
        finished = (num_update - 1) // self.updates_per_epoch
        if finished >= self.epochs:
            return self.schedule(num_update)
        return self.lr + finished / self.epochs * (self.base_lr - self.lr)


def _rate(name, value):
    if not 0 <= value < _TOO_LARGE:
        expected = f"a number from 0 up, below {_TOO_LARGE:g}"
        raise InputError(f"`{name}` is {value}; expected {expected}.", name, value, expected)
    return value


def _count(name, value, least=1):
    if not isinstance(value, numbers.Integral) or value < least:
        raise InputError.of(name, value, f"a whole number from {least} up")
    return int(value)


def step_updates(step_epochs, num_examples, batch_size, batches_per_epoch, unit="flag", num_workers=1):
    """After which updates the rate drops.

    The original counts an epoch as floor(num_examples / batch_size) updates. In stage 1 a batch holds
    batch_size / 2 images a domain, so that an epoch really has twice as many, and the rate drops at half
    the epochs that were asked for. The published results were made so, and ``unit="flag"`` does so too;
    ``unit="epoch"`` counts true epochs.

    Parameters
    ----------
    step_epochs : sequence of int
        Rising, from 1 up.
    num_examples : int
        Images of the source, or in stage 1 of the smaller domain.
    batch_size, batches_per_epoch : int
    unit : "flag" or "epoch"
    num_workers : int
        Of a distributed run: an epoch's length is divided by it.

    Returns: list of int. Raises: InputError.

    >>> step_updates((6, 8), num_examples=640, batch_size=64, batches_per_epoch=20)
    [60, 80]
    >>> step_updates((6, 8), num_examples=640, batch_size=64, batches_per_epoch=20, unit="epoch")
    [120, 160]
    """
    check_rising(step_epochs)
    length = batches_per_epoch if unit == "epoch" else max(num_examples // batch_size // num_workers, 1)
    return [epoch * length for epoch in step_epochs]
