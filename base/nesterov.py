"""Nesterov's momentum as MXNet documents it."""
import functools


def repair(mx):
    r"""Make an imported MXNet's optimizer ``nag`` compute what it says.

    .. math:: v \leftarrow \mu v + \eta \, (g + \lambda w), \qquad w \leftarrow w - \eta \, (g + \lambda w) - \mu v

    As long as the rate η stays the same, that is PyTorch's Nesterov. When it changes, v here keeps the steps of the
    rates of then, as in MXNet's ``sgd``; PyTorch's v knows no rate.

    MXNet writes w, then reads it again for the v that it keeps: with weight decay λ, v is off by λ times the step. An
    array of its own for the new w prevents that.
    """
    mx.optimizer.optimizer.nag_mom_update = functools.partial(_update, mx.nd.nag_mom_update)


def _update(operator, weight, grad, mom, out, **how):
    operator(weight, grad, mom, **how).copyto(out)
