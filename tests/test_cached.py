"""Training on features that are computed once: the same loop, and what comes out is the whole network."""
import csv

import numpy as np
import pytest

from tests.conftest import call, make_data, make_domain
from transfer_gluon.base.errors import InputError
from transfer_gluon.base.framework import mx
from transfer_gluon.checkpoints.checkpoint import load_checkpoint
from transfer_gluon.iters import DualIter, read_list
from transfer_gluon.iters.feature_file import read_features
from transfer_gluon.iters.feature_iter import ShuffledFeatures

HEAD = {"bottleneck_weight", "bottleneck_bias", "fc_weight", "fc_bias"}
SMALL = ["--num-classes", 3, "--image-shape", "3,16,16", "--data-nthreads", 2, "--batch-size", 8, "--lr", 0.01]


def train(stage, data, start, prefix, *flags, epochs=2, **more):
    return call("fine_tune.py", "--train-stage", stage, *SMALL, "--num-epochs", epochs, "--data-dir", data,
                "--pretrained-model", start, "--pretrained-epoch", 1, "--model-prefix", prefix, *flags, **more)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """With data, and the checkpoint s0 of a stage 0 that has a bottleneck."""
    folder = tmp_path_factory.mktemp("cached")
    call("fine_tune.py", "--network", "resnet", "--num-layers", 8, "--bottleneck", 6, *SMALL, "--num-epochs", 1,
         "--data-dir", make_data(folder / "data"), "--model-prefix", folder / "s0")
    return folder


@pytest.fixture
def data(folder, tmp_path):
    """The same data, without features."""
    return make_data(tmp_path / "data")


def values(prefix, epoch):
    checkpoint = load_checkpoint(prefix, epoch)
    return {name: value.asnumpy() for name, value in {**checkpoint.arg_params, **checkpoint.aux_params}.items()}


def test_equals_training_of_the_whole_network_that_is_frozen_below(folder, data, tmp_path):
    """A view of every image an epoch: batch by batch what the frozen layers would have given."""
    train(1, data, folder / "s0", tmp_path / "cached", "--read", "features", "--feature-views", 2)
    train(1, data, folder / "s0", tmp_path / "whole", "--freeze", "--trainable", "bottleneck,fc",
          "--frozen-statistics", "inference")
    start, cached, whole = values(folder / "s0", 1), values(tmp_path / "cached", 2), values(tmp_path / "whole", 2)
    assert set(cached) == set(whole)
    for name in cached:
        if name in HEAD:
            assert np.abs(cached[name] - start[name]).max() > 1e-4
            np.testing.assert_allclose(cached[name], whole[name], atol=1e-6, rtol=1e-4, err_msg=name)
        else:
            assert (cached[name] == start[name]).all() and (whole[name] == start[name]).all(), name


def test_the_validation_is_that_of_the_whole_network(folder, data, tmp_path):
    train(1, data, folder / "s0", tmp_path / "m", "--read", "features", epochs=1)
    rows = list(csv.DictReader(open(tmp_path / "m-run" / "summary.csv")))
    done = call("adabn.py", "--model", tmp_path / "m", "--epoch", 1, "--val", data / "val.lst", "--val-resize", 18)
    call("predict.py", "--model", tmp_path / "m", "--epoch", 1, "--lst", data / "val.lst", "--out", tmp_path / "p.csv")
    named = {row["path"]: row["label_1"] for row in csv.DictReader(open(tmp_path / "p.csv"))}
    images = read_list(data / "val.lst")
    right = np.mean([named[file] == str(label) for file, label in zip(images.files, images.labels)])
    assert float(rows[0]["validation_accuracy"]) == pytest.approx(right, abs=1e-6)
    assert "accuracy of 16 images" in done.stdout


def test_stock_mxnet_and_onnx_take_what_comes_out(folder, data, tmp_path):
    train(0, data, folder / "s0", tmp_path / "m", "--read", "features", "--bottleneck", 5, epochs=1)
    symbol, arguments, auxiliary = mx.model.load_checkpoint(str(tmp_path / "m"), 1)
    assert arguments["bottleneck_weight"].shape[0] == 5
    module = mx.mod.Module(symbol, label_names=["softmax_label"])
    module.bind([("data", (2, 3, 16, 16))], for_training=False)
    module.set_params(arguments, auxiliary)
    module.forward(mx.io.DataBatch([mx.nd.ones((2, 3, 16, 16))]), is_train=False)
    assert module.get_outputs()[0].shape == (2, 3)
    call("tools/export.py", "--model", tmp_path / "m", "--epoch", 1)


def test_computed_once(folder, data, tmp_path):
    first = train(0, data, folder / "s0", tmp_path / "m0", "--read", "features", "--bottleneck", 5, epochs=1)
    assert first.stderr.count("computing what flatten0 gives") == 2     # of source and val
    again = train(1, data, tmp_path / "m0", tmp_path / "m1", "--read", "features", epochs=1)
    assert again.stderr.count("computing what flatten0 gives") == 1     # of the target: the frozen part is the same
    assert "computing" not in train(1, data, tmp_path / "m0", tmp_path / "m2", "--read", "features", epochs=1).stderr


@pytest.mark.parametrize("flags", [[], ["--feature-views", 2, "--mixup", 0.3], ["--ema", 0.5, "--mom", 0.9],
                                   ["--transfer", "dann", "--l2sp", 0.1], ["--estimate", "quadratic", "--cpus", 2],
                                   ["--source-validation", 0.2, "--keep", "best"]])
def test_resumed_bitwise(folder, data, tmp_path, flags):
    flags = ["--read", "features", *flags]
    train(1, data, folder / "s0", tmp_path / "whole", *flags, epochs=3)
    train(1, data, folder / "s0", tmp_path / "parts", *flags, epochs=1)
    train(1, data, folder / "s0", tmp_path / "parts", *flags, "--resume", epochs=3)
    for end in "-symbol.json", "-0003.params", "-run/summary.csv", "-run/state.params":
        assert (tmp_path / f"whole{end}").read_bytes() == (tmp_path / f"parts{end}").read_bytes(), end


def test_several_devices_share_batches(folder, data, tmp_path):
    for cpus in 1, 2:
        train(0, data, folder / "s0", tmp_path / f"m{cpus}", "--read", "features", "--cpus", cpus)
    one, two = values(tmp_path / "m1", 2), values(tmp_path / "m2", 2)
    np.testing.assert_allclose(one["fc_weight"], two["fc_weight"], rtol=1e-4, atol=1e-6)


def test_views_are_taken_in_turn(folder, data, tmp_path):
    train(0, data, folder / "s0", tmp_path / "m", "--read", "features", "--feature-views", 3, epochs=1)
    file, = data.glob("features-*/source.npz")
    features, images = read_features(file), read_list(data / "source.lst")
    assert features.views.shape == (3, 24, 64) and (features.views[0] != features.views[1]).any()
    batches = ShuffledFeatures(features, images, 8)
    for epoch in range(4):
        batches.set_epoch(epoch)
        batch = batches.next()
        assert (batch.data[0].asnumpy() == features.views[epoch % 3][batch.index]).all()
    assert read_features(file.with_name("val.npz")).views.shape[0] == 0


def test_features_of_a_folder_of_ones_own(folder, data, tmp_path):
    call("extract_features.py", "--model", folder / "s0", "--epoch", 1, "--lst", data / "source.lst", "--out",
         tmp_path / "mine" / "source.npz", "--image-shape", "3,16,16")
    done = train(0, data, folder / "s0", tmp_path / "m", "--read", "features", "--features-dir", tmp_path / "mine",
                 epochs=1)
    assert done.stderr.count("computing what") == 1     # of val
    assert {file.name for file in (tmp_path / "mine").iterdir()} >= {"source.npz", "val.npz"}
    assert not list(data.glob("features-*"))


def test_features_of_something_else_are_refused(folder, data, tmp_path):
    mine = tmp_path / "mine"
    flags = ["--read", "features", "--features-dir", mine]
    train(0, data, folder / "s0", tmp_path / "m0", *flags, epochs=1)
    # Another network: one whose lower layers have trained since.
    train(0, data, folder / "s0", tmp_path / "m1", epochs=1)
    refused = train(0, data, tmp_path / "m1", tmp_path / "m2", *flags, expect=2)
    assert "m1-0001.params" in refused.stderr and "s0-0001.params" in refused.stderr
    refused = train(0, data, folder / "s0", tmp_path / "m2", *flags, "--layer-before-fullc", "relu1", expect=2)
    assert "relu1" in refused.stderr and "flatten0" in refused.stderr
    make_domain(data, "source", [i % 3 for i in range(23)], seed=1)
    refused = train(0, data, folder / "s0", tmp_path / "m2", *flags, expect=2)
    assert str(data / "source.lst") in refused.stderr and str(mine / "source.npz") in refused.stderr


@pytest.mark.parametrize("flags, expect", [
    (["--read", "features", "--freeze"], "--freeze was given with --read features"),
    (["--read", "features", "--new-layers", 2], "--new-layers was given with --read features"),
    (["--read", "features", "--random-mirror", 0], "--random-mirror was given with --read features without"),
    (["--feature-views", 2], "--feature-views was given without --read features"),
    (["--features-dir", "f"], "--features-dir was given without --read features"),
    (["--read", "features", "--test-io", 1], "--read features was given with --test-io"),
    (["--read", "features", "--benchmark", 1], "--read features was given with --benchmark"),
])
def test_what_does_nothing_is_refused(folder, data, tmp_path, flags, expect):
    assert expect in train(0, data, folder / "s0", tmp_path / "m", *flags, expect=2).stderr


def test_labels_are_those_of_the_list(folder, data, tmp_path):
    """Features know nothing of labels: a list with others reads the same file."""
    from transfer_gluon.iters import write_list
    train(0, data, folder / "s0", tmp_path / "m", "--read", "features", epochs=1)
    images = read_list(data / "source.lst")
    write_list(data / "source.lst", (images.labels + 1) % 3, images.files)
    done = train(0, data, folder / "s0", tmp_path / "m2", "--read", "features", epochs=1)
    assert "computing" not in done.stderr
    file, = data.glob("features-*/source.npz")
    batch = ShuffledFeatures(read_features(file), read_list(data / "source.lst"), 8).next()
    assert (batch.label[0].asnumpy() == (images.labels[batch.index] + 1) % 3).all()


def test_fit_says_what_learns_once(folder, data):
    from transfer_gluon.iters import SyntheticIter
    from transfer_gluon.symbols import TransferObjective
    from transfer_gluon.training.loop import fit
    from transfer_gluon.training.schedule import StepSchedule
    net = load_checkpoint(folder / "s0", 1).classifier("bottleneck_relu", 3)
    batches = SyntheticIter(4, (64,), 3, num_images=8)
    with pytest.raises(InputError, match="`trainable` and `features_from` were both given"):
        fit(net, TransferObjective(), batches, [mx.cpu()], StepSchedule(0.1), 1, trainable=["fc"],
            features_from="flatten0")
    with pytest.raises(InputError, match="bottleneck_relu: what lies above takes from"):
        fit(load_checkpoint(folder / "s0", 1).classifier(["flatten0", "bottleneck_relu"], 3), TransferObjective(),
            DualIter(batches, batches), [mx.cpu()], StepSchedule(0.1), 1, features_from="bottleneck_relu")


def test_in_a_process_of_its_own(folder, data, tmp_path):
    """Where MXNet has given no names yet: those that it gives first are those that networks have."""
    train(0, data, folder / "s0", tmp_path / "m", "--read", "features", "--bottleneck", 5, epochs=1, process=True)


def test_lists_of_one_name_have_features_of_their_own(folder, data, tmp_path):
    """source and target all.lst of two folders; the target validates too, without views."""
    for name in "ab":
        (tmp_path / name).mkdir()
        make_domain(tmp_path / name, "all", [i % 3 for i in range(16)], seed=ord(name))
    lists = ["--source", tmp_path / "a/all.lst", "--target", tmp_path / "b/all.lst", "--val", tmp_path / "b/all.lst"]
    views = ["--feature-views", 2]
    for number, flags in enumerate([[], views, [*views, "--features-dir", tmp_path / "mine"]]):
        train(1, tmp_path / "here", folder / "s0", tmp_path / f"m{number}", *lists, "--read", "features", *flags,
              epochs=1)
    # Another run with a list of this name.
    train(0, tmp_path / "here", folder / "s0", tmp_path / "m", "--source", tmp_path / "b/all.lst", "--no-validation",
          "--read", "features", epochs=1)


def test_a_record_of_another_list_of_the_same_images_will_do(folder, data, tmp_path):
    train(1, data, folder / "s0", tmp_path / "m", epochs=1)
    assert not (data / "target.rec").exists() or not (data / "val.rec").exists()
    for file in data.glob("*/*.jpg"):
        file.unlink()
    train(1, data, folder / "s0", tmp_path / "m2", "--read", "features", epochs=1)


def test_workers_compute_one_behind_the_other(monkeypatch, folder, data):
    """Each what is not there on its own disk."""
    from types import SimpleNamespace

    from transfer_gluon.training import cached
    happened = []
    monkeypatch.setattr(cached, "extract", lambda *given, **_: happened.append("extract"))
    monkeypatch.setattr(cached, "as_packed", lambda lists: [(images, False) for images in lists])
    monkeypatch.setattr(cached, "feature_source", lambda *_, **__: SimpleNamespace(images="x" * 16, digest="y" * 16))
    monkeypatch.setattr(cached, "read_features", lambda file: file)
    monkeypatch.setattr(cached, "check_features", lambda *_: None)
    stage = SimpleNamespace(
        data=SimpleNamespace(feature_views=0, features_dir="f", data_dir=str(data), threads=1),
        images=SimpleNamespace(val_resize=None), network=SimpleNamespace(layer="flatten0"))
    source = read_list(data / "source.lst")
    store = SimpleNamespace(rank=1, num_workers=3, barrier=lambda: happened.append("barrier"))
    lists = SimpleNamespace(all=[source], domains=[source], roles=["source"])
    cached.cached_features(stage, None, lists, (3, 16, 16), store, [])
    assert happened == ["barrier", "extract", "barrier", "barrier"]


def test_three_rates_where_the_head_alone_trains(folder, data, tmp_path):
    """The classifier's is that of the head; of the others the log says that they are for nothing."""
    done = train(0, data, folder / "s0", tmp_path / "m3", "--read", "features", "--lr", "0.02,0.01,0.001",
                 "--num-lowlrs", 2, epochs=1)
    train(0, data, folder / "s0", tmp_path / "m1", "--read", "features", "--lr", "0.02", epochs=1)
    assert "--lr has the rate 0.001 for the low part, of which nothing trains" in done.stderr
    assert (values(tmp_path / "m1", 1)["fc_weight"] == values(tmp_path / "m3", 1)["fc_weight"]).all()
