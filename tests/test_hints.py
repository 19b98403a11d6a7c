"""Messages that say what to do: what is missing comes from somewhere, lies elsewhere, or can be done without."""
import os
import re
import shutil

import pytest
from conftest import NEW_NETWORK, SMALL, call, make_data

from transfer_gluon.base.errors import InputError
from transfer_gluon.iters import read_list, write_list
from transfer_gluon.iters.elsewhere import elsewhere
from transfer_gluon.records import ensure_packed

TOOL = "tools/im2rec_helpers.py"


@pytest.fixture
def project(tmp_path):
    """A folder with ``data/``, whose lists name images by paths that count from it."""
    folder = tmp_path / "project"
    folder.mkdir()
    make_data(folder / "data")
    for path in (folder / "data").glob("*.lst"):
        images = read_list(path)
        write_list(path, images.labels, [os.path.relpath(file, folder) for file in images.files])
    return folder


def words(said):
    return " ".join(said.split())


@pytest.mark.parametrize("flags", [[], ["--read", "files"]])
def test_training_in_another_folder_is_told_where_to_run(project, tmp_path, flags):
    said = call("fine_tune.py", *NEW_NETWORK, *SMALL, "--data-dir", project / "data", "--model-prefix", tmp_path / "m",
                *flags, cwd=tmp_path, expect=2).stderr
    assert f"data/source/000.jpg lies in {project}: run it there" in said
    assert f"which is {tmp_path};" in said and said.count("run it there") == 1
    call("fine_tune.py", *NEW_NETWORK, *SMALL, "--data-dir", "data", "--model-prefix", tmp_path / "m", *flags,
         cwd=project)


@pytest.mark.parametrize("command", [["predict.py", "--out", "p.csv"], ["adabn.py"], ["evaluate.py"]])
def test_judging_in_another_folder_is_told_where_to_run(project, stage0, command):
    flag = "--val" if command[0] == "adabn.py" else "--lst"
    said = call(*command, "--model", stage0, "--epoch", 1, flag, "val.lst", cwd=project / "data", expect=2).stderr
    assert f"data/val/000.jpg lies in {project}: run it there" in said


def test_verifying_in_another_folder_is_told_where_to_run(project):
    said = call(TOOL, "verify", "data/source.lst", "data/val.lst", cwd=project)
    assert "24 images, 0 bad" in said.stdout
    said = call(TOOL, "verify", "source.lst", "val.lst", cwd=project / "data", expect=2).stderr
    assert "40 images cannot be used" in said and said.count("run it there") == 1
    assert f"data/source/000.jpg lies in {project}" in said


def test_images_that_are_nowhere_or_there_get_no_hint(project, monkeypatch):
    monkeypatch.chdir(project)
    files = read_list("data/val.lst").files
    assert elsewhere("data/val.lst", files) == ""
    shutil.rmtree("data/val")
    assert elsewhere("data/val.lst", files) == ""
    with pytest.raises(InputError) as refused:
        ensure_packed(read_list("data/val.lst"))
    assert "No such file" in str(refused.value) and "run it there" not in str(refused.value)


def test_verify_names_the_paths_of_images(project):
    data = project / "data"
    shutil.copy(data / "source" / "004.jpg", data / "source" / "009.jpg")
    (data / "val" / "002.jpg").write_text("no image")
    call(TOOL, "pack", "data/source.lst", cwd=project)
    done = call(TOOL, "verify", "data/source.lst", "data/val.lst", cwd=project, expect=2)
    assert "index 4, data/source/004.jpg = index 9, data/source/009.jpg" in done.stdout
    assert "data/val.lst: index 2, data/val/002.jpg: " in done.stderr
    done = call(TOOL, "verify", "data/source.rec", cwd=project)     # by the list beside it
    assert "index 4, data/source/004.jpg = index 9, data/source/009.jpg" in done.stdout
    record = bytearray((data / "source.rec").read_bytes())
    start = record.find(b"\xff\xd8")
    record[start:start + 2] = b"xx"
    (data / "source.rec").write_bytes(record)
    assert re.search(r"index 0, byte 0: .*\(data/source/000.jpg\)",
                     call(TOOL, "verify", "data/source.rec", cwd=project, expect=2).stderr)
    (data / "source.lst").unlink()
    assert "\n  index 4 = index 9\n" in call(TOOL, "verify", "data/source.rec", cwd=project, expect=2).stdout


@pytest.mark.parametrize("line, name", [
    ("0,3,photos/a.jpg", "commas"), ("0, 3, photos/a.jpg", "commas"), ("0;3;photos/a.jpg", "semicolons"),
    ("0 3 photos/a b.jpg", "blanks"), ("photos/a.jpg 3", "blanks"),
    ("Path,Label", "commas"), ('"photos/a.jpg","3"', "commas"),
    ("photos/a b.jpg", None), ("photos/a,b.jpg", None), ("0\t3", None)])
def test_what_stands_between_fields_is_recognised_by_name(tmp_path, line, name):
    (tmp_path / "x.lst").write_text(f"{line}\n")
    with pytest.raises(InputError) as refused:
        read_list(tmp_path / "x.lst")
    said = f"fields are separated by {name}; expected tabs: index, label, path" if name else \
        f"{len(line.split(chr(9)))} field"
    assert said in str(refused.value)
    assert name or "fields are separated by" not in str(refused.value)


def test_a_missing_val_lst_is_answered_with_what_does_without(data, tmp_path):
    (data / "val.lst").unlink()
    flags = [*NEW_NETWORK, *SMALL, "--data-dir", data]
    said = words(call("fine_tune.py", *flags, "--model-prefix", tmp_path / "m", expect=2).stderr)
    assert "val.lst: no such file" in said
    assert "give --no-validation; --source-validation 0.1 then holds a tenth of the source out" in said
    unjudged = "nothing judges this run but the images that it trains on: --no-validation was given without " \
        "--source-validation"
    assert unjudged in words(call("fine_tune.py", *flags, "--no-validation", "--model-prefix", tmp_path / "m").stderr)
    done = call("fine_tune.py", *flags, "--no-validation", "--source-validation", 0.1, "--model-prefix", tmp_path / "n")
    assert unjudged not in words(done.stderr) and re.search(r"source_accuracy 0?\.?\d", done.stderr)


def test_a_run_that_is_validated_is_judged(data, tmp_path):
    assert "nothing judges" not in call("fine_tune.py", *NEW_NETWORK, *SMALL, "--data-dir", data, "--model-prefix",
                                        tmp_path / "m").stderr


@pytest.mark.parametrize("flags", [[], ["--l2sp", 0.1]])
def test_stage_0_without_a_network_to_start_from_says_where_there_are_some(data, tmp_path, flags):
    said = words(call("fine_tune.py", *SMALL, "--data-dir", data, *flags, cwd=tmp_path, expect=2).stderr)
    assert "model/resnet-152-0000.params: no such checkpoint; of the prefix model/resnet-152 there is no epoch" in said
    assert "tools/get_model.py fetches a pretrained network, tools/import_weights.py makes one of PyTorch's" in said
    assert "--pretrained-model names it" in said and "--network begins with random weights" in said


def test_stage_1_without_one_points_to_stage_0(data, stage0, tmp_path):
    flags = [*SMALL, "--data-dir", data, "--train-stage", 1]
    said = words(call("fine_tune.py", *flags, cwd=tmp_path, expect=2).stderr)
    assert "Stage 1 goes on from a network that stage 0 has trained" in said and "get_model" not in said
    said = call("fine_tune.py", *flags, "--pretrained-model", stage0, "--pretrained-epoch", 7, expect=2).stderr
    assert "there are the epochs 1" in said and "Stage 1 goes on" not in said
