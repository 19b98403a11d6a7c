"""Soft labels, mixup and L2-SP in one training, beside a transfer loss."""
import numpy as np
import pytest
from tiny import TinyIter, tiny_net

from transfer_gluon.base.framework import mx
from transfer_gluon.symbols import TransferObjective, transfer_loss
from transfer_gluon.symbols.l2sp import L2SP
from transfer_gluon.symbols.mixup import Mixup
from transfer_gluon.symbols.soft_labels import SoftLabels
from transfer_gluon.training.loop import fit
from transfer_gluon.training.schedule import InverseDecay, Warmup


class TwoDomains(TinyIter):
    """As images of two domains lie in a batch for two devices: a labelled quarter, a quarter without labels, twice."""

    def next(self):
        batch = super().next()
        batch.label = [mx.nd.array([0, 1, 9999, 9999, 2, 0, 9999, 9999])]
        return batch


def trained(alpha=0.4, smoothing=0.1, weights=(1.0, 0.5, 2.0), rate=0.1, transfer="jmmd", devices=2):
    net = tiny_net()
    start = {"conv0_weight": mx.nd.zeros((4, 3, 3, 3))}
    mixup = [Mixup(alpha, domains=2)] if alpha else []
    changes = [SoftLabels(3, smoothing=smoothing, class_weights=weights), *mixup]
    results = fit(net, TransferObjective(transfer_loss(transfer), sparse_label=False), TwoDomains(4),
                  [mx.cpu(i) for i in range(devices)],
                  Warmup(InverseDecay(0.05, num_epochs=2, updates_per_epoch=4), 0.01, 1, 4), 2, optimizer="nag",
                  wd=0.01, before_forward=changes, penalties=[L2SP({"conv0_weight": rate, "fc_weight": rate}, start)])
    return {name: parameter.list_data() for name, parameter in net.collect_params().items()}, results


def test_two_epochs_train_on_two_devices_beside_jmmd():
    values, results = trained()
    for name, (one, other) in values.items():
        assert np.isfinite(one.asnumpy()).all(), name
        np.testing.assert_array_equal(one.asnumpy(), other.asnumpy(), err_msg=name)
    assert len(results) == 2 and all(np.isfinite([r.loss, r.transfer_loss]).all() for r in results)
    assert results[0].transfer_loss != 0


@pytest.mark.parametrize("without", [dict(alpha=None), dict(smoothing=0.0), dict(weights=None), dict(rate=1e-9)])
def test_each_part_changes_what_is_learnt(without):
    whole, other = trained()[0]["fc_weight"][0].asnumpy(), trained(**without)[0]["fc_weight"][0].asnumpy()
    assert abs(whole - other).max() > 1e-5


def test_a_training_is_the_same_again():
    first, again = trained()[0], trained()[0]
    for name in first:
        np.testing.assert_array_equal(first[name][0].asnumpy(), again[name][0].asnumpy())
