"""Lists of published data sets, from stand-ins of their folders."""
import os
import pickle
import shutil
import tempfile
from pathlib import Path

import cv2
import numpy as np
import pytest
import stand_in

from transfer_gluon.base.errors import InputError
from transfer_gluon.iters import read_list
from transfer_gluon.records.class_names import read_classes
from transfer_gluon.records.published import list_published

TOOL = "tools/im2rec_helpers.py"


def empty(path):
    """A file in the place of an image: lists are made of names."""
    try:
        open(path, "x").close()
    except FileNotFoundError:       # one call a file, where there are thousands
        path.parent.mkdir(parents=True)
        path.touch()


@pytest.fixture
def tmp_path():
    """A folder in memory, where there is such: thousands of files take a second there, and a disk's half minute."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as folder:
        yield Path(folder)


@pytest.fixture
def made(tmp_path):
    """A function that makes the lists of a stand-in: (names of the classes, training list, validation list)."""
    def make(name, folder=tmp_path / "data", **options):
        output = tmp_path / "out" / f"{name}{len(options)}"
        classes, *numbers = list_published(name, folder, output, **options)
        lists = [read_list(output / f"{which}.lst", classes) for which in ("source", "val")]
        assert numbers[:2] == [len(images) for images in lists]
        names = read_classes(output / "classes.txt")
        assert len(names) == classes
        return names, *lists

    return make


def a_class(images, label):
    return [file.rpartition("/")[2] for file, known in zip(images.files, images.labels) if known == label]


def counts(images):
    return set(np.bincount(images.labels).tolist())


def test_caltech256_trains_on_images_1_to_30_and_validates_on_31_to_50_clutter_being_no_class(made, tmp_path):
    stand_in.caltech256(tmp_path / "data", write=empty)
    names, source, val = made("caltech256")
    assert len(names) == 256 and names[0] == "001.ak47" and names[-1] == "256.toad"
    assert counts(source) == {30} and counts(val) == {20}
    assert a_class(source, 255) == [f"256_{number:04d}.jpg" for number in range(1, 31)]
    assert a_class(val, 255) == [f"256_{number:04d}.jpg" for number in range(31, 51)]
    assert source.files[0] == f"{tmp_path}/data/256_ObjectCategories/001.ak47/001_0001.jpg"
    names, source, _ = made("caltech256", clutter=True)
    assert len(names) == 257 and names[256] == "257.clutter" and len(a_class(source, 256)) == 30


def test_caltech256_by_chance_takes_so_many_a_class_and_validates_on_the_rest(made, tmp_path):
    stand_in.caltech256(tmp_path / "data", images=4)
    lists = [made("caltech256", tmp_path / "data", per_class=3, seed=seed)[1:] for seed in (0, 0, 1)]
    (source, val), again, other = lists
    assert counts(source) == {3} and counts(val) == {1} and not set(source.files) & set(val.files)
    assert not [file for file in [*source.files, *val.files] if "clutter" in file or "RENAME" in file]
    assert again[0].files == source.files != other[0].files


@pytest.mark.parametrize("devkit", [True, False], ids=["devkit", "cars_annos.mat"])
def test_cars_trains_on_the_12th_to_21st_of_a_class_and_validates_on_the_first_11_of_the_test_set(
        made, tmp_path, devkit):
    stand_in.cars(tmp_path / "data", training=22, test=12, write=empty, devkit=devkit)
    names, source, val = made("cars")
    assert len(names) == 196 and names[2] == "Maker C-V Model 2"       # whose slash no folder's name can have
    assert counts(source) == {10} and counts(val) == {11}
    if devkit:      # the images of the classes come in turn: class 0 has the 1st, 197th, …
        assert a_class(source, 0) == [f"{1 + 196 * turn:05d}.jpg" for turn in range(11, 21)]
        assert a_class(val, 0) == [f"{1 + 196 * turn:05d}.jpg" for turn in range(11)]
        assert "/cars_train/" in source.files[0] and "/cars_test/" in val.files[0]
    else:
        assert a_class(source, 1) == [f"{2 + 196 * turn:06d}.jpg" for turn in range(11, 21)]
        assert a_class(val, 1) == [f"{2 + 196 * turn:06d}.jpg" for turn in range(22, 33)]


def test_aircraft_takes_the_labels_of_variants_and_the_lists_of_the_download(made, tmp_path):
    stand_in.aircraft(tmp_path / "data", write=empty)
    names, source, val = made("aircraft")
    assert len(names) == 100 and names[:2] == ["707-320", "F-A-18"]
    assert (a_class(source, 1), a_class(val, 1)) == (["0001001.jpg"], ["0002001.jpg"])


def test_dtd_takes_split_1_in_a_folder_of_data_sets_or_by_itself(made, tmp_path):
    stand_in.dtd(tmp_path / "data", write=empty)
    names, source, val = made("dtd")
    assert len(names) == 47 and names[0] == "banded"
    assert (a_class(source, 0), a_class(val, 0)) == (["banded_0002.jpg"], ["banded_0005.jpg"])
    assert made("dtd", tmp_path / "data" / "dtd")[1].files == source.files


def test_flowers_are_divided_80_10_10_class_by_class(made, tmp_path):
    stand_in.flowers(tmp_path / "data", images=20)
    names, source, val = made("flowers")
    assert names == ["daisy", "dandelion", "roses", "sunflowers", "tulips"]
    test = read_list(tmp_path / "out" / "flowers0" / "test.lst", 5)
    assert [counts(images) for images in (source, val, test)] == [{16}, {2}, {2}]
    assert len({*source.files, *val.files, *test.files}) == 100
    assert a_class(source, 0)[0].endswith("_n.jpg") and "flower_photos/daisy/" in source.files[0]
    again, other = (made("flowers", tmp_path / "data", seed=seed)[1] for seed in (0, 1))
    assert again.files == source.files != other.files


def pixels(images):
    return np.array([cv2.imread(file)[..., ::-1] for file in images.files])


def test_gtsrb_writes_the_images_of_its_pack_and_divides_67_33(made, tmp_path):
    stand_in.gtsrb(tmp_path / "data", images=9)
    names, source, val = made("gtsrb")
    assert names == [str(number) for number in range(43)] and counts(source) == {6} and counts(val) == {3}
    pack = pickle.loads((tmp_path / "data" / "train.p").read_bytes())
    for images in source, val:
        numbers = [int(Path(file).stem) for file in images.files]
        np.testing.assert_array_equal(pixels(images), pack["features"][numbers])
        np.testing.assert_array_equal(images.labels, pack["labels"][numbers])
        assert all(file.split("/")[-3:-1] == ["images", str(label)] for file, label in zip(images.files, images.labels))
    # Only what trains is cut.
    _, few, same = made("gtsrb", per_class=2)
    assert counts(few) == {2} and [Path(file).name for file in same.files] == [Path(file).name for file in val.files]
    assert {Path(file).name for file in few.files} < {Path(file).name for file in source.files}


def test_cifar10_writes_the_images_of_its_batches_and_divides_80_20(made, tmp_path):
    stand_in.cifar10(tmp_path / "data", images=20)
    names, source, val = made("cifar10")
    assert names[:2] == ["airplane", "automobile"] and counts(source) == {8} and counts(val) == {2}
    batches = [pickle.loads((tmp_path / "data" / "cifar-10-batches-py" / f"data_batch_{number}").read_bytes())
               for number in range(1, 6)]
    data = np.concatenate([batch["data"] for batch in batches])
    for images in source, val:
        numbers = [int(Path(file).stem) for file in images.files]
        np.testing.assert_array_equal(pixels(images).transpose(0, 3, 1, 2).reshape(-1, 3072), data[numbers])
        assert images.labels.tolist() == [number % 10 for number in numbers]
    (tmp_path / "data" / "cifar10.p").write_bytes(pickle.dumps({     # Keras's labels are (n, 1)
        "features": data[:50].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), "labels": np.arange(50)[:, None] % 10}))
    assert [len(images) for images in made("cifar10", per_class=3)[1:]] == [30, 10]


def test_images_of_a_pack_that_are_there_are_left_alone(made, tmp_path):
    stand_in.gtsrb(tmp_path / "data")
    files = [Path(file) for file in made("gtsrb")[1].files]
    files[0].write_bytes(b"cut off")
    times = [file.stat().st_mtime_ns for file in files]
    made("gtsrb")
    assert [file.stat().st_mtime_ns == time for file, time in zip(files, times)] == [False] + [True] * len(files[1:])
    assert cv2.imread(str(files[0])).shape == (32, 32, 3) and not list((tmp_path / "out").rglob("*.tmp"))


IMAGES = np.zeros((43, 32, 32, 3), np.uint8)


@pytest.mark.parametrize("name, file, content, says", [
    ("gtsrb", "train.p", {"features": IMAGES}, "holds a dict of features; expected a dict of features, labels"),
    ("gtsrb", "train.p", [IMAGES], "holds a list; expected a dict of features, labels"),
    ("gtsrb", "train.p", {"features": IMAGES / 255, "labels": np.arange(43)}, r"are float64 \(43, 32, 32, 3\);"),
    ("gtsrb", "train.p", {"features": IMAGES[..., 0], "labels": np.arange(43)}, r"uint8 \(43, 32, 32\); expected"),
    ("gtsrb", "train.p", {"features": IMAGES, "labels": np.arange(42)}, r"int64 \(42,\); .* one for each of 43 images"),
    ("gtsrb", "train.p", {"features": IMAGES, "labels": np.arange(43.0)}, "float64 .*; expected whole numbers"),
    ("gtsrb", "train.p", {"features": IMAGES, "labels": np.eye(43, dtype=int)}, r"int64 \(43, 43\); expected whole"),
    ("gtsrb", "train.p", {"features": IMAGES, "labels": [[1], [1, 2]]}, "expected whole numbers"),
    ("gtsrb", "train.p", {"features": IMAGES, "labels": np.arange(1, 44)}, "labels go from 1 to 43; expected 0 to 42"),
    ("gtsrb", "train.p", print, "train.p: holds more than data: it asks for __builtin__.print"),
    ("cifar10", "data_batch_3", {"data": IMAGES, "labels": [0] * 43}, "data_batch_3: its data are uint8"),
    ("cifar10", "data_batch_3", {"labels": [0]}, "data_batch_3: holds a dict of labels; expected a dict of data"),
    ("cifar10", "batches.meta", {"label_names": ["cat"]}, "batches.meta: expected the names of 10 classes"),
    ("cifar10", "batches.meta", None, "batches.meta: cannot be read: No such file"),
])
def test_packs_of_other_things_are_refused_and_nothing_is_written(name, file, content, says, tmp_path):
    getattr(stand_in, name)(tmp_path / "data")
    path, = (tmp_path / "data").rglob(file)
    path.unlink()
    if content is not None:
        path.write_bytes(pickle.dumps(content, 2))
    with pytest.raises(InputError, match=says):
        list_published(name, tmp_path / "data", tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


def test_the_command_writes_lists_that_split_and_training_read(command, tmp_path):
    stand_in.dtd(tmp_path)
    done = command(TOOL, "dataset", "dtd", ".", "lists/dtd", cwd=tmp_path)
    assert done.stdout == "lists/dtd: 47 classes, 47 images to train on, 47 to validate on\n"
    assert read_list(tmp_path / "lists" / "dtd" / "source.lst").files[0] == "dtd/images/banded/banded_0002.jpg"
    command(TOOL, "verify", "lists/dtd/source.lst", "lists/dtd/val.lst", "--num-classes", 47, cwd=tmp_path)


# What cannot be used

def break_caltech(folder):
    shutil.rmtree(folder / "256_ObjectCategories" / "100.class")


def break_caltech_class(folder):
    (folder / "256_ObjectCategories" / "100.class" / "100_0001.jpg").unlink()


def break_variants(folder):
    (folder / "fgvc-aircraft-2013b" / "data" / "variants.txt").unlink()


def break_variant(folder):
    path = folder / "fgvc-aircraft-2013b" / "data" / "images_variant_val.txt"
    path.write_text(path.read_text().replace("707-320", "707-321"))


def break_aircraft_class(folder):
    path = folder / "fgvc-aircraft-2013b" / "data" / "images_variant_val.txt"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))


def break_flowers(folder):
    (folder / "flower_photos" / "roses").rename(folder / "flower_photos" / "rose")


def break_flower(folder):
    for file in list((folder / "flower_photos" / "roses").iterdir())[2:]:
        file.unlink()


def break_texture(folder):
    (folder / "dtd" / "images" / "banded" / "banded_0002.jpg").unlink()


def break_labels(folder):
    (folder / "dtd" / "labels" / "val1.txt").write_text("../../secret.jpg\nbanded/../../secret.jpg\n")


def break_mat(folder):
    (folder / "devkit" / "cars_train_annos.mat").write_bytes(b"no MATLAB file")


def break_labelled_mat(folder):
    shutil.copy(folder / "devkit" / "cars_meta.mat", folder / "cars_test_annos_withlabels.mat")


def break_cars(folder):
    """The images were not unpacked."""


def break_devkit(folder):
    shutil.rmtree(folder / "devkit")


@pytest.mark.parametrize("name, breaks, says", [
    ("caltech256", break_caltech, "255 folders beside 257.clutter; expected 256"),
    ("caltech256", break_caltech_class, "256 classes lack images(?s:.*)001.ak47: number 2 is missing"),
    ("aircraft", break_variants, "variants.txt: cannot be read: No such file"),
    ("aircraft", break_variant, "1 lines name no variant of variants.txt(?s:.*)line 1: '707-321'"),
    ("aircraft", break_aircraft_class, "1 classes lack images(?s:.*)Boeing 97: none to validate on"),
    ("flowers", break_flowers, "has the folders daisy, dandelion, rose, sunflowers, tulips; expected daisy, dandelion"),
    ("flowers", break_flower, "2 classes lack images(?s:.*)roses: none in val.lst"),
    ("dtd", break_texture, "1 images are named in the annotations and not there(?s:.*)banded/banded_0002.jpg"),
    ("dtd", break_labels, r"val1.txt: 2 lines are not of a folder of(?s:.*)line 2: banded/\.\./\.\./secret.jpg"),
    ("cars", break_mat, "cars_train_annos.mat: not a MATLAB file with annotations"),
    ("cars", break_labelled_mat, "cars_test_annos_withlabels.mat: not a MATLAB file with annotations"),
    ("cars", break_cars, "392 images are named in the annotations and not there(?s:.*)cars_train/02157.jpg"),
    ("cars", break_devkit, "cars_meta.mat: cannot be read: No such file(?s:.*)Stanford Cars has cars_annos.mat"),
], ids=lambda value: getattr(value, "__name__", None))
def test_a_data_set_that_is_not_whole_is_refused_and_nothing_is_written(tmp_path, name, breaks, says):
    few = {"caltech256": dict(images=1), "cars": dict(training=12, test=1, write=lambda path: None),
           "flowers": dict(write=stand_in.Pictures().write)}      # files without content would be one image
    getattr(stand_in, name)(tmp_path / "data", **{"write": empty, **few.get(name, {})})
    breaks(tmp_path / "data")
    with pytest.raises(InputError, match=says):
        list_published(name, tmp_path / "data", tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


def test_annotations_of_unknown_classes_are_named(tmp_path):
    from scipy.io import loadmat, savemat

    stand_in.cars(tmp_path / "data", training=12, test=1, write=lambda path: None)
    path = tmp_path / "data" / "devkit" / "cars_train_annos.mat"
    content = loadmat(path)["annotations"]
    for wrong in (0, 197):
        content[0, 0]["class"] = np.uint8(wrong)
        savemat(path, {"annotations": content})
        with pytest.raises(InputError, match="1 annotations name a class that there is not; expected 1 to 196"):
            list_published("cars", tmp_path / "data", tmp_path / "out")


def test_flags_that_cannot_be_are_refused(command, tmp_path):
    stand_in.caltech256(tmp_path / "few", images=1)
    stand_in.dtd(tmp_path / "data", write=empty)
    (tmp_path / "empty").mkdir()
    for flags, says in ((["aircraft", "data", "out", "--clutter"], "--clutter was given with aircraft"),
                        (["dtd", "data", "out", "--per-class", 3], "--per-class was given with dtd"),
                        (["flowers", "data", "out", "--per-class", 3], "--per-class was given with flowers"),
                        (["caltech256", "few", "out", "--seed", 3], "--seed was given without --per-class"),
                        (["caltech256", "empty", "out"], "has no folder 256_ObjectCategories"),
                        (["caltech256", "few", "out", "--per-class", 2], "have fewer than 2 images")):
        assert says in command(TOOL, "dataset", *flags, cwd=tmp_path, expect=2).stderr
    (tmp_path / "out").mkdir(exist_ok=True)
    (tmp_path / "out" / "classes.txt").write_text("cat\ndog\n")
    said = command(TOOL, "dataset", "dtd", "data", "out", cwd=tmp_path, expect=2).stderr
    assert "classes.txt: there already, with other classes" in said
