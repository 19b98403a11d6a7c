"""What each list of a run is read from, packed and checked."""
import dataclasses

from transfer_gluon.base.log import log
from transfer_gluon.records.check import check_files, ensure_checked
from transfer_gluon.records.packing import ensure_packed, is_packed


def ensure_ready(lists, threads=4, packed=True, crop=None):
    """Lists with records that are packed and checked; or the same lists, their image files checked.

    A list without an up-to-date record of its own is read from that of another list which names the same images under
    the same indices, such as val.lst and target.lst: images are packed once, and each list gives its own labels. What
    is `in_place` is never packed.

    Parameters
    ----------
    lists : list of ImageList
    threads : int
    packed : bool
        Read from records.
    crop : int or None
        Larger side, in pixels, of the images that the network takes: a strip that would be too large once it is
        resized for that (`records.check.check_shape`) is refused here, not hours into the run. None: any may pass.

    Returns: list of `ImageList` that can be read. Raises: InputError as `ensure_packed`, `ensure_checked`,
    `check_files`.
    """
    from_files = [images for images in lists if images.in_place or not packed]
    check_files(from_files, threads, crop)
    if len(from_files) == len(lists):
        return lists
    with_record = [images for images in lists if is_packed(images)]
    ready = []
    for images in lists:
        if images.in_place:
            ready.append(images)
            continue
        twin = next((other for other in with_record if _same_images(images, other)), None)
        if twin is None:
            ensure_packed(images, threads)
            with_record.append(images)
        elif not is_packed(images):
            log.info("%s names the images of %s and is read from its record", images.path, twin.path)
            images = dataclasses.replace(images, record=twin.record)
        ensure_checked(images.record, threads, crop)
        ready.append(images)
    return ready


def as_packed(lists):
    """Pairs of each list and whether an up-to-date record of its images is there: its own, or that of another one of
    these lists, with which the list then comes. Nothing is packed or checked."""
    packed = [is_packed(images) for images in lists]
    with_record, found = [images for images, own in zip(lists, packed) if own], []
    for images, own in zip(lists, packed):
        twin = next((other for other in with_record if not own and not images.in_place and _same_images(images, other)),
                    None)
        found.append((dataclasses.replace(images, record=twin.record) if twin else images, own or twin is not None))
    return found


def _same_images(one, other):
    return one.indices.tolist() == other.indices.tolist() and one.files == other.files
