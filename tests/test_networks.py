"""Networks: normalisation inside, the model zoo by name, frozen parts."""
import numpy as np
import pytest
from conftest import NEW_NETWORK, SMALL

from base.errors import InputError
from base.framework import mx
from symbols import features_block, normalization, normalized, resnet
from training.checkpoint import load_checkpoint

MEAN, STD = (123.68, 116.779, 103.939), (58.393, 57.12, 57.375)


def test_normalisation_is_a_layer_that_survives_the_file(stage0, data, command, tmp_path):
    flags = ["--rgb-mean", "123.68,116.779,103.939", "--rgb-std", "58.393,57.12,57.375"]
    prefix = tmp_path / "n" / "m"
    command("fine_tune.py", *NEW_NETWORK, *SMALL, "--data-dir", data, "--model-prefix", prefix, *flags)
    checkpoint = load_checkpoint(prefix, 1)
    assert normalization(checkpoint.symbol) == (MEAN, STD)
    images = mx.nd.random.uniform(0, 255, (4, 3, 16, 16))
    parameters = checkpoint.arg_params, checkpoint.aux_params
    inside = features_block(checkpoint.symbol.get_internals()["flatten0_output"], *parameters)
    plain = features_block(resnet(8, (3, 16, 16)), *parameters)
    for block in (inside, plain):
        block.initialize()
    mean, std = (mx.nd.array(values).reshape((1, 3, 1, 1)) for values in (MEAN, STD))
    wanted = plain((images - mean) / std).asnumpy()
    np.testing.assert_allclose(inside(images).asnumpy(), wanted, rtol=1e-5, atol=1e-6)
    inside.hybridize(static_alloc=True, static_shape=True)
    np.testing.assert_allclose(inside(images).asnumpy(), wanted, rtol=1e-5, atol=1e-6)
    stage1 = ["--train-stage", 1, *SMALL, "--data-dir", data, "--pretrained-model", prefix, "--pretrained-epoch", 1]
    command("fine_tune.py", *stage1, *flags)
    said = command("fine_tune.py", *stage1, *flags[:2], expect=2).stderr
    assert "mean 123.68,116.779,103.939, std 58.393,57.12,57.375" in said
    assert "ask for 123.68,116.779,103.939, 1,1,1" in said


def test_the_network_behind_the_normalisation_is_unchanged():
    network = resnet(8, (3, 16, 16))
    front = normalized(network, MEAN)
    assert normalization(network) is None and normalization(front) == (MEAN, (1, 1, 1))
    assert front.list_arguments() == network.list_arguments()
    assert normalized(front, MEAN) is front
    with pytest.raises(InputError, match="--rgb-std is 1,0,1"):
        normalized(network, MEAN, (1, 0, 1))
