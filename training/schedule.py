"""Learning rates as pure functions of the number of updates."""
import math

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
        if not 0 <= lr < _TOO_LARGE:
            raise InputError(f"`lr` is {lr}; expected a number from 0 up, below {_TOO_LARGE:g}.", "lr", lr,
                             f"a number from 0 up, below {_TOO_LARGE:g}")
        super().__init__(base_lr=lr)
        self.lr, self.factor, self.steps = lr, factor, tuple(steps)
        if not 0 <= factor < _TOO_LARGE or factor > 1 and lr and (
                math.log(lr) + len(self.steps) * math.log(factor) > math.log(_TOO_LARGE)):
            raise InputError(f"`lr_factor` is {factor}; expected a number from 0 up, such as 0.1, by which the rate "
                             f"{lr} stays below {_TOO_LARGE:g} after {len(self.steps)} steps.",
                             "lr_factor", factor, "a number from 0 up")

    def __call__(self, num_update):
        return self.lr * self.factor ** sum(step < num_update for step in self.steps)


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
