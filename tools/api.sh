#!/bin/sh
# Pages of the API in docs/api/, one a module, made of the docstrings by pdoc, which is installed into .venv if need be.
# `make api`
set -eu
cd "$(dirname "$0")/.."
python -c 'import pdoc' 2>/dev/null || python -m pip install --quiet --disable-pip-version-check 'pdoc>=14'
rm -rf docs/api
python - <<'PYTHON'
import importlib
from pathlib import Path

import pdoc
import transfer_gluon

# What packages import when it is first asked for: in the first one pdoc is to see it, in the others their modules.
vars(transfer_gluon).update({name: getattr(transfer_gluon, name) for name in transfer_gluon.__all__})
rooms = [f"transfer_gluon.{file.parent.name}" for file in sorted(Path().glob("*/__init__.py"))
         if file.parent.name not in ("transfer_gluon", "tools")]
for room in rooms:
    vars(importlib.import_module(room)).pop("__all__", None)
pdoc.render.configure(docformat="numpy", math=True, search=False,
                      footer_text=f"transfer-gluon {transfer_gluon.__version__}")
pdoc.pdoc("transfer_gluon", *rooms, output_directory=Path("docs/api"))
PYTHON
echo "docs/api/index.html"
