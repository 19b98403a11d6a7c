"""Batch nuclear-norm maximisation against float64 singular value decompositions; value and gradient."""
import numpy as np
import pytest
import reference
from test_mmd import batch, relative_error, value_and_gradients

from transfer_gluon.symbols import BNMLoss


@pytest.mark.parametrize("hybridize", [False, True])
@pytest.mark.parametrize("b, c", [(2, 3), (8, 7), (64, 7), (16, 40)])
def test_value_and_gradient_equal_the_float64_reference(b, c, hybridize):
    x, z = batch(b, c=c, seed=b)
    value, dz = reference.bnm(z)
    loss = BNMLoss()
    if hybridize:
        loss.hybridize(static_alloc=True, static_shape=True)
    found, (dx, gradient) = value_and_gradients(loss, [x], z)
    assert found == pytest.approx(value, rel=1e-5)
    assert relative_error(gradient, dz) < 1e-5
    assert not gradient[:b // 2].any() and not dx.any()


def test_the_reference_gradient_agrees_with_finite_differences():
    _, z = batch(8, c=3, seed=2)
    np.testing.assert_allclose(reference.bnm(z)[1], reference.slope(lambda z: reference.bnm(z)[0], z), atol=1e-8)


@pytest.mark.parametrize("rows", [[[1, 2, 3]] * 4, [[0, 0, 0]] * 4, [[900, 0, 0]] * 4, [[900, 0, 0], [0, 900, 0]] * 2])
def test_where_singular_values_vanish_value_and_gradient_stay_right(rows):
    """Equal rows p have one singular value, 2 |p| of four, which falls along none but its own direction."""
    z = np.array([[0.0] * 3] * 4 + rows)
    found, (_, gradient) = value_and_gradients(BNMLoss(), [np.zeros((8, 2))], z)
    p = reference.softmax(z)[4:]
    assert found == pytest.approx(-np.linalg.svd(p, compute_uv=False).sum() / 4, rel=1e-5)
    u, singular, v = np.linalg.svd(p, full_matrices=False)
    there = singular > 1e-6
    wanted = reference.softmax_gradient(p, -u[:, there] @ v[there] / 4)
    np.testing.assert_allclose(gradient[4:], wanted, atol=1e-6)
