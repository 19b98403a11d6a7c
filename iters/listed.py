"""Batches straight from image files, decoded by OpenCV in threads."""
import collections
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np

from base.errors import InputError
from base.framework import mx
from iters.augmentation import validation_size


def square_centre_crop(crop):
    """The original's preparation for AdaBN: resized to a square of 1.125 × `crop` pixels (360 for 320)
    without keeping the aspect ratio, cubic, then the centre of `crop` pixels."""
    side = validation_size(crop)
    margin = (side - crop) // 2

    def prepare(image):
        resized = cv2.resize(image, (side, side), interpolation=cv2.INTER_CUBIC)
        return resized[margin:margin + crop, margin:margin + crop]

    return prepare


class ListedIter(mx.io.DataIter):
    """Batches of the images of a list, in its order, as raw RGB 0–255. The last batch may be smaller.

    Parameters
    ----------
    images : ImageList
    batch_size : int
    prepare : callable
        From an image (height, width, 3) of bytes to the network's size.
    threads : int

    Raises: InputError that names an image which is missing or cannot be decoded.
    """

    def __init__(self, images, batch_size, prepare, threads=4):
        super().__init__(batch_size)
        self.images = images
        self.num_images = len(images)
        self.batches_per_epoch = -(-len(images) // batch_size)
        self._prepare = prepare
        self._threads = threads
        self.reset()

    def reset(self):
        """Begin again."""
        self._batches = self._read()

    def next(self):
        return next(self._batches)

    def _read(self):
        # OpenCV gives up Python's lock while it decodes; two batches ahead keep the threads busy.
        with ThreadPoolExecutor(self._threads) as pool:
            waiting = collections.deque()
            for start in range(0, len(self.images), self.batch_size):
                files = self.images.files[start:start + self.batch_size]
                waiting.append((start, [pool.submit(self._load, file) for file in files]))
                if len(waiting) > 2:
                    yield self._batch(*waiting.popleft())
            while waiting:
                yield self._batch(*waiting.popleft())

    def _batch(self, start, futures):
        pixels = np.stack([future.result() for future in futures])
        labels = self.images.labels[start:start + len(futures)]
        return mx.io.DataBatch(data=[mx.nd.array(pixels, dtype="float32")], label=[mx.nd.array(labels)], pad=0)

    def _load(self, file):
        image = cv2.imread(file, cv2.IMREAD_COLOR)
        if image is None:
            raise InputError(f"{self.images.path}: the image {file} is missing or cannot be decoded.")
        return self._prepare(image)[:, :, ::-1].transpose(2, 0, 1)
