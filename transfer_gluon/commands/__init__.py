"""The commands that stand on top of the tree: fine_tune, adabn, predict, reproduce. Installed, they lie in here."""
from pathlib import Path

__path__.append(str(Path(__file__).resolve().parents[2]))
