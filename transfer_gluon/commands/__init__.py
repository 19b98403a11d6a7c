"""The commands that stand on top of the tree, such as fine_tune. Installed, they lie in here."""
from pathlib import Path

__path__.append(str(Path(__file__).resolve().parents[2]))
