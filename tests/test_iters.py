"""Lists, records and batches."""
import dataclasses
import functools
import gc
import math
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import NEW_NETWORK, SMALL, make_domain
from PIL import Image

from transfer_gluon.base.errors import InputError, Stopped
from transfer_gluon.base.framework import mx
from transfer_gluon.iters import (
    Augmentation,
    DualIter,
    EpochIter,
    OrderedIter,
    RecordIter,
    ShuffledIter,
    SyntheticIter,
    read_list,
    write_list,
)
from transfer_gluon.iters.record_iter import record_iter_arguments
from transfer_gluon.iters.transforms import centre_crop, square_centre_crop
from transfer_gluon.records import ensure_ready, is_packed, pack
from transfer_gluon.symbols import JMMDLoss, TransferNet, TransferObjective, features_block, resnet
from transfer_gluon.training.loop import fit
from transfer_gluon.training.run import Run
from transfer_gluon.training.schedule import StepSchedule
from transfer_gluon.training.summary import read_summary

SHAPE = (3, 16, 16)
each_reader = pytest.mark.parametrize("kind", [ShuffledIter, RecordIter])
each_mode = pytest.mark.parametrize("mode", ["original", "bytes"])


def reader(images, batch_size=4, seed=0, threads=2, augmentation=None, kind=ShuffledIter, packed=True, **others):
    """Training batches."""
    if packed and not is_packed(images):
        pack(images, progress=False)
    if kind is ShuffledIter:
        others["packed"] = packed
    return kind(images, batch_size, SHAPE, augmentation or Augmentation(), threads, seed, **others)


def read_as(mode, *arguments, **others):
    """`reader` in a mode of the augmentation."""
    return reader(*arguments, augmentation=Augmentation(mode=mode), **others)


def in_order(images, batch_size=4, packed=True, **others):
    """Validation batches."""
    if packed and not is_packed(images):
        pack(images, progress=False)
    return OrderedIter(images, batch_size, centre_crop(16, 16), threads=2, packed=packed, **others)


def contents(batches):
    """Pixels and labels of what is left of an epoch."""
    read = [(batch.data[0].asnumpy(), batch.label[0].asnumpy()) for batch in batches]
    return tuple(np.concatenate(part) for part in zip(*read))


@pytest.fixture
def images(tmp_path):
    """18 images whose labels are all different, to tell them apart."""
    return read_list(make_domain(tmp_path, "source", list(range(18))))


@pytest.mark.parametrize("line, problem", [
    ("0\t1", "line 2: 2 fields"),
    ("0", "line 2: 1 field;"),
    ("7\t1\t2\tx.jpg", "line 2: 4 fields"),
    ("7\tcar\tx.jpg", "line 2: label 'car' is not a number"),
    ("seven\t1\tx.jpg", "line 2: index 'seven' is not a number"),
    ("7\t-1\tx.jpg", "line 2: label -1 is negative"),
    ("7\t16777217\tx.jpg", "line 2: label 16777217 is too large"),
    ("1" + "0" * 29 + "\t0\tx.jpg", "line 2: index 10* is too large"),
    ("1e3\t0\tx.jpg", "line 2: index '1e3' is not a number"),
    ("7\t1.5\tx.jpg", "line 2: label 1.5 is not a whole number"),
    ("7\tnan\tx.jpg", "line 2: label 'nan' is not a number"),
    ("7\t3\tx.jpg", r"line 2: label 3; expected 0 to 2 \(`num_classes` 3\), or the null label 9999"),
    ("1\t0\tx.jpg", "line 2: index 1 stands in line 1 already"),
    ("7\t0\t ", "line 2: no path"),
])
def test_every_line_of_a_list_is_checked(tmp_path, line, problem):
    (tmp_path / "x.lst").write_text(f"1\t0\ta.jpg\n{line}\n")
    with pytest.raises(InputError, match=problem):
        read_list(tmp_path / "x.lst", num_classes=3)


def test_ten_of_many_bad_lines_are_shown(tmp_path):
    (tmp_path / "x.lst").write_text("nothing\n" * 25)
    with pytest.raises(InputError, match=r"(?s)25 of its lines.*line 10:.*and 15 more") as caught:
        read_list(tmp_path / "x.lst")
    assert "line 11:" not in str(caught.value)


@pytest.mark.parametrize("content, problem", [(None, "no such file"), (b"", "empty"), (b"\n \n", "empty"),
                                              (b"\xff\xd8\xff", "not a text file")])
def test_files_that_are_no_lists_are_refused(tmp_path, content, problem):
    if content is not None:
        (tmp_path / "x.lst").write_bytes(content)
    with pytest.raises(InputError, match=f"x.lst: {problem}"):
        read_list(tmp_path / "x.lst")


def test_lists_of_other_programs_are_read(tmp_path):
    (tmp_path / "x.lst").write_bytes("\ufeff5\t2.000000\tmy photos/ä 1.jpg\r\n\r\n6\t9999\tb.jpg\r\n".encode())
    images = read_list(tmp_path / "x.lst", num_classes=3)
    assert images.indices.tolist() == [5, 6] and images.labels.tolist() == [2, 9999]
    assert images.files == ["my photos/ä 1.jpg", "b.jpg"] and images.labelled.tolist() == [True, False]


@pytest.mark.parametrize("kind, mode", [(ShuffledIter, "original"), (ShuffledIter, "bytes"), (RecordIter, "bytes")])
def test_an_epoch_is_the_same_again_and_independent_of_threads_and_of_what_came_before(images, kind, mode):
    reader = functools.partial(read_as, mode)
    first = reader(images, kind=kind)
    epochs = []
    for _ in range(3):
        epochs.append(contents(first))
        first.reset()
    assert (epochs[0][1] != epochs[1][1]).any()
    assert (epochs[0][0] != epochs[1][0]).any()
    for threads in (1, 4):
        again = reader(images, threads=threads, kind=kind)
        again.set_epoch(2)
        for found, wanted in zip(contents(again), epochs[2]):
            np.testing.assert_array_equal(found, wanted)
    other = contents(reader(images, seed=1, kind=kind))
    assert (other[1] != epochs[0][1]).any()


@pytest.mark.parametrize("kind, mode", [(ShuffledIter, "original"), (ShuffledIter, "bytes"), (RecordIter, "bytes")])
@pytest.mark.parametrize("dual", [False, True])
@pytest.mark.parametrize("skipped", [1, 3, 4])
def test_what_follows_skipped_batches_is_the_undisturbed_rest(images, tmp_path, kind, mode, dual, skipped):
    reader = functools.partial(read_as, mode)
    target = read_list(make_domain(tmp_path, "target", list(range(100, 123)), seed=1))

    def batches(threads):
        source = reader(images, threads=threads, kind=kind)
        return DualIter(source, reader(target, threads=threads, kind=kind), 2) if dual else source

    undisturbed = batches(threads=1)
    undisturbed.set_epoch(2)
    wanted = [[array.asnumpy() for array in (batch.data[0], batch.label[0])] for batch in undisturbed]
    assert len(wanted) == (5 if mode == "original" else 4)
    resumed, validation = batches(threads=3), in_order(target)
    resumed.next()
    contents(validation)
    resumed.set_epoch(2)
    validation.reset()
    validation.next()
    resumed.skip(skipped)
    mx.nd.random.uniform(shape=(5,)).wait_to_read()
    for images_and_labels in wanted[skipped:]:
        batch = resumed.next()
        validation.next()
        for found, before in zip((batch.data[0], batch.label[0]), images_and_labels):
            np.testing.assert_array_equal(found.asnumpy(), before)
    with pytest.raises(StopIteration):
        resumed.next()


def test_synthetic_batches_are_skipped_too():
    batches = SyntheticIter(4, SHAPE, 3, num_images=20)
    batches.skip(3)
    assert len(list(batches)) == 2
    batches.set_epoch(1)
    batches.skip(9)
    assert not list(batches)


def test_an_epoch_does_not_depend_on_the_folder(tmp_path):
    folders = [tmp_path / name for name in "ab"]
    read = [contents(reader(read_list(make_domain(folder, "source", list(range(18)))))) for folder in folders]
    for first, second in zip(*read):
        np.testing.assert_array_equal(first, second)


@each_reader
def test_an_image_is_changed_otherwise_in_every_epoch(images, kind):
    batches, epochs = read_as("bytes", images, kind=kind), []
    for _ in range(2):
        epochs.append(dict(zip(*reversed(contents(batches)))))
        batches.reset()
    both = epochs[0].keys() & epochs[1].keys()
    assert len(both) >= 14 and all((epochs[0][label] != epochs[1][label]).any() for label in both)


def test_what_happens_to_an_image_depends_on_its_index_not_on_its_line(images):
    turned = dataclasses.replace(images, labels=images.labels[::-1], files=images.files[::-1],
                                 indices=images.indices[::-1])
    one, other = (dict(zip(*reversed(contents(read_as("bytes", lines))))) for lines in (images, turned))
    both = one.keys() & other.keys()
    assert len(both) >= 14 and all((one[label] == other[label]).all() for label in both)


def test_batches_are_skipped_from_where_reading_is(images):
    batches = reader(images)
    order = contents(batches)[1].reshape(-1, 4).tolist()
    batches.set_epoch(0)
    for number in 0, 2, 4:
        assert batches.next().label[0].asnumpy().tolist() == order[number]
        batches.skip(1)


def test_the_digest_of_a_list_is_that_of_all_it_says(images):
    others = [dataclasses.replace(images, labels=images.labels + 1),
              dataclasses.replace(images, indices=images.indices + 1),
              dataclasses.replace(images, files=images.files[::-1])]
    assert len({one.digest for one in [images, *others]}) == 4


@pytest.mark.parametrize("shape", [(3, 16, 32), (3, 32, 16)])
def test_images_that_are_not_square_are_cut_alike_by_every_reader(tmp_path, shape):
    images = read_list(make_domain(tmp_path, "source", list(range(6)), side=36, suffix=".png"))
    pack(images, progress=False)
    plain = Augmentation(**PLAIN, mode="bytes")
    wanted, *others = (dict(zip(*reversed(contents(batches)))) for batches in (
        OrderedIter(images, 3, centre_crop(*shape[1:])), ShuffledIter(images, 3, shape, plain),
        RecordIter(images, 3, shape, plain)))
    for found in others:
        for label, pixels in wanted.items():
            np.testing.assert_allclose(found[label].astype(float), pixels, atol=1)


@each_reader
def test_domains_of_equal_size_are_not_read_in_the_same_order(images, tmp_path, kind):
    target = read_list(make_domain(tmp_path, "target", list(range(18))))
    orders = [contents(read_as("bytes", domain, kind=kind))[1].tolist() for domain in (images, target)]
    assert orders[0] != orders[1]


@each_reader
def test_bytes_leave_incomplete_batches_out_and_others_every_epoch(images, kind):
    batches = read_as("bytes", images, kind=kind)
    seen = []
    for _ in range(6):
        labels = contents(batches)[1]
        assert len(labels) == len(set(labels)) == 16 == 4 * batches.batches_per_epoch
        seen.append(set(labels))
        batches.reset()
    assert set.union(*seen) == set(range(18))


def test_the_last_batch_of_the_original_is_filled_up_with_the_first_images(images):
    """Images of the first batch come once more, by random numbers of their own: as in `mx.image.ImageIter`."""
    batches = read_as("original", images)
    assert batches.batches_per_epoch == 5
    orders = []
    for _ in range(3):
        read = list(batches)
        assert [batch.data[0].shape[0] for batch in read] == [4] * 5 and {batch.pad for batch in read} == {0}
        labels = np.concatenate([batch.label[0].asnumpy() for batch in read])
        assert sorted(labels[:18]) == list(range(18)) and labels[18:].tolist() == labels[:2].tolist()
        pixels = np.concatenate([batch.data[0].asnumpy() for batch in read])
        assert (pixels[18:] != pixels[:2]).any(axis=(1, 2, 3)).all()
        orders.append(labels.tolist())
        batches.reset()
    assert orders[0] != orders[1] != orders[2]
    plain = reader(images, augmentation=Augmentation(**PLAIN, mode="original"))
    pixels = contents(plain)[0]
    np.testing.assert_array_equal(pixels[18:], pixels[:2])


def test_a_run_stopped_around_the_filled_up_batch_goes_on_bit_for_bit(tmp_path):
    source = read_list(make_domain(tmp_path, "source", [i % 3 for i in range(18)]))
    target = read_list(make_domain(tmp_path, "target", [9999] * 23, seed=1))

    class Stop:
        """Asks for the end after so many batches."""

        def __init__(self, batches):
            self._left = batches

        @property
        def name(self):
            self._left -= 1
            return "SIGTERM" if self._left < 1 else None

    def train(prefix, batches=99):
        run = Run(prefix, resume=True)
        mx.random.seed(1)
        net = run.checkpoint.classifier("flatten0", 3) if run.checkpoint else \
            TransferNet(features_block(resnet(8, SHAPE)), 3)
        fit(net, TransferObjective(JMMDLoss(), 2),
            DualIter(*(read_as("original", images) for images in (source, target))), [mx.cpu()], StepSchedule(0.01), 2,
            run=run, stop=Stop(batches))
        return prefix

    whole, parts = train(tmp_path / "whole"), tmp_path / "parts"
    for batches in (4, 1):          # before the filled-up batch, behind it
        with pytest.raises(Stopped):
            train(parts, batches)
    train(parts)
    assert read_summary(f"{parts}-run/summary.csv") == read_summary(f"{whole}-run/summary.csv")
    assert int(read_summary(f"{parts}-run/summary.csv")[-1]["updates"]) == 10       # of 18 images, 4 at a time
    assert Path(f"{parts}-0002.params").read_bytes() == Path(f"{whole}-0002.params").read_bytes()


def test_the_original_fills_up_as_mxnets_reader(images):
    iterator = mx.image.ImageIter(4, SHAPE, path_imglist=str(images.path), path_root="", shuffle=True, resize=18)
    labels = np.concatenate([batch.label[0].asnumpy() for batch in iterator])
    assert len(labels) == 20 and sorted(labels[:18]) == list(range(18)) and labels[18:].tolist() == labels[:2].tolist()


@pytest.mark.parametrize("mode, dtype", [("original", np.float32), ("bytes", np.uint8)])
def test_batches_have_the_type_they_declare(images, mode, dtype):
    alone, dual = read_as(mode, images), DualIter(read_as(mode, images), read_as(mode, images), 2)
    assert alone.provide_data[0].dtype == dtype
    for batches in (alone, dual):
        assert {batch.data[0].dtype for batch in batches} == {dtype}


def test_a_dual_epoch_ends_with_the_shorter_domain_where_batches_are_filled_up(images, tmp_path):
    target = read_list(make_domain(tmp_path, "target", list(range(100, 107)), seed=1))
    dual = DualIter(read_as("original", images), read_as("original", target))
    assert dual.batches_per_epoch == 2
    for _ in range(2):
        labels = contents(dual)[1].reshape(2, 2, 4)[:, 1].ravel()
        assert sorted(labels[:7]) == list(range(100, 107)) and labels[7] == labels[0]
        dual.reset()


def test_filling_up_begins_when_no_image_is_left_over(tmp_path):
    images = read_list(make_domain(tmp_path, "source", list(range(16))))
    batches = read_as("original", images)
    assert batches.batches_per_epoch == 4 and sorted(contents(batches)[1]) == list(range(16))


def test_a_bad_image_that_fills_up_is_named(images):
    batches = read_as("original", images, packed=False)
    first = images.files[int(batches.next().label[0].asnumpy()[0])]
    Path(first).unlink()
    batches.set_epoch(0)
    batches.skip(4)
    with pytest.raises(InputError, match=f"the image {first} cannot be used: No such file"):
        batches.next()


def test_the_command_reads_in_the_mode_that_is_asked_for(data, command, tmp_path):
    """24 source images in batches of 16 are two updates, or one with 8 images left out."""
    def updates(*flags):
        command("fine_tune.py", *NEW_NETWORK, *SMALL, "--batch-size", 16, "--data-dir", data, "--no-checkpoint",
                "--no-validation", "--overwrite", "--model-prefix", tmp_path / "m", *flags)
        return int(read_summary(tmp_path / "m-run" / "summary.csv")[-1]["updates"])

    assert updates("--augmentation", "original") == 2 and updates("--augmentation", "bytes") == 1
    said = command("fine_tune.py", *NEW_NETWORK, *SMALL, "--data-dir", data, "--read", "mxnet", "--augmentation",
                   "original", expect=2).stderr
    assert "--augmentation original was given with --read mxnet" in said


def test_kept_batches_do_not_change_when_more_are_read(tmp_path):
    images = read_list(make_domain(tmp_path, "source", list(range(40))))
    for batches in (reader(images), reader(images, kind=RecordIter), in_order(images)):
        at_once = contents(batches)[0]
        batches.reset() if isinstance(batches, OrderedIter) else batches.set_epoch(0)
        kept = list(batches)
        np.testing.assert_array_equal(np.concatenate([batch.data[0].asnumpy() for batch in kept]), at_once)


def test_readers_that_are_left_half_way_leave_no_threads(images):
    """Else Python would end them when it collects garbage: in any thread, also in one that others wait for."""
    before = set(threading.enumerate())
    gc.disable()
    try:
        for opened in (reader, in_order):
            batches = opened(images)
            batches.next()
            batches.reset()
            batches.next()
            left = set(threading.enumerate()) - before
            del batches
            for thread in left:
                thread.join(timeout=30)
            assert left and not any(thread.is_alive() for thread in left)
    finally:
        gc.enable()


def every_iterator(images):
    """One of each kind, by name, of the same images."""
    return {"ordered": in_order(images), "ordered, a part": in_order(images, num_parts=2, part_index=1),
            "shuffled": read_as("original", images), "bytes": read_as("bytes", images),
            "mxnet": reader(images, kind=RecordIter), "synthetic": SyntheticIter(4, SHAPE, 3, 20),
            "dual": DualIter(read_as("original", images), read_as("original", images), 2)}


KINDS = ["ordered", "ordered, a part", "shuffled", "bytes", "mxnet", "synthetic", "dual"]


@pytest.mark.parametrize("name", KINDS)
def test_every_iterator_means_the_same_by_its_epochs(images, name):
    batches = every_iterator(images)[name]
    assert isinstance(batches, EpochIter)

    def rest():
        return [(batch.data[0].asnumpy(), batch.label[0].asnumpy()) for batch in batches]

    def same(found, wanted):
        assert len(found) == len(wanted)
        for pair in zip(found, wanted):
            for array, other in zip(*pair):
                np.testing.assert_array_equal(array, other)

    epochs = []
    for epoch in range(3):      # at the beginning, it is at the beginning of epoch 0
        assert (batches.epoch, batches.batch) == (epoch, 0)
        epochs.append(rest())
        assert len(epochs[-1]) == batches.batches_per_epoch and not rest()
        batches.reset()
    alike = name.startswith(("ordered", "synthetic"))
    assert alike == all((one[1] == other[1]).all() for one, other in zip(*epochs[:2]))
    for (data, label), desc in ((epochs[0][0], batches.provide_data[0]),):
        assert data.shape == desc.shape and data.dtype == desc.dtype
        assert label.shape == batches.provide_label[0].shape
    assert max(len(data) for data, _ in epochs[0]) == batches.batch_size
    batches.set_epoch(0)
    batches.next()
    batches.reset()             # an epoch that was dropped half-way
    same(rest(), epochs[1])
    batches.set_epoch(2)
    batches.skip(1)
    batches.skip(0)
    batches.skip(1)
    same(rest(), epochs[2][2:])
    batches.skip(1)
    assert not rest()
    batches.set_epoch(1)
    batches.skip(99)
    assert not rest() and batches.batch == batches.batches_per_epoch
    batches.reset()
    same(rest(), epochs[2])


def test_a_batch_of_which_nothing_can_be_used_is_passed_over(images):
    class Odd(EpochIter):
        """Every other batch."""

        def __init__(self):
            super().__init__(2, (1, 1, 1), 10)

        def read(self, epoch, batch):
            return self.batch_of(np.full((2, 1, 1, 1), batch), [batch] * 2) if batch % 2 else None

    batches = Odd()
    assert [int(batch.label[0][0].asscalar()) for batch in batches] == [1, 3]
    batches.reset()
    batches.skip(2)
    assert [batch.data[0].asnumpy().ravel().tolist() for batch in batches] == [[3, 3]]
    for file in images.files[4:8]:
        Path(file).unlink()
    bad = []
    batches = in_order(images, packed=False, bad=bad)
    assert [batch.index for batch in batches] == [[0, 1, 2, 3], [8, 9, 10, 11], [12, 13, 14, 15], [16, 17]]
    assert len(bad) == 4
    batches.reset()
    assert bad == []
    batches.skip(2)
    assert batches.next().index == [8, 9, 10, 11] and bad == []


def test_an_iterator_of_ones_own_trains_and_validates():
    """As its docstring has it, on images that float64 would hold."""
    class Rows(EpochIter):
        def __init__(self, images, labels):
            self._images, self._labels = images, labels
            super().__init__(4, images.shape[1:], len(images))

        def read(self, epoch, batch):
            places = np.random.default_rng(epoch).permutation(len(self._images)).reshape(-1, 4)[batch]
            return self.batch_of(self._images[places], self._labels[places], places)

    images = np.zeros((12, 3, 2, 2)) + np.eye(3)[np.arange(12) % 3].reshape(12, 3, 1, 1)    # of one colour each
    rows, net = Rows(images, np.arange(12) % 3), TransferNet(mx.gluon.nn.Flatten(), 3)
    *_, result = fit(net, TransferObjective(), rows, [mx.cpu()], StepSchedule(0.1), 10, validation=rows)
    assert result.validation_accuracy == 1 and rows.epoch == 10
    rows.reset()
    assert rows.next().data[0].dtype == np.float32


@pytest.mark.parametrize("packed", [True, False])
def test_validation_reads_all_in_order(images, packed):
    batches = in_order(images, packed=packed)
    for _ in range(2):
        read = list(batches)
        assert [batch.data[0].shape[0] for batch in read] == [4, 4, 4, 4, 2] and batches.batches_per_epoch == 5
        assert np.concatenate([batch.label[0].asnumpy() for batch in read]).tolist() == list(range(18))
        batches.reset()


@pytest.mark.parametrize("height, width", [(40, 40), (30, 53), (53, 30), (12, 20), (18, 18), (48, 80), (9, 30)])
def test_validation_images_are_those_of_mxnets_reader(tmp_path, height, width):
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / "x.png"), cv2.GaussianBlur(image, (0, 0), 1))
    images = read_list(write_list(tmp_path / "x.lst", [0], [str(tmp_path / "x.png")]))
    found = in_order(images).next().data[0].asnumpy()
    wanted = mx.io.ImageRecordIter(path_imgrec=str(images.record), data_shape=SHAPE, batch_size=1, resize=18,
                                   inter_method=2).next().data[0].asnumpy()
    # MXNet has an OpenCV of its own, whose cubic interpolation rounds differently here and there.
    np.testing.assert_allclose(found.astype(float), wanted, atol=1)


def test_augmentation_defaults_are_the_originals():
    assert record_iter_arguments(Augmentation(), 320) == dict(
        resize=512, random_resized_crop=True, min_random_area=0.08, max_random_area=1.0, min_aspect_ratio=3 / 4,
        max_aspect_ratio=4 / 3, rand_mirror=True, inter_method=2, brightness=0.4, contrast=0.4, saturation=0.4,
        pca_noise=0.1, random_h=0, random_s=0, random_l=0, max_rotate_angle=0, max_shear_ratio=0, max_random_scale=1,
        min_random_scale=1, pad=0, fill_value=255)


@pytest.mark.parametrize("name, value, arguments", [
    ("min_random_area", 0.5, {"min_random_area": 0.5}), ("random_mirror", False, {"rand_mirror": False}),
    ("max_random_aspect_ratio", 0.25, {"min_aspect_ratio": 0.6, "max_aspect_ratio": 5 / 3}),
    ("jitter", 0.3, dict.fromkeys(("brightness", "contrast", "saturation"), 0.3)), ("pca_noise", 0.2, {}),
    ("max_random_h", 7, {"random_h": 7}), ("max_random_s", 8, {"random_s": 8}), ("max_random_l", 9, {"random_l": 9}),
    ("max_random_rotate_angle", 11, {"max_rotate_angle": 11}),
    ("max_random_shear_ratio", 0.1, {"max_shear_ratio": 0.1}), ("max_random_scale", 1.5, {}),
    ("min_random_scale", 0.75, {}), ("pad_size", 2, {"pad": 2}), ("fill_value", 7, {})])
def test_mxnets_reader_is_told_every_choice(name, value, arguments):
    usual = record_iter_arguments(Augmentation(), 320)
    told = record_iter_arguments(Augmentation(**{name: value}), 320)
    assert told == pytest.approx({**usual, **(arguments or {name: value})})
    centre = record_iter_arguments(Augmentation(random_crop=False, max_random_aspect_ratio=0.25), 320)
    assert (centre["resize"], centre["max_aspect_ratio"], "random_resized_crop" in centre) == (360, 0.25, False)


PLAIN = dict(random_crop=False, random_mirror=False, jitter=0.0, pca_noise=0.0)


@each_reader
@pytest.mark.parametrize("change", [
    dict(random_crop=True), dict(random_mirror=True), dict(jitter=0.4), dict(pca_noise=0.5), dict(max_random_h=90),
    dict(max_random_s=120), dict(max_random_l=120), dict(max_random_aspect_ratio=0.5), dict(max_random_rotate_angle=45),
    dict(max_random_shear_ratio=0.5), dict(max_random_scale=2.0)])
def test_every_augmentation_changes_images(images, kind, change):
    plain = contents(reader(images, augmentation=Augmentation(**PLAIN), kind=kind))
    changed = contents(reader(images, augmentation=Augmentation(**{**PLAIN, **change}), kind=kind))
    assert (plain[1] == changed[1]).all() and (plain[0] != changed[0]).any()


@each_reader
def test_padding_widens_what_random_crops_choose_from(images, kind):
    crops = [contents(reader(images, augmentation=Augmentation(pad_size=pad), kind=kind))[0] for pad in (0, 9)]
    assert (crops[0] != crops[1]).any()


def test_labels_of_the_list_win_over_those_of_the_record(images, tmp_path):
    pack(images, progress=False)
    masked = read_list(write_list(images.path, [9999] * 18, images.files))
    for batches in (reader(masked), reader(masked, kind=RecordIter), in_order(masked)):
        assert (contents(batches)[1] == 9999).all()


def test_a_record_of_other_indices_is_refused(images):
    pack(images, progress=False)
    fewer = dataclasses.replace(images, indices=images.indices[:5], labels=images.labels[:5], files=images.files[:5])
    with pytest.raises(InputError, match="source.rec holds 18 images, of which 5 have an index .* list of 5"):
        RecordIter(fewer, 4, SHAPE, Augmentation())
    others = dataclasses.replace(images, indices=images.indices + 1)
    with pytest.raises(InputError, match="of which 17 have"):
        RecordIter(others, 4, SHAPE, Augmentation())
    for batches in (OrderedIter(fewer, 4, centre_crop(16, 16), packed=True),
                    ShuffledIter(fewer, 5, SHAPE, Augmentation(), packed=True)):
        assert sorted(contents(batches)[1].tolist()) == list(range(5))
    for opened in (lambda: OrderedIter(others, 4, centre_crop(16, 16), packed=True),
                   lambda: ShuffledIter(others, 4, SHAPE, Augmentation(), packed=True)):
        with pytest.raises(InputError, match=r"(?s)1 of 18 images of .*source.lst are not in it.*\n  18"):
            opened()


@each_reader
def test_labels_are_read_from_a_list_with_a_byte_order_mark(images, kind):
    images.path.write_text("\ufeff" + images.path.read_text(), encoding="utf-8")
    assert len(set(contents(read_as("bytes", read_list(images.path), kind=kind))[1])) == 16


@each_mode
@pytest.mark.parametrize("num_parts", [1, 2, 3, 4])
def test_batches_of_workers_make_up_those_of_one(tmp_path, num_parts, mode):
    reader = functools.partial(read_as, mode)
    images = read_list(make_domain(tmp_path, "source", list(range(25))))
    updates = (math.ceil if mode == "original" else math.floor)(25 / (2 * num_parts))
    alone = reader(images, 2 * num_parts)
    workers = [reader(images, 2, num_parts=num_parts, part_index=part) for part in range(num_parts)]
    for _ in range(3):
        wanted = contents(alone)
        parts = [contents(worker) for worker in workers]
        assert {len(labels) for _, labels in parts} == {2 * updates} and alone.batches_per_epoch == updates
        for found, before in zip(zip(*parts), wanted):
            together = np.concatenate([part.reshape(-1, 2, *part.shape[1:]) for part in found], axis=1)
            np.testing.assert_array_equal(together.reshape(before.shape), before)
        for batches in [alone, *workers]:
            batches.reset()


@pytest.mark.parametrize("num_parts", [1, 2, 3, 4])
@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("count", [3, 10])
def test_workers_validate_on_disjoint_parts(tmp_path, num_parts, packed, count):
    images = read_list(make_domain(tmp_path, "val", list(range(count))))
    seen = []
    for part in range(num_parts):
        for batch in in_order(images, 2, packed, num_parts=num_parts, part_index=part):
            seen += batch.label[0].asnumpy().tolist()
    assert seen == list(range(count))


def test_too_few_images_for_all_workers_are_refused(images):
    with pytest.raises(InputError, match="4 images for each worker, without those held out; a batch takes 5"):
        reader(images, 5, num_parts=4)


@pytest.mark.parametrize("devices", [1, 2])
def test_a_dual_batch_is_laid_out_device_by_device(tmp_path, devices):
    source = read_list(make_domain(tmp_path, "source", list(range(24))))
    target = read_list(make_domain(tmp_path, "target", list(range(100, 116))))
    dual = DualIter(reader(source, 8), reader(target, 8), devices)
    assert dual.batches_per_epoch == 2 and dual.num_images == 16 and dual.batch_size == 16
    for epoch in range(2):
        dual.set_epoch(epoch)
        batches = list(dual)
        assert len(batches) == 2
        for batch in batches:
            halves = batch.label[0].asnumpy().reshape(devices, 2, -1)
            assert (halves[:, 0] < 100).all() and (halves[:, 1] >= 100).all()
            # Pixels go with their labels: the colour channel that is brightest tells the label.
            pixels = batch.data[0].asnumpy()
            assert pixels.shape == (16, *SHAPE)
    plain = Augmentation(**PLAIN)
    dual = DualIter(reader(source, 8, augmentation=plain), reader(target, 8, augmentation=plain), devices)
    batch = dual.next()
    np.testing.assert_array_equal(batch.data[0].asnumpy().mean(axis=(2, 3)).argmax(axis=1),
                                  batch.label[0].asnumpy() % 3)


def test_dual_needs_equal_batches():
    with pytest.raises(ValueError, match="4 source and 8 target"):
        DualIter(SyntheticIter(4, SHAPE, 3), SyntheticIter(8, SHAPE, 3))


def test_fewer_images_than_a_batch_are_refused(images):
    with pytest.raises(InputError, match="18 images; a batch takes 20"):
        reader(images, 20)


@pytest.mark.parametrize("prepare, dtype", [(centre_crop(16, 16), np.uint8), (square_centre_crop(16, 16), np.float32)])
def test_listed_images_equal_the_files_and_the_last_batch_is_smaller(tmp_path, prepare, dtype):
    images = read_list(make_domain(tmp_path, "val", list(range(10)), side=30, suffix=".png"))
    batches = OrderedIter(images, 4, prepare, threads=2)
    for _ in range(2):
        read = list(batches)
        assert [batch.data[0].shape[0] for batch in read] == [4, 4, 2]
        pixels = np.concatenate([batch.data[0].asnumpy() for batch in read])
        assert np.concatenate([batch.label[0].asnumpy() for batch in read]).tolist() == list(range(10))
        batches.reset()
    assert pixels.dtype == dtype
    image = cv2.imread(images.files[7]).astype(dtype)
    wanted = cv2.resize(image, (18, 18), interpolation=cv2.INTER_CUBIC)[1:17, 1:17]
    np.testing.assert_allclose(pixels[7], wanted[:, :, ::-1].transpose(2, 0, 1), atol=1e-3)


def test_adabn_images_lose_their_aspect_ratio():
    image = np.zeros((40, 80, 3), np.uint8)
    image[:, 40:] = 255
    prepared = square_centre_crop(16, 16)(image)
    assert prepared.shape == (16, 16, 3) and prepared[:, :7].max() == 0 and prepared[:, 9:].min() == 255


def test_a_missing_file_is_named_while_listing(tmp_path):
    images = read_list(write_list(tmp_path / "x.lst", [0], [str(tmp_path / "gone.jpg")]))
    with pytest.raises(InputError, match="gone.jpg cannot be used: No such file"):
        list(OrderedIter(images, 4, square_centre_crop(16, 16)))


def test_a_damaged_record_is_named(images):
    record = pack(images, progress=False)
    record.write_bytes(b"not a record at all")
    with pytest.raises(InputError, match="source.rec"):
        list(RecordIter(images, 4, SHAPE, Augmentation()))
    for batches in (OrderedIter(images, 4, centre_crop(16, 16), packed=True),
                    ShuffledIter(images, 4, SHAPE, Augmentation(), packed=True)):
        with pytest.raises(InputError, match="source.rec: index .* cannot be used: (no record|behind the end)"):
            list(batches)


def test_an_image_that_cannot_be_changed_is_named(tmp_path):
    cv2.imwrite(str(tmp_path / "strip.png"), np.zeros((3, 40000, 3), np.uint8))
    images = read_list(write_list(tmp_path / "x.lst", [0], [str(tmp_path / "strip.png")]))
    assert in_order(images).next().data[0].shape == (1, *SHAPE)
    turned = reader(images, 1, augmentation=Augmentation(max_random_rotate_angle=5), packed=False)
    with pytest.raises(InputError, match="strip.png cannot be used: OpenCV cannot resize it"):
        turned.next()


def test_lists_of_the_same_images_share_a_record(images, tmp_path):
    target = read_list(write_list(tmp_path / "target.lst", [9999] * 18, images.files))
    ready = ensure_ready([images, target])
    assert {one.record for one in ready} == {images.record} and not target.record.exists()
    seen = [contents(reader(one)) for one in ready]
    assert (seen[1][1] == 9999).all() and len(set(seen[0][1])) == 18
    # Packed before, by another run: then source.lst is read from target.rec.
    for path in (images.record, images.record.with_suffix(".manifest.json")):
        path.unlink()
    pack(target, progress=False)
    assert {one.record for one in ensure_ready([images, target])} == {target.record}
    others = read_list(make_domain(tmp_path, "others", list(range(18))))      # under the same indices
    assert ensure_ready([target, others])[1].record == others.record and others.record.exists()
    fewer = read_list(write_list(tmp_path / "fewer.lst", [0] * 5, images.files[:5]))
    assert ensure_ready([target, fewer])[1].record == fewer.record and fewer.record.exists()


def test_files_give_the_same_batches_as_records(images):
    pack(images, progress=False)
    for opened in (reader, in_order):
        for found, wanted in zip(contents(opened(images, packed=False)), contents(opened(images))):
            np.testing.assert_array_equal(found, wanted)


def test_bad_files_are_named_before_training(images):
    before = sorted(images.path.parent.iterdir())
    assert ensure_ready([images], packed=False) == [images]
    assert sorted(images.path.parent.iterdir()) == before
    Path(images.files[3]).write_bytes(b"")
    Path(images.files[5]).unlink()
    with pytest.raises(InputError, match=r"(?s)source.lst: 2 of its images .*003.jpg: empty\n.*005.jpg: No such file"):
        ensure_ready([images], packed=False)
    batches = reader(images, packed=False)
    with pytest.raises(InputError, match="source.lst: the image .*/00[35].jpg cannot be used"):
        list(batches)


def test_bad_records_are_named_before_training(images):
    pack(images, progress=False)
    images.record.write_bytes(images.record.read_bytes().replace(b"\xff\xd8", b"\x00\x00", 1))
    with pytest.raises(InputError, match="1 of its records cannot be used"):
        ensure_ready([images])


def odd_images(folder):
    """Files of 36×24 pixels, whose upper half is red and lower half blue to a person, and their list."""
    upright = Image.new("RGB", (36, 24), (200, 30, 40))
    upright.paste((20, 40, 210), (0, 12, 36, 24))
    turned, exif = upright.transpose(Image.ROTATE_90), Image.Exif()
    exif[0x0112] = 6        # 'turn right to see it upright'
    transparent = upright.convert("RGBA")
    transparent.paste((0, 0, 0, 0), (0, 0, 6, 24))
    made = {"rgb.jpg": (upright, {}), "cmyk.jpg": (upright.convert("CMYK"), {}), "grey.jpg": (upright.convert("L"), {}),
            "turned.jpg": (turned, {"exif": exif}), "turned.png": (turned, {"exif": exif}),
            "rgba.png": (transparent, {}), "palette.png": (upright.quantize(4), {}),
            "photo.webp": (upright, {"lossless": True})}
    for name, (image, options) in made.items():
        image.save(folder / name, **({"quality": 100, "subsampling": 0} if name.endswith("jpg") else {}), **options)
    cv2.imwrite(str(folder / "deep.png"), np.asarray(upright)[:, :, ::-1].astype(np.uint16) * 257)
    cv2.imwrite(str(folder / "deep_grey.png"), np.asarray(upright.convert("L")).astype(np.uint16) * 257)
    names = [*made, "deep.png", "deep_grey.png"]
    return names, read_list(write_list(folder / "odd.lst", range(len(names)), [str(folder / name) for name in names]))


def test_odd_images_look_as_a_person_sees_them_through_every_reader(tmp_path):
    names, images = odd_images(tmp_path)
    plain = Augmentation(**PLAIN)
    trained = reader(images, 1, augmentation=plain, threads=1)
    seen = [dict(zip(*reversed(contents(trained))))]
    seen += [dict(enumerate(contents(in_order(images, packed=packed))[0])) for packed in (True, False)]
    seen.append(dict(enumerate(contents(OrderedIter(images, 4, square_centre_crop(16, 16)))[0])))
    for pixels in seen:
        for place, name in enumerate(names):
            top, bottom = pixels[place][:, 2, 8], pixels[place][:, 13, 8]
            wanted = ((82, 82, 82), (53, 53, 53)) if "grey" in name else ((200, 30, 40), (20, 40, 210))
            np.testing.assert_allclose([top, bottom], wanted, atol=6, err_msg=name)
    # The transparent edge is white; the centre crop of 16 of 18 pixels cuts it off, the square of AdaBN does not.
    assert seen[3][names.index("rgba.png")][:, 8, 0].min() > 240 > seen[3][names.index("rgb.jpg")][:, 8, 0].max()
