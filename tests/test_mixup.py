"""Mixup: the formula for the λ that was drawn, and the distribution of what is drawn."""
import numpy as np
import pytest
from scipy import stats
from tiny import SHAPE, TinyIter, tiny_net

from transfer_gluon.base.errors import InputError
from transfer_gluon.base.framework import mx
from transfer_gluon.symbols import TransferObjective
from transfer_gluon.symbols.mixup import Mixup, beta
from transfer_gluon.symbols.soft_labels import SoftLabels
from transfer_gluon.training.loop import fit
from transfer_gluon.training.schedule import StepSchedule


def batch(b, device=None, dtype="float32", seed=0):
    """Images, and rows the first of which tells its share of every mixture it is in."""
    rng = np.random.default_rng(seed)
    images, rows = rng.integers(0, 256, (b, *SHAPE)), rng.dirichlet(np.ones(4), b)
    rows[:, 0], rows[0, 0] = 0, 1
    return (mx.nd.array(images, ctx=device, dtype=dtype), mx.nd.array(rows, ctx=device),
            images.astype(np.float64), rows.astype(np.float32).astype(np.float64))


@pytest.mark.parametrize("device", [mx.cpu(0), mx.cpu(1)])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("alpha", [0.2, 1.0])
def test_images_and_rows_are_mixed_with_the_reversed_batch(alpha, dtype, device):
    mixup, shares = Mixup(alpha), []
    for seed in range(5):
        images, rows, x, q = batch(6, device, dtype, seed)
        mixed, mixed_rows = mixup(images, rows)
        assert mixed.context == device and mixed.dtype == mixed_rows.dtype == np.float32
        share = mixed_rows.asnumpy()[0, 0].astype(np.float64)
        shares.append(share)
        np.testing.assert_allclose(mixed.asnumpy(), share * x + (1 - share) * x[::-1], rtol=1e-5, atol=1e-4)
        np.testing.assert_allclose(mixed_rows.asnumpy(), share * q + (1 - share) * q[::-1], rtol=1e-5, atol=1e-7)
        np.testing.assert_array_equal(images.asnumpy(), x)
    assert len(set(shares)) == 5 and min(shares) >= 0 and max(shares) <= 1


def test_domains_do_not_mix_and_share_a_lambda():
    images, rows, x, q = batch(8)
    mixed, mixed_rows = Mixup(1.0, domains=2)(images, rows)
    share = mixed_rows.asnumpy()[0, 0].astype(np.float64)
    assert 0.01 < share < 0.99
    for half in (slice(0, 4), slice(4, 8)):
        np.testing.assert_allclose(mixed.asnumpy()[half], share * x[half] + (1 - share) * x[half][::-1], rtol=1e-5)
        np.testing.assert_allclose(mixed_rows.asnumpy()[half], share * q[half] + (1 - share) * q[half][::-1], rtol=1e-5,
                                   atol=1e-7)


def test_what_is_known_of_a_mixture_with_an_unknown_image_weighs_its_share():
    images, labels = mx.nd.zeros((4, 1)), mx.nd.array([0, 1, 9999, 9999])
    _, rows = Mixup(1.0)(*SoftLabels(2)(images, labels))
    share = rows.asnumpy()[0, 0]
    np.testing.assert_allclose(rows.asnumpy(), [[share, 0], [0, share], [0, 1 - share], [1 - share, 0]], rtol=1e-5)
    _, rows = Mixup(1.0, domains=2)(*SoftLabels(2)(images, labels))
    assert not rows.asnumpy()[2:].any() and rows.asnumpy()[:2].sum() == pytest.approx(2)


@pytest.mark.parametrize("alpha", [0.05, 0.2, 1.0, 4.0])
def test_lambda_is_distributed_as_beta(alpha):
    """Each after a seed of its own, as in training; the greatest distance of two distribution functions."""
    drawn = []
    for seed in range(2000):
        mx.random.seed(seed * 7919)
        drawn.append(beta(alpha, mx.cpu()))
    drawn = mx.nd.concat(*drawn, dim=0).asnumpy().astype(np.float64)
    lower = drawn[drawn < 0.5]      # half of them: float32 cannot tell the others from 1
    assert stats.kstest(lower, lambda x: 2 * stats.beta(alpha, alpha).cdf(x)).statistic < 0.04
    assert drawn.mean() == pytest.approx(0.5, abs=0.03)
    assert drawn.var() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.08)


def test_the_smallest_alphas_draw_numbers():
    drawn = mx.nd.concat(*(beta(1e-4, mx.cpu()) for _ in range(500)), dim=0).asnumpy()
    assert np.isfinite(drawn).all() and 0.4 < drawn.mean() < 0.6 and np.isin(drawn, [0, 1]).mean() > 0.99


@pytest.mark.parametrize("count, domains", [(5, 1), (6, 2), (2, 2)])
def test_parts_that_are_odd_are_refused(count, domains):
    with pytest.raises(InputError, match=f"`mixup` got {count} images .*expected a multiple of {2 * domains}"):
        Mixup(0.2, domains)(mx.nd.zeros((count, 3)), mx.nd.zeros((count, 2)))


@pytest.mark.parametrize("alpha", [0, -1, float("nan"), float("inf")])
def test_alpha_is_above_0(alpha):
    with pytest.raises(InputError, match="`alpha` is .*expected a number above 0"):
        Mixup(alpha)
    with pytest.raises(InputError, match="`domains` is 0; expected"):
        Mixup(0.2, domains=0)


def test_devices_and_batches_have_their_own_lambda_and_runs_have_them_again():
    def shares(seed):
        seen = []

        def watch(images, rows):
            seen.append(rows)
            return images, rows

        fit(tiny_net(), TransferObjective(sparse_label=False), TinyIter(3), [mx.cpu(0), mx.cpu(1)], StepSchedule(0.0),
            2, before_forward=[SoftLabels(3), Mixup(1.0), watch], seed=seed)
        return [rows.asnumpy()[0, 0] for rows in seen]

    first = shares(seed=0)
    assert len(first) == len(set(first)) == 12
    assert shares(seed=0) == first != shares(seed=1)
