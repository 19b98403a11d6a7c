"""What commands have in common: flags, exit codes. Nothing else here imports click.

Imported first by every command, it says in one sentence that Python is one without the project's packages.
"""
import importlib.util
import sys
from pathlib import Path

_NEEDED = {     # by the names that they are imported by
    "click": "click", "cv2": "opencv-python", "filelock": "filelock", "lazy_loader": "lazy-loader", "mxnet": "mxnet",
    "numpy": "numpy", "PIL": "pillow", "pycurl": "pycurl", "tqdm": "tqdm"}


def _stop_without_packages():
    missing = [package for name, package in _NEEDED.items() if importlib.util.find_spec(name) is None]
    if not missing:
        return
    how = "Install what is needed: pip install 'transfer-gluon[cpu]', or [gpu]."
    if (Path(__file__).resolve().parents[1] / "Makefile").is_file():      # of a checkout
        how = ("Run `make demo` or `make test` once, which install what is needed, and call the commands by "
               ".venv/bin/python.")
    called = Path(sys.argv[0]).name.replace("__main__.py", "transfer-gluon")
    print(f"{called}: {sys.executable} has no {', '.join(missing)}. {how}", file=sys.stderr)
    sys.exit(2)


_stop_without_packages()
