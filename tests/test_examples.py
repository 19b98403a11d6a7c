"""The Python of README.md and docs/ runs as it stands, outside the checkout."""
import os
import re
import subprocess
import sys

from conftest import ROOT, make_data


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


def test_the_page_of_the_library_runs(tmp_path):
    make_data(tmp_path / "data")
    said = run(blocks("docs/library.md"), tmp_path)
    assert re.search(r"s is -?0\.\d*[1-9]", said) and said.count("(8, 64) (8, 3)") == 2
    first, *rows = (tmp_path / "model" / "seams-run" / "summary.csv").read_text().split()
    assert first.endswith(",best_loss") and len(rows) == 3
    for name in ("source-0002", "both-0001", "mine-0001", "seams-0003"):
        assert (tmp_path / "model" / f"{name}.params").exists()
