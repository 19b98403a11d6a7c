"""What is written for TensorBoard, read back from its files."""
import gc
import io
import math
import struct
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT, SMALL, call
from PIL import Image
from tiny import StopAfter
from tiny import train as train_tiny

from transfer_gluon.base.errors import InputError, Stopped
from transfer_gluon.base.framework import mx
from transfer_gluon.distributed.stores import Store
from transfer_gluon.iters import read_list
from transfer_gluon.training.after_epoch import Epoch
from transfer_gluon.training.run import Run
from transfer_gluon.training.summary import EpochResult, read_summary
from transfer_gluon.training.tensorboard import TensorBoard, first_images

pytest.importorskip("tensorboardX")
STAGE1 = [*SMALL, "--train-stage", 1, "--pretrained-epoch", 1, "--num-epochs", 2]


def events(folder):
    """All events in the folder's files: records of TFRecord, each an Event."""
    from tensorboardX.proto.event_pb2 import Event
    found = []
    for file in sorted(folder.glob("events.*")):
        content = file.read_bytes()
        while content:
            length, = struct.unpack("<Q", content[:8])
            found.append(Event.FromString(content[12:12 + length]))
            content = content[12 + length + 4:]
    return found


def values(folder):
    return [(event.step, value) for event in events(folder) for value in event.summary.value]


def scalars(folder):
    """(tag, step, value), in the order in which they were written."""
    return [(value.tag, step, value.simple_value) for step, value in values(folder) if value.HasField("simple_value")]


def of_summary(prefix):
    return [(name, int(row["epoch"]), pytest.approx(float(value), rel=1e-6, abs=1e-30))
            for row in read_summary(f"{prefix}-run/summary.csv")
            for name, value in row.items() if name != "epoch" and not math.isnan(float(value))]


def stage1(data, stage0, prefix, *flags, **how):
    return call("fine_tune.py", *STAGE1, "--data-dir", data, "--pretrained-model", stage0, "--model-prefix", prefix,
                *flags, **how)


def test_the_summary_images_and_an_embedding_are_there(data, stage0, tmp_path):
    (data / "classes.txt").write_text("red car\ngreen\nblue\n")
    said = stage1(data, stage0, tmp_path / "m", "--tensorboard", "--source-validation", 0.2, "--lr", 0.05).stderr
    folder = tmp_path / "m-run" / "tensorboard"
    assert f"tensorboard --logdir {folder}" in said
    assert scalars(folder) == of_summary(tmp_path / "m")
    assert {"transfer_loss", "source_accuracy", "target_confidence"} <= {tag for tag, *_ in scalars(folder)}
    shown = {value.tag: value.image for _, value in values(folder) if value.HasField("image")}
    assert set(shown) == {"images/source", "images/target"}
    pixels = [np.asarray(Image.open(io.BytesIO(image.encoded_image_string))) for image in shown.values()]
    assert all(one.shape[2] == 3 and one.mean() > 20 and min(one.shape[:2]) >= 16 for one in pixels)
    embedded, = folder.glob("*/*/tensors.tsv")
    assert embedded.parent.parent.name == "00002"
    features = np.loadtxt(embedded)
    header, *rows = [line.split("\t") for line in (embedded.parent / "metadata.tsv").read_text().splitlines()]
    held = 5        # of 24
    assert header == ["domain", "label", "prediction"] and features.shape == (24 - held + 16, 64) and features.std() > 0
    assert [row[0] for row in rows] == ["source"] * (24 - held) + ["target"] * 16
    assert {row[1] for row in rows[:24 - held]} == {"red car", "green", "blue"}
    assert {row[1] for row in rows[-16:]} == {""}
    assert {row[2] for row in rows} <= {"red car", "green", "blue"}


def test_nothing_else_changes_and_nothing_is_imported(data, stage0, tmp_path):
    stage1(data, stage0, tmp_path / "a", "--tensorboard")
    stage1(data, stage0, tmp_path / "b")
    for name in "-0002.params", "-run/summary.csv":
        assert (tmp_path / f"a{name}").read_bytes() == (tmp_path / f"b{name}").read_bytes()
    assert not (tmp_path / "b-run" / "tensorboard").exists()
    code = ("import sys; from transfer_gluon.training.stages import Stage; import transfer_gluon.training.tensorboard;"
            " assert 'tensorboardX' not in sys.modules")
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_a_run_that_goes_on_has_no_step_twice(data, stage0, tmp_path):
    for epochs in 1, 2, 3:
        stage1(data, stage0, tmp_path / "m", "--tensorboard", "--num-epochs", epochs, "--resume")
    folder = tmp_path / "m-run" / "tensorboard"
    assert scalars(folder) == of_summary(tmp_path / "m") and {step for _, step, _ in scalars(folder)} == {1, 2, 3}
    assert (folder / "projector_config.pbtxt").read_text().count("embeddings {") == 1
    stage1(data, stage0, tmp_path / "m", "--tensorboard", "--num-epochs", 1, "--overwrite")
    assert {step for _, step, _ in scalars(folder)} == {1}


def test_what_came_after_the_last_state_is_not_there_twice_either(tmp_path):
    """An epoch may be written, and its state not."""
    board = tmp_path / "board"

    class Killed(Exception):
        pass

    def kill(epoch):
        if epoch.result.epoch == 2:
            raise Killed

    with pytest.raises(Killed):
        train_tiny(Run(tmp_path / "m"), 3, after_epoch=[TensorBoard(board), kill])
    gc.collect()        # as the end of a process does
    assert {step for _, step, _ in scalars(board)} == {1, 2}
    with pytest.raises(Stopped):        # which leaves what is there
        train_tiny(Run(tmp_path / "m", resume=True), 3, after_epoch=[TensorBoard(board)], stop=StopAfter(1))
    assert {step for _, step, _ in scalars(board)} == {1, 2}
    train_tiny(Run(tmp_path / "m", resume=True), 3, after_epoch=[TensorBoard(board)])
    assert scalars(board) == of_summary(tmp_path / "m")


def test_what_it_has_not_written_stays(data, stage0, tmp_path):
    """Of a folder that a library's user names, and of what somebody has put beside the files."""
    board = tmp_path / "precious"
    foreign = [board / "sub" / "thesis.txt", board / "00002" / "features" / "notes.txt", board / "events-of-1848.csv"]
    for file in foreign:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("mine")
    (board / "events.out.tfevents.1.old").write_bytes(b"")
    train_tiny(None, 2, after_epoch=[TensorBoard(board)])
    assert all(file.read_text() == "mine" for file in foreign)
    assert not (board / "events.out.tfevents.1.old").exists() and {step for _, step, _ in scalars(board)} == {1, 2}


def test_an_item_serves_one_training_after_the_other(tmp_path):
    board = TensorBoard(tmp_path / "board")
    for epochs in 2, 1:
        train_tiny(None, epochs, after_epoch=[board])
        assert {step for _, step, _ in scalars(tmp_path / "board")} == set(range(1, epochs + 1))
    with pytest.raises(Stopped):
        train_tiny(Run(tmp_path / "m"), 3, after_epoch=[board], stop=StopAfter(6))
    train_tiny(None, 1, after_epoch=[board])
    assert len(list((tmp_path / "board").glob("events.*"))) == 1
    assert [step for tag, step, _ in scalars(tmp_path / "board") if tag == "loss"] == [1]


def test_a_run_that_is_replaced_leaves_nothing_there(data, stage0, tmp_path):
    stage1(data, stage0, tmp_path / "m", "--tensorboard")
    folder = tmp_path / "m-run" / "tensorboard"
    stage1(data, stage0, tmp_path / "m", "--num-epochs", 3, "--resume")
    assert {step for _, step, _ in scalars(folder)} == {1, 2}, "which are still epochs of this run"
    stage1(data, stage0, tmp_path / "m", "--overwrite")
    assert not folder.exists()


@pytest.mark.parametrize("how", [["--read", "features"], ["--read", "mxnet"], ["--transfer-layers", "relu1"],
                                 ["--cpus", 2, "--watch", 0]])
def test_every_way_of_reading_is_written(data, stage0, tmp_path, how):
    stage1(data, stage0, tmp_path / "m", "--tensorboard", *how)
    folder = tmp_path / "m-run" / "tensorboard"
    images = any(value.HasField("image") for _, value in values(folder))
    assert images == ("features" not in how) and scalars(folder) == of_summary(tmp_path / "m")
    embedded, = folder.glob("*/*/tensors.tsv")
    assert np.loadtxt(embedded).shape == (24 if "--watch" in how else 40, 64)


def test_random_images_are_no_sample(tmp_path):
    call("fine_tune.py", *SMALL, "--network", "resnet", "--num-layers", 8, "--benchmark", 1, "--tensorboard",
         "--model-prefix", tmp_path / "m")
    assert scalars(tmp_path / "m-run" / "tensorboard") == of_summary(tmp_path / "m")


def test_the_first_worker_alone_writes(tmp_path):
    board = TensorBoard(tmp_path / "board")
    board(Epoch(EpochResult(1, 1, 0.1, 1.0, 0.5, 0.5), None, None, None, Store("device", 2, 1)))
    board.begin(None, None, Store("device", 2, 1))
    assert not (tmp_path / "board").exists()


def test_without_the_package_nothing_is_trained(data, stage0, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    said = stage1(data, stage0, tmp_path / "m", "--tensorboard", expect=2).stderr
    assert "--tensorboard needs the package tensorboardX" in said and "pip install tensorboardX" in said
    assert not list(tmp_path.glob("m-*.params"))


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file"):
        train_tiny(None, 1, after_epoch=[TensorBoard(tmp_path / "file" / "board")])


def test_colours_beyond_those_of_bytes_are_cut_off():
    """As augmentation may make them."""
    values = np.array([-3, 0.4, 254.6, 300]).reshape(4, 1, 1, 1)
    batches = mx.io.NDArrayIter(values, batch_size=2)
    assert first_images(batches, 3).ravel().tolist() == [0, 0, 255]
    batches = mx.io.NDArrayIter(values, batch_size=4)
    assert first_images(batches, 9).ravel().tolist() == [0, 0, 255, 255]


def test_images_are_those_that_the_network_gets(data, stage0, tmp_path):
    """Of one image without augmentation: its middle, in true colours."""
    stage1(data, stage0, tmp_path / "m", "--tensorboard", "--random-crop", 0, "--random-mirror", 0,
           "--color-jitter", 0, "--pca-noise", 0)
    image = next(value.image for _, value in values(tmp_path / "m-run" / "tensorboard")
                 if value.tag == "images/target")
    grid = np.asarray(Image.open(io.BytesIO(image.encoded_image_string))).astype(int)
    files = [np.asarray(Image.open(file)).astype(int).reshape(-1, 3).mean(axis=0)
             for file in read_list(data / "target.lst").files]
    rows, columns = grid.shape[0] // 16, grid.shape[1] // 16
    cells = [grid[16 * row:16 * row + 16, 16 * column:16 * column + 16].reshape(-1, 3).mean(axis=0)
             for row in range(rows) for column in range(columns)]
    assert len(cells) == 16
    for cell in cells:
        assert min(np.abs(cell - file).max() for file in files) < 8
