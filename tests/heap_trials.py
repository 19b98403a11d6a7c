"""Losses, alone and inside others, are given batches of all sizes in turn; run by test_mmd.py in a process of its own,
which a corrupted heap would end."""
import sys

from transfer_gluon.base.framework import mx
from transfer_gluon.symbols import JMMDLoss, MMDLoss, TransferObjective

SIZES = [2, 3, 5, 6, 7, 9, 10, 14]
STATIC = dict(static_alloc=True, static_shape=True)


class Bigger(mx.gluon.HybridBlock):
    """Another's block with a loss in it."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def hybrid_forward(self, F, x, *others):
        return self.inner(x * 1, *others)


def blocks():
    """Every way to call a loss, and how many of features, logits and labels it takes."""
    for wrap in (lambda block: block, Bigger):
        yield wrap(MMDLoss()), 1
        yield wrap(JMMDLoss()), 2
        yield wrap(TransferObjective(MMDLoss())), 3
        yield wrap(TransferObjective(JMMDLoss(), 2.0, joint=True)), 3


def run(block, inputs):
    inputs = [mx.nd.random.uniform(shape=shape) for shape in inputs]
    for array in inputs:
        array.attach_grad()
    with mx.autograd.record():
        result = block(*inputs)
        result = result[0] if isinstance(result, (list, tuple)) else result
    result.backward()
    return result.asscalar(), [array.grad.asnumpy() for array in inputs]


def refused(block, inputs):
    try:
        run(block, inputs)
    except ValueError as error:
        assert "expected" in str(error), error
        return True
    return False


def trial(hybridize):
    for block, count in blocks():
        if hybridize is not None:
            block.hybridize(**hybridize)
        for size in SIZES:
            run(block, [(8, 50), (8, 7), (8,)][:count])
            if not refused(block, [(size, 50), (size, 7), (size,)][:count]):
                sys.exit(f"{block} took a batch of {size}")
        right = [(8, 50), (8, 7), (8,)][:count]
        fewer = [[*right[:-1], (4, *right[-1][1:])]] if count > 1 else []
        for wrong in ([(8,), *right[1:]], [(8, 3, 2), *right[1:]], *fewer):
            if not refused(block, wrong):
                sys.exit(f"{block} took {wrong}")
        run(block, [(12, 50), (12, 7), (12,)][:count])


if __name__ == "__main__":
    for hybridize in (None, {}, STATIC):      # None: not hybridized
        trial(hybridize)
    print("all refused")
