"""The project as others get it: a wheel, a Python without our packages, libraries without commands."""
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import NEW_NETWORK, ROOT, SMALL, make_data
from filelock import FileLock
from test_docstrings import MODULES

import transfer_gluon
from transfer_gluon.__main__ import _COMMANDS
from transfer_gluon.training.summary import read_summary

NOT_OURS = (".git", ".venv", ".ci", "runs", "data", "model", "build", "dist", "*.egg-info", "*.pyc", ".pytest_cache",
            ".ruff_cache")


def python(*arguments, cwd, expect=0, **environment):
    """What a Python of its own, with nothing of the checkout on its path, says."""
    given = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run([sys.executable, *map(str, arguments)], cwd=cwd, env={**given, **environment}, text=True,
                          stdin=subprocess.DEVNULL, capture_output=True)
    assert done.returncode == expect, f"{arguments} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return done


@pytest.fixture(scope="session")
def wheel(tmp_path_factory):
    """The wheel of this tree, and a folder that it is installed in: made once, by whichever process comes first."""
    ours = tmp_path_factory.getbasetemp()
    folder = (ours.parent if "PYTEST_XDIST_WORKER" in os.environ else ours) / "wheel"
    folder.mkdir(exist_ok=True)
    with FileLock(folder / "lock"):
        if not (folder / "done").exists():
            shutil.copytree(ROOT, folder / "tree", symlinks=True, ignore=shutil.ignore_patterns(*NOT_OURS))
            for name in ("data", "model", "runs"):      # what may be large, and must stay out
                (folder / "tree" / name).mkdir()
                (folder / "tree" / name / "mine.py").touch()
            pip = ["-m", "pip", "--quiet", "--disable-pip-version-check"]
            python(*pip, "wheel", "--no-deps", "--no-build-isolation", "--no-index", "-w", folder, folder / "tree",
                   cwd=folder)
            python(*pip, "install", "--no-deps", "--no-index", "--target", folder / "installed",
                   *folder.glob("*.whl"), cwd=folder)
            shutil.rmtree(folder / "tree")
            (folder / "done").touch()
    return SimpleNamespace(file=next(folder.glob("*.whl")), folder=folder / "installed")


@pytest.fixture
def installed(wheel, tmp_path):
    """Run Python, in a folder of one's own, with what the wheel brings and nothing of the checkout."""
    def run(*arguments, **more):
        return python(*arguments, cwd=tmp_path, PYTHONPATH=str(wheel.folder), **more)

    return run


def test_a_wheel_holds_the_package_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel.file).namelist()
    ours = f"transfer_gluon-{transfer_gluon.__version__}.dist-info"
    assert {name.partition("/")[0] for name in names} == {"transfer_gluon", ours}
    assert f"{ours}/licenses/LICENSE" in names and f"{ours}/entry_points.txt" in names
    held = {name for name in names if name.startswith("transfer_gluon/")}
    assert {name for name in held if not name.endswith(".py")} == {"transfer_gluon/reports/page.html.j2"}
    assert not [name for name in held if re.search("test|benchmark|recipe|conftest|transfer_gluon/.*transfer_gluon",
                                                   name)]
    there = {f"{name.replace('.', '/')}.py" for name in MODULES if not name.endswith(".tools.transfer_gluon")}
    assert there <= held and len(held) < len(there) + 30    # beside the modules: packages' beginnings, the commands


def test_what_is_installed_gives_every_name_and_its_version(wheel, installed):
    code = ("import importlib, sys, transfer_gluon as tg\n"
            "assert all(getattr(tg, name) is not None for name in tg.__all__)\n"
            "from transfer_gluon.training.versions import versions\n"
            "ours = [m.__file__ for n, m in sys.modules.items() if n.startswith('transfer_gluon') and m.__file__]\n"
            "print(len(tg.__all__), tg.__version__, versions()['transfer-gluon'], *ours, sep='\\n')")
    number, version, known_as, *files = installed("-c", code).stdout.splitlines()
    assert int(number) == len(transfer_gluon.__all__)
    assert version == known_as == transfer_gluon.__version__
    assert len(files) > 30 and all(Path(file).is_relative_to(wheel.folder) for file in files)


def test_commands_of_the_installed_package_answer_by_the_name_that_was_typed(wheel, installed):
    code = ("import sys\nfrom transfer_gluon.__main__ import commands\n"
            "for names in sys.argv[1:]:\n"
            "    commands.main([*names.split(), '--help'], prog_name='transfer-gluon', standalone_mode=False)\n")
    named = [*_COMMANDS, "im2rec-helpers list"]
    said = installed("-c", code, *named).stdout
    assert re.findall(r"Usage: (.*?) (?:\[OPTIONS\]|COMMAND)", said) == [f"transfer-gluon {name}" for name in named]
    script = wheel.folder / "bin" / "transfer-gluon"
    assert installed(script, "--version").stdout == f"{transfer_gluon.__version__}\n"
    assert "Error: No such command 'fine_tune'." in installed(script, "fine_tune", expect=2).stderr
    said = installed(script, "im2rec-helpers", "split", "a.lst", "b.lst", "c.lst", expect=2).stderr
    assert said == "transfer-gluon im2rec-helpers split: expected either --fraction or --per-class.\n"
    said = installed("-m", "transfer_gluon", "adabn", "--model", "m", "--epoch", 1, "--save-prefix", "/proc/x/y",
                     expect=2).stderr
    assert said.startswith("python -m transfer_gluon adabn: --save-prefix: the folder /proc/x cannot be written")


def test_the_installed_package_trains_in_the_folder_of_the_photos(installed, tmp_path):
    make_data(tmp_path / "photos")
    done = installed("-m", "transfer_gluon", "fine-tune", *NEW_NETWORK, *SMALL, "--data-dir", "photos",
                     "--model-prefix", "models/first")
    assert "done: models/first-0001.params" in done.stderr
    assert len(read_summary(tmp_path / "models" / "first-run" / "summary.csv")) == 1
    settings = (tmp_path / "models" / "first-run" / "settings.json").read_text()
    assert f'"transfer-gluon": "{transfer_gluon.__version__}"' in settings


def test_the_installed_table_finds_the_commands_that_it_calls(wheel, installed, tmp_path):
    make_data(tmp_path / "photos")
    said = installed("-m", "transfer_gluon", "reproduce", "--data-dir", "photos", "--num-classes", 3, "--seeds", 1,
                     "--output", "out", "--stage0", "--num-epochs 1 --batch-size 8 --pretrained-model nowhere/x",
                     expect=2).stderr
    assert "nowhere/x-0000.params: no such checkpoint" in said
    assert (wheel.folder / "transfer_gluon" / "commands" / "adabn.py").is_file()


def test_the_installed_launcher_starts_servers_and_workers(installed, tmp_path):
    code = ("from transfer_gluon import mx\nfrom transfer_gluon.distributed.stores import open_store\n"
            "with open_store('dist_sync') as store:\n    print(store.sum([store.rank + 1])[0])\n")
    (tmp_path / "worker.py").write_text(code)
    done = installed("-m", "transfer_gluon", "launch", "-n", 2, "--", sys.executable, "worker.py")
    assert re.findall(r"^worker \d: (.*)", done.stdout, re.MULTILINE) == ["3.0", "3.0"]


@pytest.mark.parametrize("command", [
    ["fine_tune.py"], ["adabn.py"], ["predict.py"], ["evaluate.py"], ["extract_features.py"], ["adapt.py"],
    ["choose.py"], ["report.py"], ["train_classifier.py"], ["reproduce.py"], ["tools/im2rec_helpers.py"],
    ["tools/get_model.py"], ["tools/import_weights.py"], ["tools/layers.py"], ["tools/export.py"], ["tools/launch.py"],
    ["tools/digits.py"], ["-m", "transfer_gluon"]], ids=" ".join)
def test_a_python_without_our_packages_says_so_in_a_sentence(command):
    done = python("-S", "-E", *command, "--help", cwd=ROOT, expect=2)
    name = "transfer-gluon" if command[0] == "-m" else Path(command[0]).name
    assert done.stdout == "" and re.fullmatch(
        rf"{name}: \S+ has no click, opencv-python, .*tqdm\. Run `make demo` or `make test` once, .*\.\n", done.stderr)


def test_what_is_installed_without_its_dependencies_says_how_to_get_them(wheel, tmp_path):
    code = f"import sys; sys.path[:0] = [{str(wheel.folder)!r}]; import transfer_gluon.__main__"
    said = python("-S", "-E", "-c", code, cwd=tmp_path, expect=2).stderr
    assert re.fullmatch(r"-c: \S+ has no click, .*\. Install what is needed: pip install 'transfer-gluon\[cpu\]'.*\n",
                        said)


# What each package stands on. An import of any other would be a climb.
HOUSE = {"base": "", "symbols": "base", "iters": "base", "distributed": "base", "records": "exchange iters base",
         "checkpoints": "symbols base", "exchange": "checkpoints symbols iters base",
         "inference": "checkpoints symbols iters distributed base",
         "scores": "inference checkpoints symbols iters base",
         "training": "scores inference exchange checkpoints records distributed symbols iters base",
         "trials": "training scores exchange checkpoints records symbols iters base",
         "reports": "trials training scores inference checkpoints records symbols iters base", "cli": "base"}


def test_the_arrows_of_the_house_point_down_only():
    for package, beneath in HOUSE.items():
        for file in (ROOT / package).glob("*.py"):
            named = re.findall(r"(?:from|import) transfer_gluon\.(\w+)", file.read_text())
            climbing = set(named) - {package, *beneath.split()}
            assert not climbing, f"{file.relative_to(ROOT)} imports {', '.join(climbing)}"
    assert HOUSE.keys() | {"tools"} == {name.split(".")[1] for name in MODULES}


def test_a_library_imports_no_click():
    libraries = [name for name in MODULES if name.split(".")[1] not in ("cli", "tools")]
    assert len(libraries) > 60
    code = ("import importlib, sys\nfor name in sys.argv[1:]:\n    importlib.import_module(name)\n"
            "    assert 'click' not in sys.modules, name\n")
    python("-c", code, "transfer_gluon", *libraries, cwd=ROOT)
