"""With what a number was made."""
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import cv2
import numpy as np

from transfer_gluon import __version__
from transfer_gluon.base.framework import mx

_ROOT = Path(__file__).resolve().parent.parent


def versions():
    """Versions of Python, the packages that numbers depend on, and this project, as a dict of str.

    The project's is its commit, or where it has none of its own, as installed, its version.

    >>> sorted(versions())
    ['gluoncv', 'machine', 'mxnet', 'numpy', 'opencv', 'python', 'transfer-gluon']
    """
    return {"transfer-gluon": git_revision(_ROOT) or __version__, "python": platform.python_version(),
            "mxnet": mx.__version__, "gluoncv": version("gluoncv"), "numpy": np.__version__, "opencv": cv2.__version__,
            "machine": f"{platform.machine()}, {sys.platform}"}


def git_revision(folder):
    """The commit that `folder` is at, with ``+`` behind it where files were changed since; None where it has none.

    A folder inside somebody else's repository, such as an installed package, has no commit of its own.
    """
    def git(*command):
        done = subprocess.run(["git", "-C", folder, *command], capture_output=True, text=True, check=True)
        return done.stdout.strip()

    try:
        if Path(git("rev-parse", "--show-toplevel")).resolve() != Path(folder).resolve():
            return None
        return git("rev-parse", "HEAD") + "+" * bool(git("status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.CalledProcessError):
        return None
