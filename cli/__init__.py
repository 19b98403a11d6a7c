"""What commands have in common: flags, exit codes. Nothing else here imports click.

Imported first by every command, it says in one sentence that Python is one without the project's packages.
"""
import importlib.util
import sys

_needed = "click", "cv2", "filelock", "lazy_loader", "mxnet", "pycurl", "tqdm"
_missing = [name for name in _needed if importlib.util.find_spec(name) is None]
if _missing:
    print(f"{sys.argv[0]}: {sys.executable} has no {', '.join(_missing)}. Run `make demo` or `make test` once, which "
          "install what is needed, and call the commands by .venv/bin/python.", file=sys.stderr)
    sys.exit(2)
