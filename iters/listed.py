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


def centre_crop(height, width):
    """As validation images are prepared: the shorter side resized to 1.125 × the crop (360 for 320), cubic, keeping
    the aspect ratio, then the centre of `height` × `width` pixels."""
    shorter = validation_size(max(height, width))

    def prepare(image):
        rows, columns = image.shape[:2]
        size = (shorter, shorter * rows // columns) if rows > columns else (shorter * columns // rows, shorter)
        resized = cv2.resize(image, size, interpolation=cv2.INTER_CUBIC)
        top, left = (resized.shape[0] - height) // 2, (resized.shape[1] - width) // 2
        return resized[top:top + height, left:left + width]

    return prepare


class ListedIter(mx.io.DataIter):
    """Batches of the images of a list, in its order, as raw RGB 0–255. The last batch may be smaller.

    The `index` of a batch holds the places of its images in the list.

    Parameters
    ----------
    images : ImageList
    batch_size : int
    prepare : callable
        From an image (height, width, 3) of bytes to the network's size.
    threads : int
    bad : list or None
        Images that are missing or cannot be decoded are left out of their batch, and their files are added to this
        list. None: the first one raises.

    Raises: InputError that names an image which is missing or cannot be decoded.
    """

    def __init__(self, images, batch_size, prepare, threads=4, bad=None):
        super().__init__(batch_size)
        self._bad = bad
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
                    yield from self._batch(*waiting.popleft())
            while waiting:
                yield from self._batch(*waiting.popleft())

    def _batch(self, start, futures):
        read = [(place, future.result()) for place, future in enumerate(futures, start=start)]
        for place, image in read:
            if image is None:
                self._refuse(self.images.files[place])
        good = [(place, image) for place, image in read if image is not None]
        if good:
            index, pixels = zip(*good)
            yield mx.io.DataBatch(data=[mx.nd.array(np.stack(pixels), dtype="float32")],
                                  label=[mx.nd.array(self.images.labels[list(index)])], pad=0, index=index)

    def _refuse(self, file):
        if self._bad is None:
            raise InputError(f"{self.images.path}: the image {file} is missing or cannot be decoded.")
        self._bad.append(file)

    def _load(self, file):
        image = cv2.imread(file, cv2.IMREAD_COLOR)
        return None if image is None else self._prepare(image)[:, :, ::-1].transpose(2, 0, 1)
