"""How images are packed: what may be asked for. Nothing here needs OpenCV."""
import dataclasses

from transfer_gluon.base.errors import InputError

ENCODINGS = ("as-is", "jpg", "png")
MOST_RESIZE = 65_500    # pixels: the longest side of a JPEG


@dataclasses.dataclass(frozen=True)
class Options:
    """How images are packed.

    Attributes
    ----------
    resize : int, default 0
        Shorter side, in pixels, that larger images are reduced to. 0: as large as they are.
    encoding : str
        ``as-is``: the bytes of the file, where MXNet's reader shows them as a person expects (`iters.images`) and they
        are not reduced; else JPEG from a JPEG, PNG from anything else. ``jpg``, ``png``: all encoded anew.
    quality : int, default 95
        Of a JPEG that is encoded, 1 to 100.
    root : str
        Folder that the paths of the list are relative to; empty: the working directory.

    Raises: InputError for a value that is none of these.
    """

    resize: int = 0
    encoding: str = "as-is"
    quality: int = 95
    root: str = ""

    def __post_init__(self):
        for name, good, expected in (
                ("resize", type(self.resize) is int and 0 <= self.resize <= MOST_RESIZE,
                 f"a whole number of pixels from 0 to {MOST_RESIZE}"),
                ("encoding", self.encoding in ENCODINGS, f"one of {', '.join(ENCODINGS)}"),
                ("quality", type(self.quality) is int and 1 <= self.quality <= 100, "a whole number from 1 to 100"),
                ("root", isinstance(self.root, str) and "\0" not in self.root, "a path")):
            if not good:
                raise InputError.of(name, getattr(self, name), expected)
