"""The images of a list, by their place in it: from image files, or from the record that they are packed to."""
import time
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np

from transfer_gluon.base.errors import InputError, first_ten
from transfer_gluon.base.regular import read_regular
from transfer_gluon.iters.elsewhere import elsewhere
from transfer_gluon.iters.images import decode, decode_plain
from transfer_gluon.iters.recordio import open_record, read_at, read_index


def open_source(images, packed):
    """The images of an `ImageList`; of its record if `packed`, unless they are `in_place`. Several threads may ask at
    once."""
    return _Records(images) if packed and not images.in_place else _Files(images)


class _Source:
    def __init__(self, images):
        self._images = images

    def content(self, place):
        """An image file, as bytes or a view of them. Raises: InputError that names the image."""
        try:
            return self._content(place)
        except (OSError, EOFError, InputError) as error:
            reason = getattr(error, "strerror", None) or str(error) or "behind the end of the file"
            raise self._unusable(place, reason) from None

    def pixels(self, place, prepare):
        """What `prepare` makes of an image (height, width, 3), red, green, blue. Raises: InputError that names it."""
        content = self.content(place)
        try:
            return prepare(self.decode(content))
        except InputError as error:
            raise self._unusable(place, error) from None
        except cv2.error as error:      # a strip, say, whose longer side it cannot turn
            raise self._unusable(place, f"OpenCV cannot resize it: {error.err}") from None

    def _unusable(self, place, reason):
        return InputError(f"{self._name(place)} cannot be used: {reason}.{self._hint(place)}")

    def _hint(self, place):
        return ""


class _Files(_Source):
    decode = staticmethod(decode)

    def _name(self, place):
        return f"{self._images.path}: the image {self._images.files[place]}"

    def _hint(self, place):
        return elsewhere(self._images.path, self._images.files[place:place + 1])

    def _content(self, place):
        return read_regular(self._images.files[place])


class _Records(_Source):
    decode = staticmethod(decode_plain)

    def __init__(self, images):
        super().__init__(images)
        self._offsets = dict(read_index(images.record.with_suffix(".idx")))
        missing = [index for index in images.indices.tolist() if index not in self._offsets]
        if missing:
            raise InputError(f"{images.record}: {len(missing)} of {len(images)} images of {images.path} are not in it, "
                             f"by their index:{first_ten(missing)}")
        self._file = open_record(images.record)

    def _name(self, place):
        return f"{self._images.record}: index {self._images.indices[place]}"

    def _content(self, place):
        return read_at(self._file, self._offsets[int(self._images.indices[place])])[0].view


def decoder_speed(images, threads=4, packed=False, most=512):
    """Images a second that OpenCV decodes in `threads`, and does nothing else: what no reader of the list exceeds.

    Up to `most` images are looked at; their bytes are read before the clock starts.
    """
    source = open_source(images, packed)
    places = np.linspace(0, len(images) - 1, min(most, len(images))).astype(int)
    with ThreadPoolExecutor(threads) as pool:
        contents = list(pool.map(source.content, places))
        started = time.monotonic()
        list(pool.map(lambda content: source.decode(content) is None, contents))
        return len(contents) / (time.monotonic() - started)
