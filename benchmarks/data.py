#!/usr/bin/env python3
"""How fast images are read: ours against MXNet's readers, PyTorch's DataLoader and the bare JPEG decoder.

One run: the same photos of 640×480 pixels, the same augmentation to 320×320, two threads or processes each,
interleaved repetitions, medians. Training batches are read to arrays of float32, those of validation to bytes, as the
decoder gives; one row compares the two modes of `Augmentation`, each as its batches are handed to the devices, one
what RandAugment and random erasing cost.
PyTorch's row needs torch; without torchvision its transforms are Pillow by hand.
"""
import functools
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click
import cv2
import numpy as np
from PIL import Image, ImageEnhance

from transfer_gluon.base.framework import mx
from transfer_gluon.iters import Augmentation, OrderedIter, RecordIter, ShuffledIter, read_list, write_list
from transfer_gluon.iters.transforms import centre_crop
from transfer_gluon.records import ensure_packed

try:
    import torch
except ImportError:
    torch = None

WIDTH, HEIGHT, CROP, BATCH, THREADS = 640, 480, 320, 32, 2
TRAINING, VALIDATION, FLOATS, BYTES = "ours, training", "ours, validation", "ours, original", "ours, bytes"
# RandAugment instead of jitter and noise, and every image erased, in the mode that takes longest.
CHANGED, CHANGE = "ours, RandAugment and erasing", dict(aa="rand-m9-mstd0.5-inc1", reprob=1.0, remode="pixel")
# Principal axes of the colours of ImageNet, and the standard deviations along them, for images from 0 to 255.
EIGENVALUES = np.array([55.46, 4.794, 1.148])
EIGENVECTORS = np.array([[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]])


def photo(seed):
    """What a JPEG encoder finds in a photo, sharp edges and grain on every scale: 100 KB, of usually 100 to 160."""
    rng = np.random.default_rng(seed)
    image = np.full((HEIGHT, WIDTH, 3), 128, np.float32)
    for _ in range(12):
        corners = cv2.convexHull(rng.integers(0, WIDTH, (4, 2)).astype(np.int32))
        cv2.fillConvexPoly(image, corners, rng.integers(0, 256, 3).tolist(), lineType=cv2.LINE_AA)
    for step in (1, 2, 4, 8, 16, 32, 64, 128):
        noise = rng.normal(0, 12 * step ** 0.3, (HEIGHT // step + 2, WIDTH // step + 2)).astype(np.float32)
        image += cv2.resize(noise, (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR)[:, :, None]
    return np.clip(cv2.GaussianBlur(image, (0, 0), 0.5), 0, 255).astype(np.uint8)


def make_photos(folder, count):
    """A list of `count` photos of quality 90, packed to its record."""
    files = [str(folder / f"{i:04d}.jpg") for i in range(count)]
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(lambda i: cv2.imwrite(files[i], photo(i), [cv2.IMWRITE_JPEG_QUALITY, 90]), range(count)))
    images = read_list(write_list(folder / "photos.lst", range(count), files))
    ensure_packed(images, THREADS)
    return images


def mxnet_batches(batches, dtype):
    """Read an epoch of one of MXNet's or our iterators, from where it is opened; the number of images."""
    batches.reset()
    count = 0
    for batch in batches:
        batch.data[0].astype(dtype, copy=False).wait_to_read()
        count += batch.data[0].shape[0] - (batch.pad or 0)
    return count


def image_iter(images):
    """The reader of the original, which decodes and augments in Python."""
    return mx.image.ImageIter(
        BATCH, (3, CROP, CROP), path_imgrec=str(images.record), path_imgidx=str(images.record.with_suffix(".idx")),
        shuffle=True, resize=round(1.6 * CROP), rand_crop=True, rand_resize=True, rand_mirror=True, brightness=0.4,
        contrast=0.4, saturation=0.4, pca_noise=0.1, inter_method=2, last_batch_handle="discard")


def pillow_image(file):
    """The same augmentation as Pillow's users write it, to a float tensor."""
    rng = np.random.default_rng()
    image = Image.open(file).convert("RGB")
    scale = 1.6 * CROP / min(image.size)
    image = image.resize([round(side * scale) for side in image.size], Image.BICUBIC)
    image = image.resize((CROP, CROP), Image.BICUBIC, box=random_box(rng, *image.size))
    if rng.random() < 0.5:
        image = image.transpose(Image.FLIP_LEFT_RIGHT)
    for change in rng.permutation([ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color]):
        image = change(image).enhance(rng.uniform(0.6, 1.4))
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).float()
    noise = EIGENVECTORS @ (rng.normal(0, 0.1, 3) * EIGENVALUES)
    return pixels + torch.from_numpy(noise).float().view(3, 1, 1)


def random_box(rng, width, height):
    """A random resized crop's box: 0.08 to 1 of the area, aspect from 3/4 to 4/3."""
    for _ in range(10):
        area, aspect = width * height * rng.uniform(0.08, 1), np.exp(rng.uniform(np.log(3 / 4), np.log(4 / 3)))
        w, h = round((area * aspect) ** 0.5), round((area / aspect) ** 0.5)
        if w <= width and h <= height:
            x, y = rng.integers(0, width - w + 1), rng.integers(0, height - h + 1)
            return x, y, x + w, y + h
    side = min(width, height)
    return 0, 0, side, side


def torch_loader(images):
    """PyTorch's DataLoader over the files, its workers kept from epoch to epoch."""

    class Files(torch.utils.data.Dataset):
        def __len__(self):
            return len(images)

        def __getitem__(self, i):
            return pillow_image(images.files[i]), int(images.labels[i])

    return torch.utils.data.DataLoader(Files(), BATCH, shuffle=True, num_workers=THREADS, drop_last=True,
                                       persistent_workers=True)


def decode(files):
    """Only decode, in threads: the speed that no reader of these JPEG files can exceed."""
    with ThreadPoolExecutor(THREADS) as pool:
        return sum(pool.map(lambda data: cv2.imdecode(data, cv2.IMREAD_COLOR) is not None, files))


def measure(contestants, repetitions):
    """Images a second of each, medians over interleaved repetitions; the first warms up.

    `ImageRecordIter` goes on decoding for 0.15 s behind its last batch, which would count for whoever comes next.
    """
    speeds = {name: [] for name in contestants}
    for _ in range(repetitions + 1):
        for name, read in contestants.items():
            time.sleep(0.5)
            started = time.perf_counter()
            count = read()
            speeds[name].append(count / (time.perf_counter() - started))
    return {name: float(np.median(values[1:])) for name, values in speeds.items()}


@click.command(context_settings=dict(show_default=True))
@click.option("--images", default=600, help="Photos to generate.")
@click.option("--repetitions", default=5, help="Epochs of each reader.")
def main(images, repetitions):
    """Print images/s and ratios as tables."""
    cv2.setNumThreads(1)        # every reader has its own threads
    with tempfile.TemporaryDirectory() as folder:
        photos = make_photos(Path(folder), images)
        shape, augmentation = (3, CROP, CROP), Augmentation()
        training = ShuffledIter(photos, BATCH, shape, augmentation, THREADS, packed=True)
        in_cpp = RecordIter(photos, BATCH, shape, augmentation, THREADS)
        modes = {name: ShuffledIter(photos, BATCH, shape, Augmentation(mode=mode), THREADS, packed=True)
                 for name, mode in ((FLOATS, "original"), (BYTES, "bytes"))}
        modes[CHANGED] = ShuffledIter(photos, BATCH, shape, Augmentation(**CHANGE), THREADS, packed=True)
        validation = OrderedIter(photos, BATCH, centre_crop(CROP, CROP), THREADS, packed=True)
        in_python, files = image_iter(photos), [np.fromfile(file, np.uint8) for file in photos.files]
        contestants = {
            TRAINING: lambda: mxnet_batches(training, "float32"),
            "mx.image.ImageIter": lambda: mxnet_batches(in_python, "float32"),
            "mx.io.ImageRecordIter": lambda: mxnet_batches(in_cpp, "float32"),
        }
        if torch is None:
            print("torch is not installed, so its DataLoader is left out: pip install torch")
        else:
            loader = torch_loader(photos)
            contestants["PyTorch DataLoader, Pillow"] = lambda: sum(len(labels) for _, labels in loader)
        rows = [(TRAINING, other) for other in contestants if other != TRAINING]
        rows += [(FLOATS, BYTES), (CHANGED, FLOATS), (VALIDATION, "cv2.imdecode")]
        contestants.update({name: functools.partial(mxnet_batches, batches, batches.provide_data[0].dtype)
                            for name, batches in modes.items()})
        contestants[VALIDATION] = lambda: mxnet_batches(validation, "uint8")
        contestants["cv2.imdecode"] = lambda: decode(files)
        speeds = measure(contestants, repetitions)
    print("| reader | images/s | against | images/s | ratio |\n| --- | --- | --- | --- | --- |")
    for name, other in rows:
        print(f"| {name} | {speeds[name]:.0f} | {other} | {speeds[other]:.0f} | {speeds[name] / speeds[other]:.2f} |")


if __name__ == "__main__":
    main()
