"""What images are resized to for validation: known to the run, its checkpoints, and whoever reads these."""
import cv2
import numpy as np
import pytest
from conftest import NEW_NETWORK, SMALL

from transfer_gluon.base.errors import InputError
from transfer_gluon.base.framework import mx
from transfer_gluon.checkpoints.checkpoint import load_checkpoint, parameter_file, symbol_file
from transfer_gluon.commands import adabn, fine_tune, predict
from transfer_gluon.inference import adapt_to_images, predict_images
from transfer_gluon.iters import Augmentation, OrderedIter, prepared, read_list
from transfer_gluon.symbols import image_shape_of, image_variable, resize_of
from transfer_gluon.training.start import known_val_resize
from transfer_gluon.training.summary import read_summary


@pytest.fixture
def sizes(monkeypatch):
    """What every `prepared` of training, predictions and AdaBN is told."""
    told = []
    for module in ("training.domains", "inference.predictions", "inference.adabn"):
        monkeypatch.setattr(f"transfer_gluon.{module}.prepared", lambda *given: told.append(given) or prepared(*given))
    return told


def train(data, prefix, *flags):
    fine_tune.main.main([str(flag) for flag in [*SMALL, "--data-dir", data, "--model-prefix", prefix, *flags]],
                        standalone_mode=False)
    return prefix


def test_the_rule_travels_with_the_checkpoint_to_every_command(data, tmp_path, sizes):
    stage0 = train(data, tmp_path / "s0", *NEW_NETWORK, "--val-resize", 20)
    assert load_checkpoint(stage0, 1).resize == 20 and load_checkpoint(stage0, 1).image_shape == (3, 16, 16)
    stage1 = train(data, tmp_path / "s1", "--train-stage", 1, "--pretrained-model", stage0, "--pretrained-epoch", 1)
    assert load_checkpoint(stage1, 1).resize == 20
    told = train(data, tmp_path / "told", "--train-stage", 1, "--pretrained-model", stage0, "--pretrained-epoch", 1,
                 "--val-resize", "squeeze")
    assert load_checkpoint(told, 1).resize == "squeeze"
    predict.main.main(["--model", str(stage1), "--epoch", "1", "--lst", str(data / "val.lst"), "--out",
                       str(tmp_path / "p.csv")], standalone_mode=False)
    adabn.main.main(["--model", str(stage1), "--epoch", "1", "--val", str(data / "val.lst"), "--save-prefix",
                     str(tmp_path / "a")], standalone_mode=False)
    assert load_checkpoint(tmp_path / "a", 1).resize == 20
    predict.main.main(["--model", str(stage1), "--epoch", "1", "--lst", str(data / "val.lst"), "--out",
                       str(tmp_path / "p.csv"), "--val-resize", "squeeze"], standalone_mode=False)
    adabn.main.main(["--model", str(stage1), "--epoch", "1", "--val", str(data / "val.lst"), "--val-resize", "19"],
                    standalone_mode=False)
    assert sizes == [(16, 16, rule) for rule in (20, 20, "squeeze", 20, 20, "squeeze", 19)]


def test_validation_and_predictions_see_the_pixels_of_the_rule(data, tmp_path):
    for i, file in enumerate(read_list(data / "val.lst").files):        # not square, so that it matters
        cv2.imwrite(file, np.random.default_rng(i).integers(0, 256, (24, 60, 3), dtype=np.uint8))
    prefix = train(data, tmp_path / "m", *NEW_NETWORK, "--val-resize", "squeeze")
    checkpoint, images = load_checkpoint(prefix, 1), read_list(data / "val.lst")
    squeezed, _ = predict_images(checkpoint, images, [mx.cpu()], top_k=1)
    assert (squeezed[:, 0] == images.labels).mean() == pytest.approx(
        float(read_summary(tmp_path / "m-run" / "summary.csv")[-1]["validation_accuracy"]), abs=1e-4)
    net = mx.mod.Module.load(str(prefix), 1, label_names=None)          # stock MXNet, by the pixels themselves
    pixels = np.stack([cv2.resize(cv2.imread(file, cv2.IMREAD_COLOR_RGB), (16, 16), interpolation=cv2.INTER_CUBIC)
                       for file in images.files]).transpose(0, 3, 1, 2)
    net.bind([("data", pixels.shape)], for_training=False)
    wanted = net.predict(mx.io.NDArrayIter(pixels.astype(np.float32), batch_size=len(pixels))).asnumpy()
    _, found = predict_images(checkpoint, images, [mx.cpu()], top_k=3)
    np.testing.assert_allclose(found, -np.sort(-wanted), rtol=1e-4, atol=1e-6)
    _, others = predict_images(checkpoint, images, [mx.cpu()], top_k=3, val_resize=18)
    assert abs(others - found).max() > 1e-4
    usual, centres = (adapt_to_images(checkpoint, images, [mx.cpu()], val_resize=rule).checkpoint.aux_params
                      for rule in (None, 24))
    assert any(abs(usual[name] - centres[name]).max().asscalar() > 1e-4 for name in usual)


def test_adabn_stays_the_originals_where_nothing_is_told(stage0, data, monkeypatch, sizes):
    seen = []
    monkeypatch.setattr("transfer_gluon.inference.adabn.OrderedIter",
                        lambda *given: seen.append(OrderedIter(*given)) or seen[-1])
    adapt_to_images(load_checkpoint(stage0, 1), read_list(data / "val.lst"), [mx.cpu()])
    assert not sizes and seen[0].provide_data[0].dtype == np.float32    # which only the original's gives


def test_a_checkpoint_that_is_told_nothing_says_nothing(stage0):
    assert load_checkpoint(stage0, 1).resize is None and "__resize__" not in symbol_file(stage0).read_text()


def test_a_side_belongs_to_the_size_it_was_told_with():
    for resize, elsewhere in ((256, None), ("squeeze", "squeeze")):
        symbol = mx.sym.Flatten(image_variable((3, 224, 224), resize))
        assert resize_of(symbol, (3, 224, 224)) == resize and resize_of(symbol, (3, 128, 128)) == elsewhere


@pytest.mark.parametrize("resize", [1, 256, "squeeze", None])
def test_what_a_symbol_says_of_its_images_is_kept_in_its_text(resize):
    symbol = mx.sym.load_json(mx.sym.Flatten(image_variable((3, 8, 9), resize)).tojson())
    assert (resize_of(symbol), image_shape_of(symbol)) == (resize, (3, 8, 9))
    assert resize_of(mx.sym.var("data", attr={"__resize__": "stretch"})) is None


def test_a_run_goes_on_by_its_own_rule(data, tmp_path, sizes):
    prefix = train(data, tmp_path / "m", *NEW_NETWORK, "--val-resize", 20)
    more = [*NEW_NETWORK, "--num-epochs", 2]
    train(data, prefix, *more, "--resume")
    assert [rule for _, _, rule in sizes] == [20, 20] and load_checkpoint(prefix, 2).resize == 20
    assert known_val_resize(prefix, None) == 20 and known_val_resize(tmp_path / "none", None) is None
    with pytest.raises(InputError, match="val.resize"):
        train(data, prefix, *NEW_NETWORK, "--num-epochs", 3, "--resume", "--val-resize", 21)
    parameter_file(prefix, 2).unlink()
    with pytest.raises(InputError, match="images of .* and no normalisation, and validated by 20 .?-?val.resize"):
        train(data, prefix, *NEW_NETWORK, "--num-epochs", 3, "--load-epoch", 1, "--val-resize", "squeeze")
    train(data, prefix, *NEW_NETWORK, "--num-epochs", 2, "--load-epoch", 1)
    assert load_checkpoint(prefix, 2).resize == 20


def test_a_run_of_the_usual_rule_does_not_take_on_another(data, tmp_path):
    told = train(data, tmp_path / "told", *NEW_NETWORK, "--val-resize", 20)
    usual = train(data, tmp_path / "usual", *NEW_NETWORK)
    assert known_val_resize(usual, told) is None and known_val_resize(None, told) == 20


def test_a_side_shorter_than_the_crop_is_refused_by_every_command(stage0, data, tmp_path):
    model, refused = ["--model", str(stage0), "--epoch", "1"], "is 15; expected at least 16"
    for command, flags in ((predict, ["--lst", str(data / "val.lst"), "--out", str(tmp_path / "p.csv")]),
                           (adabn, ["--val", str(data / "val.lst")])):
        with pytest.raises(InputError, match=refused):
            command.main.main([*model, *flags, "--val-resize", "15"], standalone_mode=False)
    with pytest.raises(InputError, match=refused):
        train(data, tmp_path / "m", *NEW_NETWORK, "--val-resize", 15)
    assert not (tmp_path / "m-0001.params").exists()


class Enough(Exception):
    """The reader has been asked for."""


@pytest.mark.parametrize("flags, wanted", [
    (["--aa", "rand-m9-mstd0.5-inc1"], dict(aa="rand-m9-mstd0.5-inc1")),
    (["--reprob", 0.3, "--remode", "pixel"], dict(reprob=0.3, remode="pixel")),
    (["--crop", "plain", "--train-resize", 20], dict(crop="plain", train_resize=20)),
    (["--random-crop", 0, "--train-resize", "squeeze"], dict(random_crop=False, train_resize="squeeze"))])
def test_flags_of_training_images_reach_the_reader(data, tmp_path, monkeypatch, flags, wanted):
    def reader(images, batch_size, image_shape, augmentation, *_, **__):
        assert augmentation == Augmentation(**wanted, mode="original")
        raise Enough

    monkeypatch.setattr("transfer_gluon.training.domains.ShuffledIter", reader)
    with pytest.raises(Enough):
        train(data, tmp_path / "m", *NEW_NETWORK, *flags)
