"""What a network's images are and its classes are called stands in its file, which stock MXNet reads."""
from dataclasses import replace

import pytest
from tiny import SHAPE, tiny_symbol

from transfer_gluon.base.errors import InputError
from transfer_gluon.base.framework import mx
from transfer_gluon.checkpoints.checkpoint import load_checkpoint, save_checkpoint
from transfer_gluon.symbols import ImageInput, TransferNet, features_block
from transfer_gluon.symbols.image_input import parse_classes
from transfer_gluon.training.learner import prepare

NAMES = ["red, bright", "grün \"ä\"", "'blue' [1]"]


@pytest.fixture
def saved(tmp_path):
    """The prefix of a checkpoint of three classes with names."""
    net = TransferNet(features_block(tiny_symbol()), 3, image_shape=SHAPE, resize="squeeze", classes=NAMES)
    prepare(net, [mx.cpu()])
    net(mx.nd.zeros((1, *SHAPE)))
    save_checkpoint(tmp_path / "m", 1, net)
    return tmp_path / "m"


def test_a_checkpoint_says_what_its_images_and_classes_are(saved):
    checkpoint = load_checkpoint(saved, 1)
    assert (checkpoint.image_shape, checkpoint.resize, checkpoint.classes) == (SHAPE, "squeeze", NAMES)
    again = checkpoint.classifier("flatten0", 3, SHAPE)
    assert again.image_input == ImageInput(SHAPE, None, tuple(NAMES))
    with pytest.raises(InputError, match="its classes are red, bright, .*and `classes` are a, b, c. Give the same"):
        checkpoint.classifier("flatten0", 3, SHAPE, classes=["a", "b", "c"])
    with pytest.raises(InputError, match="`classes` are 2 names, and `num_classes` is 3"):
        TransferNet(mx.gluon.nn.Flatten(), 3, classes=["a", "b"])


def test_stock_mxnet_reads_a_network_that_says_so(saved):
    images = mx.nd.random.uniform(0, 255, (2, *SHAPE))
    symbol, arguments, auxiliary = mx.model.load_checkpoint(str(saved), 1)
    module = mx.mod.Module(symbol, label_names=["softmax_label"])
    module.bind([("data", images.shape)], [("softmax_label", (2,))], for_training=False)
    module.set_params(arguments, auxiliary)
    module.forward(mx.io.DataBatch([images]))
    block = mx.gluon.SymbolBlock.imports(f"{saved}-symbol.json", ["data", "softmax_label"], f"{saved}-0001.params")
    assert block(images, mx.nd.zeros(2)).asnumpy() == pytest.approx(module.get_outputs()[0].asnumpy())


def test_what_is_no_list_of_names_says_nothing(saved):
    for text in ("", "{}", '{"a": 1}', "[]", '["a", "a"]', '["a", ""]', "[1, 2]", "[[]]", "[" * 100_000, '"ab"', None):
        assert parse_classes(text) is None
    checkpoint = load_checkpoint(saved, 1)
    two = checkpoint.symbol(data=ImageInput(classes=("a", "b")).variable())
    assert ImageInput.of(two).classes == ("a", "b") and replace(checkpoint, symbol=two).classes is None
