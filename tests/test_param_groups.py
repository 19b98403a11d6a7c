"""Which parameters of a stage's network get which rate and which penalty."""
import pytest
from tiny import TinyIter, tiny_net

import transfer_gluon
from transfer_gluon.base.errors import InputError
from transfer_gluon.base.framework import mx
from transfer_gluon.symbols import TransferNet, TransferObjective, features_block, resnet
from transfer_gluon.training.learner import Learner
from transfer_gluon.training.options import NetworkOptions, OptimizerOptions, RegularizationOptions
from transfer_gluon.training.param_groups import l2sp_penalty, rate_factors
from transfer_gluon.training.stages import Stage

THREE = OptimizerOptions(lr=(4, 2, 1), num_lowlrs=2)


def net():
    """Four groups: conv0, a unit in each of three stages."""
    return TransferNet(features_block(resnet(8, (3, 16, 16))), 3)


def test_rates_are_those_of_the_parts_that_learn():
    factors = rate_factors(Stage(0, 3, optimizer=THREE), net())
    assert {name: factors[name] for name in ("fc_bias", "stage3_unit1_conv1_weight", "bn1_gamma", "conv0_weight",
                                             "stage1_unit1_bn1_beta")} == {
        "fc_bias": 1, "stage3_unit1_conv1_weight": 0.5, "bn1_gamma": 0.5, "conv0_weight": 0.25,
        "stage1_unit1_bn1_beta": 0.25}
    frozen = NetworkOptions(freeze=True, trainable=("stage1", "fc"))
    assert {name: factor for name, factor in rate_factors(Stage(0, 3, network=frozen, optimizer=THREE), net()).items()
            if name.startswith(("fc", "stage1_unit1_conv1", "stage2"))} == {
        "fc_weight": 1, "fc_bias": 1, "stage1_unit1_conv1_weight": 0.25}
    assert set(rate_factors(Stage(0, 3, optimizer=OptimizerOptions(lr=(0, 0, 0), num_lowlrs=2)), net()).values()) == {0}


def test_a_factor_of_the_classifier_is_that_of_no_other_layer():
    x = mx.sym.FullyConnected(mx.sym.Flatten(mx.sym.var("data")), num_hidden=4, name="fc_wide")
    x = mx.sym.Flatten(x, name="flatten0")
    stage = Stage(0, 3, optimizer=OptimizerOptions(head_lr_mult=10))
    assert rate_factors(stage, TransferNet(features_block(x), 3)) == {"fc_weight": 10, "fc_bias": 10}
    frozen = Stage(0, 3, network=NetworkOptions(freeze=True, trainable=("conv0",)),
                   optimizer=OptimizerOptions(head_lr_mult=10))
    with pytest.raises(InputError, match="`head_lr_mult` was given with `trainable` conv0, .*does nothing"):
        rate_factors(frozen, tiny_net())


@pytest.mark.parametrize("told", [dict(optimizer=OptimizerOptions(lr=(4, 2, 1), num_lowlrs=4)),
                                  dict(optimizer=OptimizerOptions(num_lowlrs=4),
                                       regularization=RegularizationOptions(l2sp=(1, 1, 1)))])
def test_a_layer_that_begins_anew_is_not_low(told):
    for new_layers, fits in ((1, True), (2, False)):
        stage = Stage(0, 3, network=NetworkOptions(new_layers=new_layers), **told)
        try:
            rate_factors(stage, net())
            l2sp_penalty(stage, net(), {}) if stage.regularization.l2sp else None
        except InputError as error:
            assert not fits and "`num_lowlrs` is 4" in str(error)
        else:
            assert fits


def test_the_published_penalty_holds_higher_layers_near_zero_although_they_have_start_values():
    stage = Stage(0, 3, optimizer=OptimizerOptions(num_lowlrs=1), regularization=RegularizationOptions(
        l2sp_published=True))
    values = {"conv0_weight": mx.nd.ones((2, 2)), "stage3_unit1_conv1_weight": mx.nd.ones((5, 2))}
    assert l2sp_penalty(stage, net(), values)(values).asscalar() == pytest.approx(0.0005 / 2 * 10)


def test_factors_are_times_those_that_parameters_have_themselves():
    trained = tiny_net()
    trained.fc_weight.lr_mult = 3
    with Learner(trained, TransferObjective(), [mx.cpu()], lr_mult={"fc_": 2}):
        assert (trained.fc_weight.lr_mult, trained.fc_bias.lr_mult) == (6, 2)
    assert (trained.fc_weight.lr_mult, trained.fc_bias.lr_mult) == (3, 1)


def test_a_library_gives_all_that_rates_by_parts_and_a_held_out_part_take():
    groups = transfer_gluon.layer_groups(transfer_gluon.resnet(8, (3, 16, 16)))
    rates = transfer_gluon.readme_rates(transfer_gluon.thirds(groups, 2), [4, 2, 1])
    assert (rates["fc_weight"], rates["stage3_unit1_conv1_weight"], rates["conv0_weight"]) == (4, 2, 1)
    judge = transfer_gluon.Validation(TinyIter(1), name="source_accuracy")
    results = transfer_gluon.fit(tiny_net(), TransferObjective(), TinyIter(1), [mx.cpu()],
                                 transfer_gluon.StepSchedule(0.0), 4, after_epoch=[judge, transfer_gluon.EarlyStop(1)])
    assert len(results) < 4 and 0 <= results[0].others["source_accuracy"] <= 1
