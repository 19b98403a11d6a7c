"""Lists of published data sets, as they are downloaded and unpacked: Caltech-256, Stanford Cars, FGVC-Aircraft, DTD;
TensorFlow's flowers, GTSRB, CIFAR-10.

Which images of the first four train and which validate is what the code of Plested, Shen and Gedeon 2021, *Non-binary
deep transfer learning for image classification* (arXiv 2107.08585), takes. None of the lists holds an image of a test
set but that of Cars, from which that code validates. The other three are divided by chance, class by class.
"""
import io
import re
from collections import namedtuple
from pathlib import Path

import numpy as np

from transfer_gluon.base.errors import InputError, does_nothing, first_ten
from transfer_gluon.base.files import writable_folder
from transfer_gluon.base.regular import read_regular, read_regular_text
from transfer_gluon.iters.image_list import ImageList, check_names, read_list, write_list
from transfer_gluon.records.class_names import read_classes, write_classes
from transfer_gluon.records.image_packs import ImagePack, cifar_batches, image_pack, write_images
from transfer_gluon.records.make_list import divided, split_list

# Names of the classes in the order of their labels; (label, path) of every image to train on and to validate on.
Published = namedtuple("Published", "classes source validation")

_CALTECH = re.compile(r"([0-9]{3})_([0-9]{4})\.jpg")
_CLUTTER = "257.clutter"
_FLOWERS = ["daisy", "dandelion", "roses", "sunflowers", "tulips"]
_CIFAR = "airplane automobile bird cat deer dog frog horse ship truck".split()
_CARS_SKIPPED, _CARS_TRAINING, _CARS_VALIDATION = 11, 10, 11


def list_published(name, folder, output, clutter=False, per_class=None, seed=0):
    """Write ``source.lst``, ``val.lst``, for flowers ``test.lst``, and ``classes.txt`` of a published data set.

    Parameters
    ----------
    name : str
        A key of `PUBLISHED`.
    folder : str or Path
        What the archives were unpacked into. Paths in the lists begin with it, as it is given here.
    output : str or Path
        The folder to write to. Images of packs, ``gtsrb`` and ``cifar10``, are written to its folder ``images``, a
        folder a class, as PNG.
    clutter : bool
        caltech256: ``257.clutter`` is a class too, the last, as in the published code.
    per_class : int, optional
        caltech256: so many images of each class, by chance, train, and the rest validate, instead of those numbered 1
        to 30 and 31 to 50. ``all.lst`` is written too. gtsrb, cifar10: so many of those that train, by chance, are
        left; validation keeps all.
    seed : int
        Of what is chosen by chance.

    A slash in the name of a class becomes a dash in ``classes.txt``, whose names are those of folders.

    Returns: numbers of classes, of images to train on, of images to validate on, and for flowers of a test.

    Raises: InputError when files are missing or are not what they should be, an annotation names an image that is not
    there, a class has no images or too few, or ``classes.txt`` is there already with other classes.
    """
    if name not in PUBLISHED:
        raise InputError.of("name", name, f"one of {', '.join(PUBLISHED)}")
    for parameter, value, fitting in (("clutter", clutter, ("caltech256",)),
                                      ("per_class", per_class, ("caltech256", "gtsrb", "cifar10"))):
        if value and name not in fitting:
            raise does_nothing(parameter, f"with {name}", value)
    output = Path(output)
    writable_folder(output / "source.lst", "output")
    if name == "caltech256":
        found = caltech256(folder, clutter, every=per_class is not None)
    else:
        found = PUBLISHED[name](folder)
    packed = isinstance(found, ImagePack)
    check_names(folder, [str(output)] if packed else [file for part in found[1:] for _, file in part])
    _check_classes(output / "classes.txt", found.classes)
    if packed:
        found = Published(found.classes, write_images(found, output / "images"), [])
    lists = _divided(found, output, _DIVIDED[name], per_class, seed) if name in _DIVIDED else None
    write_classes(output / "classes.txt", found.classes)
    source, validation = output / "source.lst", output / "val.lst"
    if lists:
        for part, images in lists.items():
            write_list(output / f"{part}.lst", images.labels.tolist(), images.files)
        numbers = map(len, lists.values())
    elif per_class is not None:
        images = read_list(_write(output / "all.lst", found.source))
        numbers = split_list(images, source, validation, per_class=per_class, seed=seed)
    else:
        numbers = len(found.source), len(found.validation)
        _write(source, found.source)
        _write(validation, found.validation)
    return len(found.classes), *numbers


def _divided(found, output, parts, per_class, seed):
    """The lists of images that are divided class by class and by chance, by their names."""
    labels, files = zip(*found.source) if found.source else ([], [])
    every = ImageList(output / "source.lst", np.arange(len(files)), np.array(labels, np.int64), list(files))
    source, rest = (every.part(lines) for lines in divided(every, 1 - sum(parts), seed=seed))
    if per_class is not None:
        source = source.part(divided(source, per_class=per_class, seed=seed)[0])
    lists, (validation, test) = {"source": source, "val": rest}, parts
    if test:
        lists["val"], lists["test"] = (rest.part(lines) for lines in divided(
            rest, validation / (validation + test), seed=seed))
    lacking = [f"{found.classes[label]}: none in {name}.lst" for name, images in lists.items()
               for label in sorted(set(range(len(found.classes))) - set(images.labels.tolist()))]
    if lacking:
        raise InputError(f"{output}: {len(lacking)} classes lack images:{first_ten(lacking)}")
    return lists


def caltech256(folder, clutter=False, every=False):
    """Caltech-256: ``256_ObjectCategories/001.ak47/001_0001.jpg``, ….

    Images 1 to 30 of each class train, 31 to 50 validate; with `every`, all images train. What else lies in a class's
    folder (``198.spider/RENAME2``) is left out. See `list_published`.
    """
    top = _top(folder, "256_ObjectCategories", "256_ObjectCategories.tar")
    classes = sorted(place.name for place in top.iterdir() if place.is_dir() and not place.name.startswith("."))
    known = [name for name in classes if name != _CLUTTER]
    if [name[:4] for name in known] != [f"{number:03d}." for number in range(1, 257)]:
        raise InputError(f"{top}: {len(known)} folders beside {_CLUTTER}; expected 256, from 001.ak47 to "
                         "256.toad: unpack 256_ObjectCategories.tar again.")
    if clutter and _CLUTTER not in classes:
        raise InputError(f"{top}: has no folder {_CLUTTER}; leave `clutter` out.", "clutter", clutter, "no clutter")
    classes = classes if clutter else known
    source, validation, few = [], [], []
    for label, name in enumerate(classes):
        numbers = {int(fits[2]): file for file in sorted((top / name).iterdir())
                   if (fits := _CALTECH.fullmatch(file.name)) and int(fits[1]) == label + 1}
        parts = (sorted(numbers), []) if every else (range(1, 31), range(31, 51))
        missing = [number for part in parts for number in part if number not in numbers]
        if missing or not numbers:
            few.append(f"{name}: {f'number {missing[0]} is missing' if numbers else 'no images'}")
            continue
        for part, images in zip(parts, (source, validation)):
            images += [(label, str(numbers[number])) for number in part]
    if few:
        raise InputError(f"{top}: {len(few)} classes lack images; expected NUMBER_0001.jpg to NUMBER_0050.jpg in "
                         f"each, at least:{first_ten(few)}")
    return Published(classes, source, validation)


def cars(folder):
    """Stanford Cars: of the training set the images 12 to 21 of each class train, of the test set 1 to 11 validate.

    Either ``cars_annos.mat`` and ``car_ims/000001.jpg``, …, which the published code reads; or ``devkit/``,
    ``cars_train/00001.jpg``, …, ``cars_test/`` and ``cars_test_annos_withlabels.mat``. Images count in the order of the
    annotations, which need not be the same in both: then the second gives other images. See `list_published`.
    """
    folder = Path(folder)
    both = folder / "cars_annos.mat"
    if both.exists():
        classes = _class_names(both)
        parts = [[(number, folder / "car_ims" / Path(image).name) for number, image, tested in
                  _annotations(both, "class", "relative_im_path", "test") if bool(tested) == test]
                 for test in (False, True)]
    else:
        kit = folder / "devkit"
        classes = _class_names(kit / "cars_meta.mat")
        test = next((place / "cars_test_annos_withlabels.mat" for place in (kit, folder)
                     if (place / "cars_test_annos_withlabels.mat").exists()), folder / "cars_test_annos_withlabels.mat")
        parts = [[(number, folder / images / Path(image).name) for number, image in
                  _annotations(annotations, "class", "fname")]
                 for annotations, images in ((kit / "cars_train_annos.mat", "cars_train"), (test, "cars_test"))]
    strange = [f"{file.name}: class {number}" for part in parts for number, file in part
               if not 1 <= number <= len(classes)]
    if strange:
        raise InputError(f"{folder}: {len(strange)} annotations name a class that there is not; expected 1 to "
                         f"{len(classes)}:{first_ten(strange)}")
    source, validation = (
        [(label, file) for label in range(len(classes))
         for file in [file for number, file in part if number == label + 1][first:first + most]]
        for part, first, most in zip(parts, (_CARS_SKIPPED, 0), (_CARS_TRAINING, _CARS_VALIDATION)))
    return _checked(folder, classes, source, validation)


def aircraft(folder):
    """FGVC-Aircraft, its 100 variants: ``images_variant_train.txt`` trains, ``images_variant_val.txt`` validates.

    Below ``fgvc-aircraft-2013b/data/``. The strip of 20 pixels at the bottom of each photo, which names its author,
    stays, as in the published code. See `list_published`.
    """
    data = _top(folder, "fgvc-aircraft-2013b", "fgvc-aircraft-2013b.tar.gz") / "data"
    classes = _lines(data / "variants.txt")
    labels = {name: label for label, name in enumerate(classes)}
    parts = []
    for part in ("train", "val"):
        path = data / f"images_variant_{part}.txt"
        pairs = [line.partition(" ")[::2] for line in _lines(path)]
        strange = [f"line {number}: {name!r}" for number, (_, name) in enumerate(pairs, start=1) if name not in labels]
        if strange:
            raise InputError(f"{path}: {len(strange)} lines name no variant of variants.txt; expected an image's "
                             f"number and a variant, such as '1025794 707-320':{first_ten(strange)}")
        parts.append([(labels[name], data / "images" / f"{Path(image).name}.jpg") for image, name in pairs])
    return _checked(data, classes, *parts)


def dtd(folder):
    """Describable Textures, split 1: ``labels/train1.txt`` trains, ``labels/val1.txt`` validates; below ``dtd/``.

    Classes are the folders of ``images/``, by the alphabet. See `list_published`.
    """
    top = _top(folder, "dtd", "dtd-r1.0.1.tar.gz")
    if not (top / "images").is_dir():
        raise InputError(f"{top}: has no folder images; expected what dtd-r1.0.1.tar.gz unpacks to.")
    classes = sorted(place.name for place in (top / "images").iterdir()
                     if place.is_dir() and not place.name.startswith("."))
    labels = {name: label for label, name in enumerate(classes)}
    parts = []
    for part in ("train1", "val1"):
        path = top / "labels" / f"{part}.txt"
        pairs = [line.partition("/")[::2] for line in _lines(path)]
        strange = [f"line {number}: {name}/{image}" for number, (name, image) in enumerate(pairs, start=1)
                   if name not in labels or Path(image).name != image]
        if strange:
            raise InputError(f"{path}: {len(strange)} lines are not of a folder of {top / 'images'}; expected lines "
                             f"such as banded/banded_0002.jpg:{first_ten(strange)}")
        parts.append([(labels[name], top / "images" / name / image) for name, image in pairs])
    return _checked(top, classes, *parts)


def flowers(folder):
    """TensorFlow's flowers: ``flower_photos/daisy/….jpg``, …, 3670 photos of 5 flowers. See `list_published`."""
    top = _top(folder, "flower_photos", "flower_photos.tgz")
    classes = sorted(place.name for place in top.iterdir() if place.is_dir() and not place.name.startswith("."))
    if classes != _FLOWERS:
        raise InputError(f"{top}: has the folders {', '.join(classes) or 'none'}; expected {', '.join(_FLOWERS)}, as "
                         "flower_photos.tgz unpacks to.")
    return Published(classes, [(label, str(file)) for label, name in enumerate(classes)
                               for file in sorted((top / name).iterdir()) if file.suffix.lower() in (".jpg", ".jpeg")],
                     [])


def gtsrb(folder):
    """The course's pack of the German traffic signs, ``train.p``: 43 classes, called by their numbers, 0 to 42.

    Tracks of 30 photos of one sign are divided, as in the course, so that validation sees signs of the training.
    See `list_published`.
    """
    return image_pack(Path(folder) / "train.p", list(map(str, range(43))))


def cifar10(folder):
    """CIFAR-10's 50,000 images to train on: ``cifar-10-batches-py/data_batch_1``, …, or the pack ``cifar10.p``.

    The 10,000 of its test are left alone, as in the course. See `list_published`.
    """
    pack = Path(folder) / "cifar10.p"
    if pack.exists():
        return image_pack(pack, _CIFAR)
    return cifar_batches(_top(folder, "cifar-10-batches-py", "cifar-10-python.tar.gz"))


PUBLISHED = {"caltech256": caltech256, "cars": cars, "aircraft": aircraft, "dtd": dtd, "flowers": flowers,
             "gtsrb": gtsrb, "cifar10": cifar10}
# Of those that are divided by chance, the parts of each class that validate and that are a test.
_DIVIDED = {"flowers": (0.1, 0.1), "gtsrb": (0.33, 0), "cifar10": (0.2, 0)}


def _top(folder, name, archive):
    """The folder `name` of an unpacked archive: in `folder`, or `folder` itself."""
    folder = Path(folder)
    inside = folder / name
    if not inside.is_dir() and folder.resolve().name != name:
        raise InputError(f"{folder}: has no folder {name}; expected where {archive} was unpacked.")
    return inside if inside.is_dir() else folder


def _lines(path):
    try:
        lines = read_regular_text(path, "utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}. It is part of the data "
                         "set as it is downloaded.") from None
    if not lines:
        raise InputError(f"{path}: empty; download the data set again.")
    return [line.strip() for line in lines if line.strip()]


def _class_names(path):
    return [str(name) for name in _read_mat(path, "class_names")]


def _annotations(path, *fields):
    """The values of these fields, a tuple an image: the class as int, all else as it is."""
    try:
        return [tuple(int(line[field]) if field == "class" else line[field] for field in fields)
                for line in _read_mat(path, "annotations")]
    except (ValueError, TypeError, IndexError) as error:
        raise InputError(f"{path}: its annotations have not {', '.join(fields)} ({error}); expected those of Stanford "
                         "Cars with the classes.") from None


def _read_mat(path, variable):
    """A variable of a MATLAB file, as a one-dimensional array."""
    from scipy.io import loadmat

    try:
        content = read_regular(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}. Stanford Cars has cars_annos.mat; or devkit/ with "
                         "cars_meta.mat and cars_train_annos.mat, and cars_test_annos_withlabels.mat.") from None
    try:
        return np.atleast_1d(loadmat(io.BytesIO(content), squeeze_me=True, variable_names=[variable])[variable])
    except Exception as error:      # SciPy says in many ways that a file is damaged, or something else
        raise InputError(f"{path}: not a MATLAB file with {variable} ({type(error).__name__}: {error}); download it "
                         "again.") from None


def _checked(folder, classes, source, validation):
    """The data set, when all its images are there and every class has some in both lists."""
    missing = [str(file) for part in (source, validation) for _, file in part if not file.is_file()]
    if missing:
        raise InputError(f"{folder}: {len(missing)} images are named in the annotations and not there; unpack the "
                         f"images again:{first_ten(missing)}")
    lacking = [f"{classes[label]}: none to {use}" for part, use in ((source, "train on"), (validation, "validate on"))
               for label in sorted(set(range(len(classes))) - {label for label, _ in part})]
    if lacking:
        raise InputError(f"{folder}: {len(lacking)} classes lack images:{first_ten(lacking)}")
    return Published([name.replace("/", "-") for name in classes],
                     *([(label, str(file)) for label, file in part] for part in (source, validation)))


def _write(path, images):
    return write_list(path, [label for label, _ in images], [file for _, file in images])


def _check_classes(path, classes):
    if path.exists() and read_classes(path) != classes:
        raise InputError(f"{path}: there already, with other classes than the data set. Write to another folder.")
