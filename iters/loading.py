"""Batches of pixels, made by threads ahead of their use."""
import collections

import cv2
import numpy as np

from transfer_gluon.base.errors import InputError
from transfer_gluon.base.parallel import in_order

_AHEAD = 2      # batches that keep the threads busy while one is computed on


def load(batches, image, size, threads, dtype=np.uint8):
    """Yield (places, pixels, errors) of every batch, in order.

    Parameters
    ----------
    batches : sequence of sequences of int
        Places in a list.
    image : callable
        From a place to an array (height, width, 3) of `dtype`; it runs in the threads. It must not refer to who holds
        the generator, or Python would not end the threads as soon as the generator is dropped.
    size : (int, int)
        Height and width.
    threads : int
    dtype : type

    Returns: generator. `pixels` is (n, 3, height, width); `errors` a dict from those places whose pixels are not
    there, because an InputError was raised, to that.

    >>> for places, pixels, errors in load([[7, 8], [9]], lambda place: np.full((1, 1, 3), place, np.uint8), (1, 1), 2):
    ...     print(places, pixels.ravel().tolist(), errors)
    [7, 8] [7, 7, 7, 8, 8, 8] {}
    [9] [9, 9, 9] {}
    """
    waiting = collections.deque()

    def shares():
        for places in batches:
            pixels = np.empty((len(places), 3, *size), dtype)
            waiting.append((places, pixels))
            for thread in range(threads):
                yield places[thread::threads], pixels[thread::threads]

    def fill(share):
        errors = {}
        for place, channels in zip(*share):
            try:
                cv2.split(image(place), list(channels))
            except InputError as error:
                errors[place] = error
        return errors

    found = in_order(fill, shares(), threads, (1 + _AHEAD) * threads)
    for _ in batches:
        errors = {place: error for _ in range(threads) for place, error in next(found).items()}
        yield *waiting.popleft(), errors
