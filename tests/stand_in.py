"""Stand-ins of published data sets and pretrained networks: the same folders, names and numbers of classes, other
content. Nothing is downloaded."""
import itertools
import pickle
import struct
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from transfer_gluon.exchange.architectures import ARCHITECTURES
from transfer_gluon.exchange.weights import architecture_symbol

OFFICE_31 = """back_pack bike bike_helmet bookcase bottle calculator desk_chair desk_lamp desktop_computer file_cabinet
headphones keyboard laptop_computer letter_tray mobile_phone monitor mouse mug paper_notebook pen phone printer
projector punchers ring_binder ruler scissors speaker stapler tape_dispenser trash_can""".split()


class Pictures:
    """JPEGs of a few hundred bytes, each another one."""

    def __init__(self, side=32):
        rng = np.random.default_rng(0)
        self._some = [cv2.imencode(".jpg", rng.integers(0, 256, (side, side + 8, 3), dtype=np.uint8))[1].tobytes()
                      for _ in range(8)]
        self._number = itertools.count()

    def write(self, path):
        """Another picture, by its bytes: a comment behind the JPEG's first marker is its number."""
        number = next(self._number)
        picture = self._some[number % len(self._some)]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture[:2] + b"\xff\xfe\x00\x06" + struct.pack(">I", number) + picture[2:])


def caltech256(folder, images=50, write=None):
    """257 folders with so many images each, and what the archive holds beside them."""
    write = write or Pictures().write
    known = {1: "ak47", 198: "spider", 256: "toad", 257: "clutter"}
    for number in range(1, 258):
        name = f"{number:03d}.{known.get(number, 'class')}"
        for image in range(1, images + 1):
            write(folder / "256_ObjectCategories" / name / f"{number:03d}_{image:04d}.jpg")
    (folder / "256_ObjectCategories" / "198.spider" / "RENAME2").write_text("not an image")


def cars(folder, training=21, test=11, write=None, devkit=True):
    """196 classes, their images in turn, as in `devkit`; else as in ``cars_annos.mat``."""
    from scipy.io import savemat

    write = write or Pictures().write
    names = np.empty((1, 196), object)
    names[0] = [f"Maker C/V Model {number}" for number in range(196)]
    parts = [[(number, label) for number, label in enumerate(list(range(1, 197)) * each, start=1)]
             for each in (training, test)]
    if devkit:
        (folder / "devkit").mkdir(parents=True, exist_ok=True)
        savemat(folder / "devkit" / "cars_meta.mat", {"class_names": names})
        for part, place, images in zip(parts, ("devkit/cars_train_annos.mat", "cars_test_annos_withlabels.mat"),
                                       ("cars_train", "cars_test")):
            lines = [(f"{number:05d}.jpg", np.uint8(label)) for number, label in part]
            savemat(folder / place, {"annotations": np.array([lines], [("fname", object), ("class", object)])})
            for name, _ in lines:
                write(folder / images / name)
        return
    lines = [(f"car_ims/{place:06d}.jpg", np.uint8(label), np.uint8(which)) for place, (which, label) in enumerate(
        ((which, label) for which, part in enumerate(parts) for _, label in part), start=1)]
    folder.mkdir(parents=True, exist_ok=True)
    savemat(folder / "cars_annos.mat", {"class_names": names, "annotations": np.array(
        [lines], [("relative_im_path", object), ("class", object), ("test", object)])})
    for name, *_ in lines:
        write(folder / name)


def aircraft(folder, write=None):
    """100 variants with an image each to train on and to validate on."""
    write = write or Pictures().write
    data = folder / "fgvc-aircraft-2013b" / "data"
    variants = ["707-320", "F/A-18", *(f"Boeing {number}" for number in range(98))]
    for part, first in (("train", 1000), ("val", 2000)):
        for number in range(100):
            write(data / "images" / f"{first + number:07d}.jpg")
        (data / f"images_variant_{part}.txt").write_text("".join(
            f"{first + number:07d} {name}\n" for number, name in enumerate(variants)))
    (data / "variants.txt").write_text("".join(f"{name}\n" for name in variants))


def dtd(folder, write=None):
    """47 textures with an image each to train on and to validate on."""
    write = write or Pictures().write
    names = ["banded", "blotchy", *(f"texture{number:02d}" for number in range(45))]
    (folder / "dtd" / "labels").mkdir(parents=True)
    for part, number in (("train1", 2), ("val1", 5)):
        lines = [f"{name}/{name}_{number:04d}.jpg" for name in names]
        for line in lines:
            write(folder / "dtd" / "images" / line)
        (folder / "dtd" / "labels" / f"{part}.txt").write_text("".join(f"{line}\n" for line in lines))


def flowers(folder, images=10, write=None):
    """Five flowers, and what the archive holds beside them."""
    write = write or Pictures().write
    for name in ("daisy", "dandelion", "roses", "sunflowers", "tulips"):
        for number in range(images):
            write(folder / "flower_photos" / name / f"{number}_n.jpg")
    (folder / "flower_photos" / "LICENSE.txt").write_text("of the photos")


def gtsrb(folder, images=6, seed=0):
    """``train.p``: so many images of each of 43 signs, in turn."""
    rng = np.random.default_rng(seed)
    labels = np.tile(np.arange(43, dtype=np.uint8), images)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "train.p").write_bytes(pickle.dumps({
        "features": rng.integers(0, 256, (len(labels), 32, 32, 3), np.uint8), "labels": labels,
        "sizes": np.full((len(labels), 2), 40), "coords": np.zeros((len(labels), 4), int)}, 2))


def cifar10(folder, images=10, seed=0):
    """Five batches to train on, each with so many images, and the names of 10 classes."""
    rng = np.random.default_rng(seed)
    folder = folder / "cifar-10-batches-py"
    folder.mkdir(parents=True, exist_ok=True)
    names = "airplane automobile bird cat deer dog frog horse ship truck".split()
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": names, "num_vis": 3072}, 2))
    for number in range(1, 6):
        (folder / f"data_batch_{number}").write_bytes(pickle.dumps({
            "batch_label": f"training batch {number} of 5", "labels": [image % 10 for image in range(images)],
            "data": rng.integers(0, 256, (images, 3072), np.uint8),
            "filenames": [f"{image}.png" for image in range(images)]}, 2))


def office31(folder, images=2, write=None):
    """Three domains of 31 classes, with the level ``images/`` of the download."""
    write = write or Pictures().write
    for domain, name in itertools.product(("amazon", "webcam", "dslr"), OFFICE_31):
        for number in range(1, images + 1):
            write(folder / domain / "images" / name / f"frame_{number:04d}.jpg")


def compcars(folder, write=None):
    """Lists of 263 car models, of web photos and surveillance photos."""
    from transfer_gluon.iters import write_list

    write = write or Pictures().write
    for name, labels in (("source", range(263)), ("val", range(0, 263, 4)), ("target", None)):
        files = [f"{folder}/{'sv_data' if name != 'source' else 'web'}/{label}/{label}.jpg"
                 for label in (range(0, 263, 4) if labels is None else labels)]
        for file in files if labels is not None else []:
            write(Path(file))
        write_list(folder / f"{name}.lst", labels or [9999] * len(files), files)


def network(prefix, seed=0):
    """A checkpoint, epoch 0, under the name that a recipe starts from: random weights in a network of the real depth.

    The name says which: ``…resnet-50`` and the like as MXNet published them, others a key of `ARCHITECTURES` or a name
    of gluoncv's model zoo.
    """
    from transfer_gluon.base.framework import mx
    from transfer_gluon.checkpoints.checkpoint import write_checkpoint
    from transfer_gluon.symbols import image_variable, resnet, zoo_symbol

    name, shape = Path(prefix).name, (3, 224, 224)
    if "resnet-" in name:
        features = resnet(int(name.rpartition("-")[2]), shape)
        symbol = mx.sym.SoftmaxOutput(mx.sym.FullyConnected(features, num_hidden=10, name="fc1"), name="softmax")
    elif name in ARCHITECTURES:
        known, shape = ARCHITECTURES[name], ARCHITECTURES[name].image_shape
        if known.flattened:     # Caffe's networks are nearly all fc6
            known = known._replace(features=partial(known.features, hidden=64))
        symbol = architecture_symbol(known, 10)
    else:
        shape = (3, 299, 299) if name == "inceptionv3" else shape
        symbol = mx.sym.SoftmaxOutput(zoo_symbol(name, 10), name="softmax")(data=image_variable(shape))
    shapes, _, auxiliary = symbol.infer_shape(data=(1, *shape))
    shapes = dict(zip(symbol.list_arguments(), shapes))
    del shapes["data"], shapes["softmax_label"]
    rng = np.random.default_rng(seed)

    def values(name, shape):
        if name.endswith("_weight"):
            drawn = rng.standard_normal(shape, np.float32) * np.float32((2 / np.prod(shape[1:])) ** 0.5)
        else:
            drawn = np.full(shape, name.endswith(("_gamma", "_var")), np.float32)
        return mx.nd.array(drawn)

    write_checkpoint(prefix, 0, symbol, *({name: values(name, shape) for name, shape in which.items()} for which in (
        shapes, dict(zip(symbol.list_auxiliary_states(), auxiliary)))))
