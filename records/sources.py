"""Which record each list of a run is read from."""
import atexit
import dataclasses
import logging
import shutil
import tempfile
from pathlib import Path

from records.check import ensure_checked
from records.packing import ensure_packed, is_packed

log = logging.getLogger("transfer-gluon")


def ensure_ready(lists, threads=4, temporary=False):
    """Lists with records that are packed and checked.

    A list without an up-to-date record of its own is read from that of another list which names the same images under
    the same indices, such as val.lst and target.lst: images are packed once, and each list gives its own labels.

    Parameters
    ----------
    lists : list of ImageList
    threads : int
    temporary : bool
        Write nothing beside the lists: the records are made anew in a folder below ``$TMPDIR``, as large as the image
        files together, and deleted when the program ends. For small sets.

    Returns: list of `ImageList`, whose `record` can be read. Raises: InputError as `ensure_packed`, `ensure_checked`.
    """
    if temporary:
        folder = Path(tempfile.mkdtemp(prefix="transfer-gluon-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        lists = [dataclasses.replace(images, record=folder / images.record.name) for images in lists]
    packed = [images for images in lists if is_packed(images)]
    ready = []
    for images in lists:
        twin = next((other for other in packed if _same_images(images, other)), None)
        if twin is None:
            ensure_packed(images, threads)
            packed.append(images)
        elif not is_packed(images):
            log.info("%s names the images of %s and is read from its record", images.path, twin.path)
            images = dataclasses.replace(images, record=twin.record)
        ensure_checked(images.record, threads)
        ready.append(images)
    return ready


def _same_images(one, other):
    return one.indices.tolist() == other.indices.tolist() and one.files == other.files
