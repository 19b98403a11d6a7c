"""Losses, alone and inside others, are given batches of all sizes in turn; run by test_mmd.py in a process of its own,
which a corrupted heap would end."""
import sys

from transfer_gluon.base.framework import mx
from transfer_gluon.symbols import TransferObjective, transfer_loss

SIZES = [2, 3, 5, 6, 7, 9, 10, 14]
STATIC = dict(static_alloc=True, static_shape=True)
LOSSES = [("mmd", {}), ("jmmd", {}), ("mmd", dict(estimate="quadratic")), ("jmmd", dict(estimate="quadratic")),
          ("coral", {}), ("dann", dict(hidden=5)), ("cdan", dict(hidden=5)), ("mcc", {}), ("bnm", {}), ("shot_im", {}),
          ("shot", {})]


class Bigger(mx.gluon.HybridBlock):
    """Another's block with a loss in it."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def hybrid_forward(self, F, features, *others):
        features = [x * 1 for x in features] if isinstance(features, (list, tuple)) else features * 1
        return self.inner(features, *others)


def blocks():
    """Every way to call a loss, and the shapes of features, logits and labels that it takes for a batch of b images."""
    one, two = (50,), [(50,), (20,)]
    for wrap in (lambda block: block, Bigger):
        for name, options in LOSSES:
            for features in (one, two):
                loss = transfer_loss(name, **options)
                yield wrap(loss), [features, (7,)][:1 + loss.needs_logits]
                loss = transfer_loss(name, **options)
                yield wrap(TransferObjective(loss)), [features, (7,), ()]
                loss = transfer_loss(name, **options)
                yield wrap(TransferObjective(loss, sparse_label=False)), [features, (7,), (7,)]


def multiple(block):
    return getattr(block, "inner", block).batch_multiple


def rows(b, shape):
    """The shape, or shapes, of b rows."""
    return [(b, *one) for one in shape] if isinstance(shape, list) else (b, *shape)


def run(block, shapes):
    inputs = [[mx.nd.random.uniform(shape=one) for one in shape] if isinstance(shape, list)
              else mx.nd.random.uniform(shape=shape) for shape in shapes]
    arrays = [array for given in inputs for array in (given if isinstance(given, list) else [given])]
    for array in arrays:
        array.attach_grad()
    with mx.autograd.record():
        result = block(*inputs)
        result = result[0] if isinstance(result, (list, tuple)) else result
    result.backward()
    return result.asscalar(), [array.grad.asnumpy() for array in arrays]


def refused(block, shapes):
    try:
        run(block, shapes)
    except ValueError as error:
        assert "expected" in str(error), error
        return True
    return False


def misfits(right):
    """Shapes that do not belong together: one of the inputs, or layers, with fewer rows or another number of axes."""
    for place, shape in enumerate(right):
        layers = isinstance(shape, list)
        for number, one in enumerate(shape if layers else [shape]):
            # Fewer axes; more; where there are other inputs, fewer rows.
            for wrong in (one[:1] if len(one) > 1 else (*one, 1, 2), (*one, 2), (4, *one[1:])):
                if wrong == (4, *one[1:]) and not layers and len(right) == 1:
                    continue
                changed = [*shape[:number], wrong, *shape[number + 1:]] if layers else wrong
                yield [*right[:place], changed, *right[place + 1:]]


def trial(hybridize):
    for block, shapes in blocks():
        block.initialize()
        if hybridize is not None:
            block.hybridize(**hybridize)
        right = [rows(8, shape) for shape in shapes]
        for size in SIZES:
            run(block, right)
            if size % multiple(block) and not refused(block, [rows(size, shape) for shape in shapes]):
                sys.exit(f"{block} took a batch of {size}")
        for wrong in misfits(right):
            if not refused(block, wrong):
                sys.exit(f"{block} took {wrong}")
        run(block, [rows(12, shape) for shape in shapes])


if __name__ == "__main__":
    for hybridize in (None, {}, STATIC):      # None: not hybridized
        trial(hybridize)
    print("all refused")
