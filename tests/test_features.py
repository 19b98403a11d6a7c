"""Feature files: what is computed, that it goes on after a kill with the same bytes, and that nothing else is taken."""
import json
import os
import resource
import signal
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest

from tests.conftest import ROOT, call, make_domain
from transfer_gluon.base.errors import InputError
from transfer_gluon.base.framework import mx
from transfer_gluon.checkpoints.checkpoint import load_checkpoint
from transfer_gluon.inference import features as extraction
from transfer_gluon.inference.features import extract, feature_source, network_digest
from transfer_gluon.iters import Augmentation, OrderedFeatures, ShuffledFeatures, ShuffledIter, read_list
from transfer_gluon.iters.feature_file import check_features, read_features, write_features
from transfer_gluon.symbols import cut, normalized

CPU = [mx.cpu()]


@pytest.fixture
def source(data):
    return read_list(data / "source.lst")


@pytest.fixture
def start(stage0):
    return load_checkpoint(stage0, 1)


def of(start, images, path, layer="flatten0", **more):
    return extract(start, layer, images, path, CPU, image_shape=(3, 16, 16), batch_size=8, threads=2, **more)


def test_what_stock_mxnet_computes(start, source, stage0, tmp_path):
    from transfer_gluon.iters import OrderedIter, prepared
    found = of(start, source, tmp_path / "f.npz")
    symbol, arguments, auxiliary = mx.model.load_checkpoint(str(stage0), 1)
    module = mx.mod.Module(symbol.get_internals()["flatten0_output"], label_names=None)
    module.bind([("data", (24, 3, 16, 16))], for_training=False)
    module.set_params(arguments, auxiliary, allow_extra=True)
    module.forward(OrderedIter(source, 24, prepared(16, 16, 18)).next(), is_train=False)
    np.testing.assert_allclose(found.values, module.get_outputs()[0].asnumpy(), rtol=1e-4, atol=1e-5)
    assert found.labels.tolist() == source.labels.tolist() and found.files == source.files


def test_any_layer_keeps_its_shape(start, source, tmp_path):
    assert of(start, source, tmp_path / "f.npz", "relu1").values.shape[2:] == (4, 4)
    with pytest.raises(InputError, match="no such layer.*relu1"):
        of(start, source, tmp_path / "g.npz", "relu11")


def test_views_are_what_training_makes_of_the_images(start, source, tmp_path, monkeypatch):
    """View k holds, for each image, what the layer gives for the pixels of epoch k."""
    augmentation = Augmentation(min_random_area=0.3, mode="original")
    monkeypatch.setattr(extraction, "_CHUNK", 8)
    found = of(start, source, tmp_path / "f.npz", views=2, augmentation=augmentation, seed=5)
    net = start.features("flatten0")
    net.initialize()
    images = ShuffledIter(source, 8, (3, 16, 16), augmentation, seed=5)
    cached = ShuffledFeatures(found, source, 8, seed=5)
    for epoch in range(2):
        images.set_epoch(epoch), cached.set_epoch(epoch)
        for batch, rows in zip(images, cached):
            assert batch.index == rows.index and (batch.label[0] == rows.label[0]).asnumpy().all()
            np.testing.assert_allclose(rows.data[0].asnumpy(), net(batch.data[0]).asnumpy(), rtol=1e-3, atol=1e-4)
    assert np.abs(found.views[0] - found.values).max() > 1e-2


@pytest.mark.parametrize("mode, parts", [("original", 1), ("bytes", 1), ("original", 2), ("bytes", 2)])
def test_the_order_is_that_of_images(start, source, tmp_path, mode, parts):
    found = of(start, source, tmp_path / "f.npz")
    for part in range(parts):
        images = ShuffledIter(source, 5, (3, 16, 16), Augmentation(mode=mode), seed=3, num_parts=parts, part_index=part)
        cached = ShuffledFeatures(found, source, 5, mode, 3, parts, part)
        assert (images.batches_per_epoch, images.num_images) == (cached.batches_per_epoch, cached.num_images)
        for epoch in 0, 4:
            images.set_epoch(epoch), cached.set_epoch(epoch)
            images.skip(1), cached.skip(1)
            assert [batch.index for batch in images] == [batch.index for batch in cached]


def test_in_order_and_in_parts(start, source, tmp_path):
    found = of(start, source, tmp_path / "f.npz")
    places = [place for part in (0, 1) for batch in OrderedFeatures(found, source, 5, 2, part) for place in batch.index]
    assert places == list(range(24))
    assert [len(batch.index) for batch in OrderedFeatures(found, source, 5)] == [5, 5, 5, 5, 4]


def test_a_part_of_the_images_by_their_indices_and_none_that_are_not_there(start, source, tmp_path):
    import dataclasses
    found = of(start, source, tmp_path / "f.npz")
    some = dataclasses.replace(source, indices=source.indices[[7, 2]], labels=source.labels[[7, 2]],
                               files=[source.files[7], source.files[2]])
    assert (OrderedFeatures(found, some, 2).next().data[0].asnumpy() == found.values[[7, 2]]).all()
    strange = dataclasses.replace(some, indices=some.indices + 100)
    with pytest.raises(InputError, match="2 of the 2 images of .*source.lst are not in it, by their index"):
        OrderedFeatures(found, strange, 2)


def test_the_digest_is_that_of_what_is_computed(start, trained, tmp_path):
    def digest(symbol, arguments=start.arg_params):
        return network_digest(cut(symbol, "flatten0"), arguments, start.aux_params)

    first, symbol = digest(start.symbol), start.symbol
    again = mx.sym.load_json(mx.sym.load_json(symbol.tojson()).tojson())
    assert digest(again) == first
    assert digest(mx.sym.load_json(symbol.tojson().replace("(3, 3)", "(3,3)"))) == first
    assert digest(mx.sym.load_json(symbol.tojson().replace('"stride": "(2, 2)"', '"stride": "(1, 1)"'))) != first
    assert digest(normalized(symbol, (1, 2, 3))) != first
    told, plain = (mx.sym.relu(mx.sym.var("data"), attr=attr) for attr in ({"__said__": "to people"}, {}))
    assert network_digest(told, {}, {}) == network_digest(plain, {}, {})
    name = "conv0_weight"
    assert digest(symbol, {**start.arg_params, name: start.arg_params[name] + 1e-3}) != first
    assert digest(symbol, {**start.arg_params, "fc_weight": start.arg_params["fc_weight"] + 1}) == first


def test_the_digest_stays_through_a_stage_that_freezes_what_is_below(stage0, start, data, tmp_path):
    call("fine_tune.py", "--num-classes", 3, "--image-shape", "3,16,16", "--batch-size", 8, "--num-epochs", 1,
         "--freeze", "--trainable", "fc", "--frozen-statistics", "inference", "--pretrained-model", stage0,
         "--pretrained-epoch", 1, "--data-dir", data, "--model-prefix", tmp_path / "m")
    after = load_checkpoint(tmp_path / "m", 1)
    one, other = (network_digest(cut(it.symbol, "flatten0"), it.arg_params, it.aux_params) for it in (start, after))
    assert one == other and (after.arg_params["fc_weight"] != start.arg_params["fc_weight"]).asnumpy().any()


FLAGS = ["--epoch", 1, "--image-shape", "3,16,16", "--batch-size", 8, "--data-nthreads", 1]


def test_killed_it_goes_on_and_ends_with_the_same_bytes(stage0, tmp_path):
    """Killed as soon as a chunk is there, again and again."""
    make_domain(tmp_path, "many", [i % 3 for i in range(1400)], side=40)
    command = [sys.executable, ROOT / "extract_features.py", "--model", stage0, *FLAGS, "--lst", tmp_path / "many.lst"]
    command = [str(word) for word in command]
    subprocess.run([*command, "--out", tmp_path / "whole.npz"], check=True, capture_output=True)
    part, kills = tmp_path / "killed.npz.part", 0
    for chunks in range(1, 4):
        process = subprocess.Popen([*command, "--out", tmp_path / "killed.npz"], stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL)
        while process.poll() is None and len(list(part.glob("*.npy"))) < chunks:
            time.sleep(0.002)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.wait()
    assert kills >= 2
    before = {file: file.stat().st_mtime_ns for file in part.glob("*.npy")}
    assert before and not (tmp_path / "killed.npz").exists()
    subprocess.run([*command, "--out", tmp_path / "killed.npz"], check=True, capture_output=True)
    assert (tmp_path / "killed.npz").read_bytes() == (tmp_path / "whole.npz").read_bytes()
    assert not part.exists()


def test_chunks_that_are_there_are_not_computed_again(start, source, tmp_path, monkeypatch):
    monkeypatch.setattr(extraction, "_CHUNK", 8)
    asked, written = [], extraction.write_features
    whole = of(start, source, tmp_path / "whole.npz")
    monkeypatch.setattr(extraction, "write_features", lambda features: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        of(start, source, tmp_path / "f.npz")
    monkeypatch.setattr(extraction, "write_features", written)
    (tmp_path / "f.npz.part" / "0000-000001.npy").write_bytes(b"cut off")
    outputs = extraction.outputs
    monkeypatch.setattr(extraction, "outputs", lambda net, reader, *more: asked.append(reader.images.indices.tolist())
                        or outputs(net, reader, *more))
    assert (of(start, source, tmp_path / "f.npz").values == whole.values).all()
    assert asked == [list(range(8, 16))]
    assert (tmp_path / "f.npz").read_bytes() == (tmp_path / "whole.npz").read_bytes()


def test_a_full_disk_is_named_and_the_next_call_goes_on(stage0, data, tmp_path):
    """A limit on the size of files is a disk that is full."""
    limited = f"ulimit -f 12; exec {sys.executable} {ROOT}/extract_features.py --model {stage0} " \
              f"{' '.join(map(str, FLAGS))} --lst {data}/source.lst --layer conv0 --out {tmp_path}/f.npz"
    done = subprocess.run(["bash", "-c", limited], capture_output=True, text=True)
    assert done.returncode == 2 and "cannot be written: File too large" in done.stderr, done.stderr
    assert "Traceback" not in done.stderr and not (tmp_path / "f.npz").exists()
    call("extract_features.py", "--model", stage0, *FLAGS, "--lst", data / "source.lst", "--layer", "conv0", "--out",
         tmp_path / "f.npz")
    assert read_features(tmp_path / "f.npz").values.shape[0] == 24


def test_views_go_on_in_the_middle(start, source, tmp_path, monkeypatch):
    """Stopped behind every piece in turn, in whichever pass over the list that is."""
    told = dict(views=2, augmentation=Augmentation(min_random_area=0.3, mode="original"), seed=5)
    whole = of(start, source, tmp_path / "whole.npz", **told)
    monkeypatch.setattr(extraction, "_CHUNK", 16)
    outputs = extraction.outputs
    for done in range(6):       # 2 pieces in each of 3 passes
        left = [1]

        def one_piece(*given, left=left):
            if not left:
                raise KeyboardInterrupt
            left.pop()
            return outputs(*given)

        monkeypatch.setattr(extraction, "outputs", one_piece)
        if done < 5:
            with pytest.raises(KeyboardInterrupt):
                of(start, source, tmp_path / "f.npz", **told)
            assert len(list((tmp_path / "f.npz.part").glob("*.npy"))) == done + 1
    assert (of(start, source, tmp_path / "f.npz", **told).views == whole.views).all()
    assert (tmp_path / "f.npz").read_bytes() == (tmp_path / "whole.npz").read_bytes()


@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")     # of an archive left open
def test_a_disk_that_is_full_at_the_end_costs_nothing_that_was_computed(start, source, tmp_path, monkeypatch):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    monkeypatch.setattr(extraction, "_CHUNK", 8)
    whole = of(start, source, tmp_path / "whole.npz")
    most = (tmp_path / "whole.npz").stat().st_size - 1000
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, hard))
    try:
        with pytest.raises(InputError, match="f.npz: cannot be written"):
            of(start, source, tmp_path / "f.npz")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert sorted(path.name for path in tmp_path.glob("f.npz*")) == ["f.npz.part"]
    monkeypatch.setattr(extraction, "outputs", lambda *_: 1 / 0)
    assert (of(start, source, tmp_path / "f.npz").values == whole.values).all()
    assert (tmp_path / "f.npz").read_bytes() == (tmp_path / "whole.npz").read_bytes()
    assert not (tmp_path / "f.npz.part").exists()


def test_another_source_is_refused_with_both_named(stage0, start, source, data, tmp_path, monkeypatch):
    path = tmp_path / "f.npz"
    call("extract_features.py", "--model", stage0, *FLAGS, "--lst", source.path, "--out", path)
    again = call("extract_features.py", "--model", stage0, *FLAGS, "--lst", source.path, "--out", path)
    assert "is there already" in again.stderr
    for flags, one, other in ((["--layer", "relu1"], "flatten0", "relu1"),
                              (["--lst", data / "val.lst"], "source.lst", "val.lst"),
                              (["--val-resize", 30], "18", "30"),
                              (["--views", 1], "views, as many as 0", "expected 1")):
        said = call("extract_features.py", "--model", stage0, *FLAGS, "--lst", source.path, "--out", path, *flags,
                    expect=2).stderr
        assert one in said and other in said and "f.npz" in said
    call("extract_features.py", "--model", stage0, *FLAGS, "--lst", source.path, "--out", path, "--layer", "relu1",
         "--overwrite")
    assert read_features(path).source.layer == "relu1"


def test_what_another_source_has_half_computed_is_refused_too(start, source, tmp_path, monkeypatch):
    monkeypatch.setattr(extraction, "write_features", lambda features: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        of(start, source, tmp_path / "f.npz")
    with pytest.raises(InputError, match=r"f.npz.part.*the layer flatten0; expected relu1"):
        of(start, source, tmp_path / "f.npz", "relu1")
    with pytest.raises(ZeroDivisionError):
        of(start, source, tmp_path / "f.npz", "relu1", overwrite=True)
    assert json.loads(json.loads((tmp_path / "f.npz.part" / "source.json").read_text())[0])["layer"] == "relu1"


def test_images_that_cannot_be_read_are_named_all_and_the_rest_is_kept(stage0, data, source, tmp_path):
    cv2.imwrite(source.files[5], np.zeros((20, 20, 3)))
    for place in 3, 20:
        with open(source.files[place], "wb") as file:
            file.write(b"no image")
    command = ["extract_features.py", "--model", stage0, *FLAGS, "--lst", source.path, "--out", tmp_path / "f.npz"]
    said = call(*command, expect=2).stderr
    assert "2 of its 24 images" in said and source.files[3] in said and source.files[20] in said
    assert not (tmp_path / "f.npz").exists()
    for place in 3, 20:
        cv2.imwrite(source.files[place], np.zeros((20, 20, 3)))
    call(*command)


def test_of_two_processes_one_computes_and_the_other_waits(start, source, stage0, tmp_path, monkeypatch):
    out, outputs = tmp_path / "f.npz", extraction.outputs
    command = [sys.executable, ROOT / "extract_features.py", "--model", stage0, *FLAGS, "--lst", source.path, "--out",
               out]
    other = []

    def begin_another(*given):
        other.append(subprocess.Popen(list(map(str, command)), stderr=subprocess.PIPE, text=True))
        assert "waiting" in other[0].stderr.readline()
        return outputs(*given)

    monkeypatch.setattr(extraction, "outputs", begin_another)
    of(start, source, out)
    assert "is there already" in other[0].communicate()[1] and other[0].returncode == 0


@pytest.mark.parametrize("header", [None, "{"])
def test_pieces_that_nobody_knows_of_what_are_not_taken(start, source, tmp_path, monkeypatch, header):
    """As a process leaves them that is killed while it removes a folder of pieces."""
    whole, part = of(start, source, tmp_path / "whole.npz"), tmp_path / "f.npz.part"
    part.mkdir()
    np.save(part / "0000-000000.npy", np.zeros_like(whole.values))
    if header:
        (part / "source.json").write_text(header)
    assert (of(start, source, tmp_path / "f.npz").values == whole.values).all() and not part.exists()


def test_the_header_goes_last(start, source, tmp_path, monkeypatch):
    part, gone = tmp_path / "f.npz.part", []
    unlink = extraction.Path.unlink
    monkeypatch.setattr(extraction, "_CHUNK", 8)
    monkeypatch.setattr(extraction.Path, "unlink", lambda path, *more, **told: (
        gone.append(path.name) if path.exists() and path.parent == part else None, unlink(path, *more, **told))[1])
    of(start, source, tmp_path / "f.npz")
    assert sorted(gone[:3]) == [f"0000-00000{number}.npy" for number in range(3)] and gone[3:] == ["source.json"]


def test_files_of_others_stay(start, source, tmp_path):
    part = tmp_path / "f.npz.part"
    part.mkdir()
    (part / "thesis.txt").write_text("mine")
    (part / ".0000-000000.npy.here-1.2.tmp").write_text("left by a killed process")
    of(start, source, tmp_path / "f.npz")
    assert [path.name for path in part.iterdir()] == ["thesis.txt"]


def test_pieces_may_lie_elsewhere_behind_a_link(start, source, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "f.npz.part").symlink_to(tmp_path / "elsewhere")
    of(start, source, tmp_path / "f.npz")
    assert not list((tmp_path / "elsewhere").iterdir())


def test_other_names_of_the_same_go_on(start, source, tmp_path, monkeypatch):
    import dataclasses
    monkeypatch.setattr(extraction, "write_features", lambda features: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        of(start, source, tmp_path / "f.npz")
    monkeypatch.setattr(extraction, "outputs", lambda *_: pytest.fail("computed again"))
    with pytest.raises(ZeroDivisionError):
        of(dataclasses.replace(start, name="elsewhere"), source, tmp_path / "f.npz")


@pytest.mark.parametrize("content", ["objects", "archive", "number", "other shape"])
def test_a_piece_that_was_changed(start, source, tmp_path, monkeypatch, content):
    """Computed again; one that is found out at the end only, when the command is given again."""
    monkeypatch.setattr(extraction, "_CHUNK", 8)
    whole = of(start, source, tmp_path / "whole.npz")
    written = extraction.write_features
    monkeypatch.setattr(extraction, "write_features", lambda features: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        of(start, source, tmp_path / "f.npz")
    monkeypatch.setattr(extraction, "write_features", written)
    piece = tmp_path / "f.npz.part" / "0000-000001.npy"
    arrays = {"objects": np.array([{}] * 8), "number": np.float32(1), "other shape": np.zeros((8, 3), np.float32)}
    with open(piece, "wb") as file:
        np.savez(file, a=np.zeros(8)) if content == "archive" else np.save(file, arrays[content])
    if content == "other shape":
        with pytest.raises(InputError, match="0000-000001.npy: gone, or changed"):
            of(start, source, tmp_path / "f.npz")
    assert (of(start, source, tmp_path / "f.npz").values == whole.values).all()


def test_a_record_will_do_without_image_files(stage0, data, source, tmp_path):
    from transfer_gluon.records.packing import ensure_packed
    ensure_packed(source)
    command = ["extract_features.py", "--model", stage0, *FLAGS, "--lst", source.path]
    call(*command, "--out", tmp_path / "1.npz")
    for file in source.files:
        os.unlink(file)
    call(*command, "--out", tmp_path / "2.npz")
    assert (tmp_path / "1.npz").read_bytes() == (tmp_path / "2.npz").read_bytes()


def test_a_folder_that_cannot_be_written_is_told_by_its_flag(stage0, source):
    said = call("extract_features.py", "--model", stage0, *FLAGS, "--lst", source.path, "--out", "/proc/none/f.npz",
                expect=2).stderr
    assert "--out: the folder /proc/none cannot be written" in said


@pytest.mark.parametrize("flags, expect", [(["--random-mirror", 0], "--random-mirror was given without --views"),
                                           (["--seed", 3], "--seed was given without --views")])
def test_what_does_nothing_is_refused(stage0, data, flags, expect):
    assert expect in call("extract_features.py", "--model", stage0, *FLAGS, "--lst", data / "source.lst", *flags,
                          expect=2).stderr


def test_flags_reach_what_they_name(stage0, data, tmp_path):
    base = ["--model", stage0, *FLAGS, "--lst", data / "source.lst"]

    def told(*flags):
        call("extract_features.py", *base, "--out", tmp_path / "f.npz", "--overwrite", *flags)
        return read_features(tmp_path / "f.npz")

    plain = told()
    assert told("--image-shape", "3,24,24").source.image_shape == (3, 24, 24)
    assert (told("--val-resize", "squeeze").values != plain.values).any()
    views = told("--views", 2, "--random-mirror", 0, "--seed", 4)
    assert views.views.shape == (2, *plain.values.shape) and views.source.seed == 4
    assert views.source.augmentation["random_mirror"] == 0 and (views.values == plain.values).all()
    assert (told("--views", 2, "--random-mirror", 0, "--seed", 5).views != views.views).any()
    call("extract_features.py", *base)
    assert read_features(data / "source.npz").values.shape == plain.values.shape


def test_two_devices_give_the_same(start, source, tmp_path):
    one = of(start, source, tmp_path / "1.npz")
    two = extract(start, "flatten0", source, tmp_path / "2.npz", [mx.cpu(0), mx.cpu(1)], image_shape=(3, 16, 16),
                  batch_size=8)
    np.testing.assert_allclose(one.values, two.values, rtol=1e-4, atol=1e-5)


def damaged(arrays, name):
    if name == "no source":
        arrays.pop("source")
    elif name == "short labels":
        arrays["labels"] = arrays["labels"][:-1]
    elif name == "float64":
        arrays["values"] = arrays["values"].astype(float)
    elif name == "nan":
        arrays["values"][3] = np.nan
    elif name == "objects":
        arrays["values"] = np.array([{"a": 1}] * 24, object)
    elif name == "repeated":
        arrays["indices"][:] = 0
    elif name == "source":
        arrays["source"] = np.array('{"network": 3}')
    elif name == "flat":
        arrays["values"] = arrays["values"][:, 0]
        arrays["views"] = np.empty((0, 24), np.float32)
    return arrays


@pytest.mark.parametrize("name", ["no source", "short labels", "float64", "nan", "objects", "repeated", "source",
                                  "flat"])
def test_a_damaged_file_is_named(start, source, tmp_path, name):
    path = tmp_path / "f.npz"
    of(start, source, path)
    arrays = damaged(dict(np.load(path)), name)
    np.savez(path, **arrays)
    with pytest.raises(InputError, match=r"f.npz: not a feature file"):
        read_features(path)


def test_mutants_are_read_or_refused(start, source, tmp_path):
    path, rng = tmp_path / "f.npz", np.random.default_rng(0)
    of(start, source, path)
    content = path.read_bytes()
    for number in range(300):
        changed = bytearray(content[:rng.integers(1, len(content))] if number % 3 == 0 else content)
        for place in rng.integers(0, len(changed), 1 + number % 5):
            changed[place] = rng.integers(256)
        path.write_bytes(changed)
        try:
            read_features(path)
        except InputError as error:
            assert str(path) in str(error)


def test_what_is_no_file(tmp_path):
    with pytest.raises(InputError, match="no such file; extract_features.py writes"):
        read_features(tmp_path / "none.npz")
    os.mkdir(tmp_path / "folder.npz")
    with pytest.raises(InputError, match="is not a file"):
        read_features(tmp_path / "folder.npz")


def test_another_network_is_refused(start, source, tmp_path):
    import dataclasses
    found = of(start, source, tmp_path / "f.npz")
    wanted = dataclasses.replace(found.source, digest="0" * 16, network="another")
    with pytest.raises(InputError, match=r"s0-0001.params \(up to its layer flatten0\); expected another"):
        check_features(found, wanted)


def test_names_of_network_and_list_do_not_matter(start, source, tmp_path):
    import dataclasses
    found = of(start, source, tmp_path / "f.npz")
    wanted = feature_source(dataclasses.replace(start, name="elsewhere"), "flatten0", source, (3, 16, 16))
    check_features(found, wanted)
    write_features(dataclasses.replace(found, path=tmp_path / "g.npz"))
    assert (tmp_path / "g.npz").read_bytes() == (tmp_path / "f.npz").read_bytes()
