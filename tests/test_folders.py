"""Folders and pictures where a list is read, and names of classes on their way from them to predictions."""
import csv
import json
import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import NEW_NETWORK, call

from transfer_gluon.base.errors import InputError
from transfer_gluon.checkpoints.checkpoint import load_checkpoint
from transfer_gluon.iters import read_features, read_list, write_list
from transfer_gluon.records.folders import read_images

TRAIN = ["--image-shape", "3,16,16", "--data-nthreads", 2, "--batch-size", 8, "--num-epochs", 1, "--lr", 0.01]
NAMES = ["blue", "green", "red"]


def make_photos(folder, names, each=8, seed=0, side=24):
    """So many photos of each colour, in a folder a class."""
    rng = np.random.default_rng(seed)
    for name in names:
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(each):
            image = rng.integers(0, 60, (side, side, 3), dtype=np.uint8)
            image[:, :, NAMES.index(name) if name in NAMES else 0] += np.uint8(120)
            cv2.imwrite(str(folder / name / f"{number:02d}.png"), image)
    return folder


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """The working folder, with photos ``web`` and ``val``, a folder a class, and ``street``, flat."""
    monkeypatch.chdir(tmp_path)
    make_photos(Path("web"), NAMES)
    make_photos(Path("val"), NAMES, each=4, seed=1)
    make_photos(Path("other"), NAMES, each=4, seed=2)
    Path("street").mkdir()
    for number, file in enumerate(sorted(Path("other").rglob("*.png"))):
        shutil.copy(file, Path("street", f"{number:02d}.png"))
    return tmp_path


def said(*arguments, cwd=".", expect=0):
    done = call(*arguments, cwd=cwd, expect=expect)
    return " ".join((done.stderr + done.stdout).split())


def tree(folder):
    return sorted(str(path) for path in Path(folder).rglob("*"))


def test_from_two_folders_to_named_predictions(photos):
    before = tree(".")
    said("fine_tune.py", *NEW_NETWORK, *TRAIN, "--source", "web", "--val", "val", "--model-prefix", "m/zero")
    assert load_checkpoint("m/zero", 1).classes == NAMES
    text = said("fine_tune.py", "--train-stage", 1, *TRAIN, "--source", "web", "--target", "street", "--val", "val",
                "--pretrained-model", "m/zero", "--pretrained-epoch", 1, "--model-prefix", "m/one")
    assert "street: 12 target images; folders tell no labels of a target" in text and "validation" in text
    checkpoint = load_checkpoint("m/one", 1)
    assert (checkpoint.classes, checkpoint.num_classes, checkpoint.image_shape) == (NAMES, 3, (3, 16, 16))
    settings = json.loads(Path("m/one-run/settings.json").read_text())["settings"]
    assert settings["num_classes"] == 3 and settings["`target` street"] == read_images("street").digest
    text = said("adabn.py", "--model", "m/one", "--epoch", 1, "--val", "val", "--save-prefix", "m/adapted")
    assert "accuracy of 12 images" in text and load_checkpoint("m/adapted", 1).classes == NAMES
    text = said("adabn.py", "--model", "m/one", "--epoch", 1, "--val", "street")
    assert "street: no image has a label" in text
    said("predict.py", "--model", "m/adapted", "--epoch", 1, "--images", "street", "--out", "p.csv")
    with open("p.csv", newline="") as file:
        rows = list(csv.reader(file))[1:]
    assert [row[0] for row in rows] == sorted(map(str, Path("street").iterdir()))
    assert all(set(row[1::2]) == set(NAMES) for row in rows)
    said("predict.py", "--model", "m/adapted", "--epoch", 1, "--images", "street/03.png", "--out", "p1.csv")
    with open("p1.csv", newline="") as file:
        (_, row) = csv.reader(file)
    assert row[:2] == rows[3][:2]
    shutil.copy("street/03.png", make_photos(Path("mixed"), ["pink"], each=1))      # labels are not looked for
    said("predict.py", "--model", "m/adapted", "--epoch", 1, "--images", "mixed", "--out", "p1.csv")
    assert len(Path("p1.csv").read_text().splitlines()) == 3
    Path("names.txt").write_text("bleu\nvert\nrouge\n")
    said("predict.py", "--model", "m/adapted", "--epoch", 1, "--images", "street", "--out", "p2.csv", "--classes",
         "names.txt")
    assert set(Path("p2.csv").read_text().splitlines()[1].split(",")[1::2]) == {"bleu", "vert", "rouge"}
    text = said("evaluate.py", "--model", "m/one", "--epoch", 1, "--lst", "val", "--output", "out")
    assert "12 images" in text and Path("out/confusion.csv").read_text().splitlines()[0].endswith("blue,green,red")
    new = [path for path in tree(".") if path.split("/")[0] not in ("m", "out", "mixed")]
    assert sorted(set(new) - set(before)) == ["names.txt", "p.csv", "p1.csv", "p2.csv"]


def test_a_folder_whose_content_changes_is_another_one(photos):
    flags = ["fine_tune.py", *NEW_NETWORK, *TRAIN, "--source", "web", "--val", "val", "--model-prefix", "m/x"]
    said(*flags)
    shutil.move("web", "deeper/web")
    flags[flags.index("web")] = "deeper/web"        # as --data-dir may lie elsewhere, too
    assert "nothing is left to train" in said(*flags, "--resume")
    shutil.copy("val/red/00.png", "deeper/web/red/99.png")
    text = said(*flags, "--resume", expect=2)
    assert re.search("the run began with other settings: --source web: [0-9a-f]{16} then, [0-9a-f]{16} now "
                     r"\(digests of its images and labels\)", text)


def test_labels_of_a_target_folder_are_never_used(photos):
    text = said("fine_tune.py", *NEW_NETWORK, *TRAIN, "--source", "web", "--target", "other", "--val", "val",
                "--model-prefix", "m/x")
    assert "other: 12 target images; folders tell no labels of a target, so that stage 0 does without it" in text
    settings = json.loads(Path("m/x-run/settings.json").read_text())["settings"]
    assert settings["`source` web"] == read_images("web").digest and not any("other" in name for name in settings)
    # Those of a list are given by a person.
    files = sorted(map(str, Path("street").iterdir()))
    write_list("street.lst", [0] * 4 + [9999] * 8, files)
    text = said("fine_tune.py", *NEW_NETWORK, *TRAIN, "--source", "web", "--target", "street.lst", "--val", "val",
                "--model-prefix", "m/y")
    assert "4 target images have a label and join the source" in text and not Path("stage0.lst").exists()
    lists = [str(path) for path in Path(".").glob("*.lst")]
    assert lists == ["street.lst"]


def test_lists_of_any_name_have_the_classes_beside_them(photos):
    said("tools/im2rec_helpers.py", "list", "web", "lists/web.lst")
    said("tools/im2rec_helpers.py", "list", "val", "lists/val.lst", "--classes", "lists/classes.txt")
    said("fine_tune.py", *NEW_NETWORK, *TRAIN, "--source", "lists/web.lst", "--val", "lists/val.lst",
         "--model-prefix", "m/x")
    assert load_checkpoint("m/x", 1).classes == NAMES and Path("lists/web.rec").exists()
    text = said("fine_tune.py", *NEW_NETWORK, *TRAIN, "--source", "lists/web.lst", "--no-validation",
                "--num-classes", 4, "--model-prefix", "m/w", expect=2)
    assert ("lists/classes.txt: 3 classes, and --num-classes is 4. Leave it out, or give 3, or move the file away, if "
            "it is of other lists.") in text
    # Labelled target images join those of a list in another list, under a name that is nobody's.
    files = sorted(map(str, Path("street").iterdir()))
    write_list("lists/street.lst", [0] * 4 + [9999] * 8, files)
    said("fine_tune.py", *NEW_NETWORK, *TRAIN, "--source", "lists/web.lst", "--target", "lists/street.lst",
         "--no-validation", "--model-prefix", "m/y")
    joined, = Path("lists").glob("stage0-*.lst")
    assert len(read_list(joined)) == 28 and not Path("lists/stage0.lst").exists()
    shutil.copy("lists/web.lst", "lists/source.lst")
    Path("away").mkdir()
    shutil.copy("lists/street.lst", "away/target.lst")
    said("fine_tune.py", *NEW_NETWORK, *TRAIN, "--data-dir", "lists", "--target", "away/target.lst", "--no-validation",
         "--model-prefix", "m/v")
    assert not Path("lists/stage0.lst").exists() and not list(Path("away").glob("stage0*"))
    Path("lists/source.lst").unlink()
    said("tools/im2rec_helpers.py", "list", "street", "lists/target.lst", "--unlabelled")
    text = said("fine_tune.py", "--train-stage", 1, *TRAIN, "--data-dir", "lists", "--target", "street",
                "--pretrained-model", "m/x", "--pretrained-epoch", 1, "--model-prefix", "m/z", expect=2)
    assert "lists/source.lst: no such file" in text


def test_lists_and_folders_stand_beside_each_other(photos):
    said("tools/im2rec_helpers.py", "list", "web", "lists/source.lst")
    said("fine_tune.py", *NEW_NETWORK, *TRAIN, "--data-dir", "lists", "--val", "val", "--model-prefix", "m/x")
    assert Path("lists/source.rec").exists() and not Path("val.rec").exists()
    flags = ["fine_tune.py", "--train-stage", 1, *TRAIN, "--pretrained-model", "m/x", "--pretrained-epoch", 1,
             "--model-prefix", "m/y", "--read", "features", "--features-dir", "f"]
    said(*flags, "--source", "lists/source.lst", "--target", "street", "--val", "val")
    assert [path.name.split("-")[0] for path in sorted(Path("f").glob("*.npz"))] == ["source.npz", "street", "val"]
    assert load_checkpoint("m/y", 1).classes == NAMES


@pytest.mark.parametrize("flags, why", [
    (["--source", "web"], "--source was given without --val; give it, a list or a folder, or --no-validation"),
    (["--source", "web", "--val", "val", "--train-stage", 1], "--source was given without --target; give it"),
    (["--source", "web", "--val", "val", "--data-dir", "d"], "--data-dir was given with --source, beside which"),
    (["--source", "web", "--val", "val", "--no-validation"], "--val was given with --no-validation"),
    (["--source", "web", "--val", "val", "--benchmark", 1], "--source was given with --benchmark"),
    (["--source", "web", "--val", "none"], "none: no such file; .* or is a folder of them. Without any, give --no-val"),
    (["--source", "web", "--val", "street"], "street: its 12 images lie in it side by side, which tells no label"),
    (["--source", "web", "--val", "val", "--num-classes", 4], "web: 3 classes, and --num-classes is 4. Leave it out"),
    (["--source", "web", "--val", "val", "--read", "mxnet"], "--source is the folder web, and --read mxnet reads rec"),
    (["--source", "one", "--val", "val"], "one: one class only, red; expected a folder a class, two or more"),
    (["--source", "high", "--val", "val"], "high: its only folder is images, in which lie the folders blue, green, red."
     " If these are the classes, give high/images"),
    (["--source", "web", "--val", "more"], "more: 1 folder is no class of those to be told apart: pink The classes "
     "are blue, green, red."),
    (["--source", "loose", "--val", "val"], "loose: 1 of its images lies in no class folder, and others do"),
    (["--source", "empty", "--val", "val"], "empty: no images in it, nothing at all; expected files that end in .avif"),
    (["--source", "texts", "--val", "val"], r"texts: no images in it, 2 other files \(.txt\); expected"),
    (["--source", "ones.lst", "--val", "val", "--num-classes", 3], "Its labels go from 1 to 3: labels count from 0, so "
     "subtract 1 from each"),
    (["--source", "ones.lst", "--val", "val", "--num-classes", 2], "Its labels go to 3, which takes 4 classes: it may"),
    (["--source", "ones.lst", "--no-validation"], "--num-classes was not given, and there is no classes.txt with their "
     "names; give it. The labels in ones.lst go to 3, which takes 4. None is 0: if they count from 1, subtract 1"),
    (["--source", "same.lst", "--no-validation", "--num-classes", 3], "same.lst: has one class only, 2; expected"),
    (["--source", "null.lst", "--no-validation", "--num-classes", 3], "null.lst: has no labels; expected"),
])
def test_what_does_not_fit_is_told_at_once(photos, flags, why):
    make_photos(Path("one"), ["red"])
    make_photos(Path("high/images"), NAMES)
    make_photos(Path("more"), [*NAMES, "pink"])
    shutil.copy("web/red/00.png", make_photos(Path("loose"), NAMES))
    Path("empty").mkdir()
    for name in ("a", "b"):
        Path("texts").mkdir(exist_ok=True)
        Path("texts", f"{name}.txt").touch()
    files = sorted(map(str, Path("street").iterdir()))
    for name, labels in (("ones", [1, 2, 3] * 4), ("same", [2] * 12), ("null", [9999] * 12)):
        write_list(f"{name}.lst", labels, files)
    where = TRAIN if "--train-stage" in flags else [*NEW_NETWORK, *TRAIN]
    text = said("fine_tune.py", *where, *flags, "--model-prefix", "m/x", expect=2)
    assert re.search(why, text), text
    assert not Path("m").exists() or not any(Path("m").iterdir())


def test_labels_that_begin_with_1_and_classes_without_images_are_said(photos):
    write_list("ones.lst", [1, 2, 3] * 4, sorted(map(str, Path("street").iterdir())))
    text = said("fine_tune.py", *NEW_NETWORK, *TRAIN, "--source", "ones.lst", "--no-validation", "--num-classes", 4,
                "--model-prefix", "m/x")
    assert "ones.lst: 1 of 4 classes have no image, and cannot be learned: 0" in text
    assert "If those of ones.lst begin with 1, subtract 1 from each" in text
    text = said("fine_tune.py", *NEW_NETWORK, *TRAIN, "--source", "ones.lst", "--no-validation", "--num-classes", 5,
                "--model-prefix", "m/y")
    assert "2 of 5 classes have no image" in text and "begin with 1" not in text


def test_stage_1_takes_the_classes_of_its_checkpoint(photos):
    said("fine_tune.py", *NEW_NETWORK, *TRAIN, "--source", "web", "--val", "val", "--model-prefix", "m/zero")
    goes_on = ["fine_tune.py", "--train-stage", 1, *TRAIN, "--pretrained-model", "m/zero", "--pretrained-epoch", 1,
               "--target", "street", "--no-validation", "--model-prefix", "m/one"]
    make_photos(Path("many"), [*NAMES, "pink", "cyan"])
    text = said(*goes_on, "--source", "many", expect=2)
    assert "many: 2 folders are no class of those to be told apart: cyan pink The classes are blue, green, red." in text
    write_list("many.lst", [0, 1, 2, 48] * 3, sorted(map(str, Path("street").iterdir())))
    text = said(*goes_on, "--source", "many.lst", expect=2)
    assert "Its labels go to 48, which takes 49 classes" in text
    said("tools/im2rec_helpers.py", "list", "many", "lists/many.lst")
    text = said(*goes_on, "--source", "lists/many.lst", expect=2)
    assert "lists/classes.txt: its classes are blue, cyan, green, pink, red, and those to be told apart" in text
    # A part of them is no mistake: labels are those of the checkpoint.
    shutil.rmtree("web/green")
    text = said(*goes_on, "--source", "web")
    assert "web: 1 of 3 classes have no image, and cannot be learned: green" in text
    assert load_checkpoint("m/one", 1).classes == NAMES
    # A checkpoint without names has a number.
    symbol = Path("m/zero-symbol.json")
    symbol.write_text(re.sub(r'"__classes__": "(\\.|[^"\\])*",?', "", symbol.read_text()))
    assert load_checkpoint("m/zero", 1).classes is None
    text = said(*goes_on, "--source", "many", "--overwrite", expect=2)
    assert "many: has 5 classes, and the network to go on with, m/zero, tells 3 apart" in text
    text = said(*goes_on, "--source", "many.lst", "--overwrite", expect=2)
    assert "many.lst: has labels of 49 classes, and the network to go on with, m/zero, tells 3 apart" in text


def test_a_run_without_names_goes_on_without(photos):
    flags = ["fine_tune.py", *NEW_NETWORK, *TRAIN[:-4], "--lr", 0.01, "--model-prefix", "m/x", "--num-epochs"]
    write_list("a.lst", [0, 1, 2] * 4, sorted(map(str, Path("street").iterdir())))
    said(*flags, 1, "--source", "a.lst", "--no-validation", "--num-classes", 3)
    Path("classes.txt").write_text("".join(f"{name}\n" for name in NAMES))
    said(*flags, 2, "--source", "a.lst", "--no-validation", "--resume")
    assert load_checkpoint("m/x", 2).classes is None        # all epochs share one file, which stays as it was
    said(*flags, 3, "--source", "a.lst", "--no-validation", "--load-epoch", 2)
    assert load_checkpoint("m/x", 3).classes == NAMES
    Path("classes.txt").write_text("red\ngreen\nblue\n")
    text = said(*flags, 4, "--source", "a.lst", "--no-validation", "--resume", expect=2)
    assert "classes.txt: its classes are red, green, blue, and those to be told apart are blue, green, red" in text


def test_images_of_a_folder_are_looked_at_and_checked(photos):
    Path("web/red/99.jpg").write_text("no image")
    text = said("tools/im2rec_helpers.py", "info", "web", "--sheet", "sheet.png")
    assert "25 images, 3 classes, 0 of unknown label, 1 bad" in text and "| green | 8 |" in text
    text = said("tools/im2rec_helpers.py", "verify", "web", "val", expect=2)
    assert "web: 25 images, 1 bad val: 12 images, 0 bad" in text and "web/red/99.jpg" in text
    text = said("fine_tune.py", *NEW_NETWORK, *TRAIN, "--source", "web", "--val", "val", "--model-prefix", "m/x",
                expect=2)
    assert "web: 1 of its images cannot be used" in text
    Path("web/red/99.jpg").unlink()
    said("tools/im2rec_helpers.py", "list", "web", "lists/web.lst")
    assert "| green | 8 |" in said("tools/im2rec_helpers.py", "info", "lists/web.lst")


def test_a_list_is_predicted_under_the_names_beside_it(photos):
    Path("d").mkdir()
    write_list("d/a.lst", [0, 1, 2] * 4, sorted(map(str, Path("street").iterdir())))
    said("fine_tune.py", *NEW_NETWORK, *TRAIN, "--source", "d/a.lst", "--no-validation", "--num-classes", 3,
         "--model-prefix", "m/x")
    flags = ["predict.py", "--model", "m/x", "--epoch", 1, "--lst", "d/a.lst", "--out", "p.csv"]
    text = said(*flags)
    with open("p.csv", newline="") as file:
        rows = list(csv.reader(file))[1:]
    assert {*rows[0][1::2]} == {"0", "1", "2"}
    right = np.mean([row[1] == str(number % 3) for number, row in enumerate(rows)])
    assert f"accuracy of the 12 images with a label: {right:.2%}" in text
    Path("d/classes.txt").write_text("".join(f"{name}\n" for name in NAMES))
    said(*flags)
    assert {*Path("p.csv").read_text().splitlines()[1].split(",")[1::2]} == set(NAMES)
    write_list("d/a.lst", [0, 1, 7, 9999] * 3, read_list("d/a.lst").files)       # those of other classes
    text = said(*flags)
    assert "accuracy of" not in text and "labels in d/a.lst go to 7, and m/x-0001.params has 3 classes: they are " \
        "those of other classes, so that there is no accuracy to tell" in text
    text = said(*flags, "--images", "street", expect=2)
    assert "--lst was given with --images, where it does nothing" in text


def test_a_folder_is_read_in_the_order_of_its_names(photos):
    images = read_images("web")
    assert images.classes == tuple(NAMES) and images.labels.tolist() == [0] * 8 + [1] * 8 + [2] * 8
    assert images.indices.tolist() == list(range(24)) and images.in_place and images.record is None
    assert read_images("web", classes=["red", "green", "x", "blue"]).labels.tolist() == [3] * 8 + [1] * 8 + [0] * 8
    assert not read_images("web", labels=False, null_label=7).labelled.any()
    picture = read_images("street/00.png", null_label=5)
    assert picture.files == ["street/00.png"] and picture.labels.tolist() == [5]
    assert read_images("web").digest == read_images(Path("web").resolve()).digest != read_images("val").digest
    with pytest.raises(InputError, match=f"none: no such file or folder; .* The command runs in {photos},"):
        read_images("none")
    with pytest.raises(InputError, match="or an image.$"):
        read_images(photos / "none")
    with pytest.raises(InputError, match="00.png: one image, which tells no label; expected a list, or a folder"):
        read_images("street/00.png", labels=True)


@pytest.fixture
def named(photos):
    """The photos, and a checkpoint ``m/x`` of their classes."""
    said("fine_tune.py", *NEW_NETWORK, *TRAIN, "--source", "web", "--val", "val", "--model-prefix", "m/x")
    return photos


def without_names(prefix):
    symbol = Path(f"{prefix}-symbol.json")
    symbol.write_text(re.sub(r'"__classes__": "(\\.|[^"\\])*",?', "", symbol.read_text()))
    assert load_checkpoint(prefix, 1).classes is None


def test_some_folders_are_not_judged_by_a_network_that_does_not_name_its_classes(named):
    shutil.copytree("val", "few")
    shutil.rmtree("few/blue")
    flags = ["--model", "m/x", "--epoch", 1]
    said("evaluate.py", *flags, "--lst", "few", "--output", "o1")
    table = Path("o1/classes.csv").read_text().splitlines()
    assert [row.split(",")[:3] for row in table[1:]] == [["0", "blue", "0"], ["1", "green", "4"], ["2", "red", "4"]]
    without_names("m/x")
    for command, flag in ("evaluate.py", "--lst"), ("adabn.py", "--val"):
        text = said(command, *flags, flag, "few", expect=2)
        assert "few: its 2 folders are taken for classes, by the alphabet, and m/x-0001.params has 3: which " \
            "of them these are is not known. Give a folder with all of them; or a list, which tools/im2rec" in text
    Path("classes.txt").write_text("".join(f"{name}\n" for name in NAMES))
    said("evaluate.py", *flags, "--lst", "few", "--classes", "classes.txt", "--output", "o2")
    assert Path("o2/classes.csv").read_text() == Path("o1/classes.csv").read_text()
    # What names there are are told: of all folders, and of classes.txt beside a list.
    said("evaluate.py", *flags, "--lst", "val", "--output", "o3")
    said("tools/im2rec_helpers.py", "list", "val", "lists/val.lst")
    said("evaluate.py", *flags, "--lst", "lists/val.lst", "--output", "o4")
    Path("lists/classes.txt").write_text("red\ngreen\nx\ny\n")
    text = said("evaluate.py", *flags, "--lst", "lists/val.lst", expect=2)
    assert "4 names of classes were given, or stand in classes.txt beside lists/val.lst, and m/x-0001" in text
    for output in "o3", "o4":
        assert Path(output, "confusion.csv").read_text().splitlines()[0].endswith("blue,green,red")


def test_adabn_takes_folders_that_are_no_classes_for_images_without_labels(named):
    make_photos(Path("years"), ["2021", "2022"])
    shutil.copy("val/red/00.png", "years/loose.png")
    flags = ["adabn.py", "--model", "m/x", "--epoch", 1, "--val"]
    text = said(*flags, "years")
    assert "years: none of its folders is called like a class, so that its images have no labels; the classes are " \
        "blue, green, red" in text and "years: no image has a label" in text
    make_photos(Path("mixed"), ["2021", "2022", "red"])
    text = said(*flags, "mixed", expect=2)
    assert "mixed: 2 folders are no class of those to be told apart: 2021 2022 The classes are blue, green, red. " \
        "Rename what is one of them, and move away what is none." in text


def test_features_of_a_folder(named):
    flags = ["extract_features.py", "--model", "m/x", "--epoch", 1]
    shutil.move("val", "val.new")
    text = said(*flags, "--lst", "val.new")
    assert "val.new.npz: " in text and "12 images" in text
    assert read_features("val.new.npz").labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    shutil.rmtree("val.new/blue")
    Path("classes.txt").write_text("".join(f"{name}\n" for name in NAMES))
    said(*flags, "--lst", "val.new", "--classes", "classes.txt", "--out", "few.npz")
    assert read_features("few.npz").labels.tolist() == [1] * 4 + [2] * 4
    said(*flags, "--lst", "street")
    assert read_features("street.npz").labels.tolist() == [9999] * 12
    said("tools/im2rec_helpers.py", "list", "web", "lists/web.lst")
    text = said(*flags, "--lst", "lists/web.lst", "--classes", "classes.txt", expect=2)
    assert "--classes was given with a list, which has labels, where it does nothing" in text
    text = said(*flags, "--lst", "none", expect=2)
    assert "none: no such file or folder; expected a list (.lst), a folder of images" in text


def test_predict_is_given_folders_by_another_flag(named):
    flags = ["predict.py", "--model", "m/x", "--epoch", 1, "--out", "p.csv", "--lst"]
    assert "val: a folder, which is given by --images; evaluate.py compares" in said(*flags, "val", expect=2)


def test_missing_lists_point_to_the_flags_that_name_others(photos):
    text = said("fine_tune.py", *NEW_NETWORK, *TRAIN, "--target", "street", "--no-validation", expect=2)
    assert "data/source.lst: no such file; it lists the labelled images. --source names another list, or a f" in text
    said("tools/im2rec_helpers.py", "list", "web", "data/source.lst")
    said("fine_tune.py", *NEW_NETWORK, *TRAIN, "--no-validation", "--model-prefix", "m/x")
    text = said("fine_tune.py", *TRAIN, "--train-stage", 1, "--pretrained-model", "m/x", "--pretrained-epoch", 1,
                "--no-validation", expect=2)
    assert "data/target.lst: no such file; it lists those of the target. --target names another list" in text


def test_names_of_any_kind_reach_every_file(photos):
    names = sorted(["with blank", "ä, ö", 'quo"te', "<b>", "$x_1$"])
    make_photos(Path("src"), names, each=4)
    said("fine_tune.py", *NEW_NETWORK, *TRAIN, "--source", "src", "--no-validation", "--model-prefix", "m/x")
    flags = ["--model", "m/x", "--epoch", 1]
    said("evaluate.py", *flags, "--lst", "src", "--output", "out")
    with open("out/confusion.csv", newline="") as file:
        assert next(csv.reader(file))[1:] == names
    said("predict.py", *flags, "--images", "src", "--out", "p.csv")
    with open("p.csv", newline="") as file:
        assert {*list(csv.reader(file))[1][1::2]} == {*names}
    said("tools/export.py", *flags)
    session = pytest.importorskip("onnxruntime").InferenceSession("m/x-0001.onnx")
    assert json.loads(session.get_modelmeta().custom_metadata_map["classes"]) == names
