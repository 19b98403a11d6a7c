"""The Python of README.md and docs/ runs as it stands, outside the checkout."""
import csv
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT, make_data
from PIL import Image

from transfer_gluon.checkpoints.checkpoint import load_checkpoint, write_checkpoint
from transfer_gluon.symbols import ImageInput


def blocks(page):
    """The Python examples of a page, in their order, as one program."""
    return "\n".join(re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL))


def run(code, folder):
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True,
                          env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_python_of_the_readme_runs(stage0, tmp_path):
    make_data(tmp_path / "data")
    code = blocks("README.md")
    for ours, small in (("263", "3"), ("320", "16"), (" 32,", " 8,"), ('"model/mmd", 18', f'"{stage0}", 1'),
                        ("num_epochs=14", "num_epochs=1")):
        assert ours in code
        code = code.replace(ours, small)
    run(code, tmp_path)
    assert (tmp_path / "model" / "mmd1-0001.params").exists()


def test_the_page_of_features_runs(stage0, tmp_path):
    make_data(tmp_path / "data")
    code = blocks("docs/features.md")
    assert '"model/source", 2' in code
    assert 0 <= float(run(code.replace('"model/source", 2', f'"{stage0}", 1'), tmp_path)) <= 1
    assert {file.name for file in (tmp_path / "data").glob("*.npz")} == {"source.npz", "val.npz"}


@pytest.mark.parametrize("resize", [None, 20, "squeeze"])
def test_the_page_of_onnx_classifies_as_predict_does(stage0, tmp_path, command, resize):
    """With NumPy, Pillow and onnxruntime alone, photos of odd sizes, one of them turned by EXIF."""
    rng, files = np.random.default_rng(5), []
    (tmp_path / "photos").mkdir()
    for number in range(60):
        image = Image.fromarray(rng.integers(0, 256, (rng.integers(2, 6), rng.integers(2, 6), 3), dtype=np.uint8))
        exif = Image.Exif()
        exif[0x0112] = 6 if number == 3 else 1
        files.append(str(tmp_path / "photos" / f"{number:02d}.png"))
        image.resize(rng.integers(12, 70, 2).tolist(), Image.Resampling.NEAREST).save(files[-1], exif=exif)
    checkpoint = load_checkpoint(stage0, 1)
    rates = {name: value * (6 if name == "fc_weight" else 1) for name, value in checkpoint.arg_params.items()}
    symbol = checkpoint.symbol(data=ImageInput((3, 16, 16), resize, ("blue", "green", "red")).variable())
    write_checkpoint(tmp_path / "m", 1, symbol, rates, checkpoint.aux_params)
    command("tools/export.py", "--model", tmp_path / "m", "--epoch", 1)
    command("predict.py", "--model", tmp_path / "m", "--epoch", 1, "--images", tmp_path / "photos", "--out",
            tmp_path / "p.csv")
    with open(tmp_path / "p.csv", newline="") as file:
        wanted = [row[:3] for row in csv.reader(file)][1:]
    code = blocks("docs/onnx.md")
    assert "cv2" not in code and "transfer_gluon" not in code
    call = code[code.index("\np = "):].replace("\n", "\n    ").replace('"photos/street/1.jpg"', "file")
    code = code[:code.index("\np = ")].replace("model/mmd1-0014.onnx", str(tmp_path / "m-0001.onnx"))
    said = [line.split() for line in run(f"{code}\nfor file in {files}:{call}", tmp_path).splitlines()]
    agree = [label == row[1] for (label, _), row in zip(said, wanted)]
    assert len(said) == 60 and sum(agree) >= 59 and len({label for label, _ in said}) > 1
    np.testing.assert_allclose([float(p) for _, p in said], [float(row[2]) for row in wanted], atol=0.02)


def test_the_page_of_the_library_runs(tmp_path):
    make_data(tmp_path / "data")
    said = run(blocks("docs/library.md"), tmp_path)
    assert re.search(r"s is -?0\.\d*[1-9]", said) and said.count("(8, 64) (8, 3)") == 2
    first, *rows = (tmp_path / "model" / "seams-run" / "summary.csv").read_text().split()
    assert first.endswith(",best_loss") and len(rows) == 3
    for name in ("source-0002", "both-0001", "mine-0001", "seams-0003"):
        assert (tmp_path / "model" / f"{name}.params").exists()
