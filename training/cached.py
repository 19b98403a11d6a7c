"""Features of a stage's images, each computed once and kept beside the lists: what `read` features trains on."""
import dataclasses
import hashlib
from pathlib import Path

from transfer_gluon.base.log import log
from transfer_gluon.inference.features import extract, feature_source
from transfer_gluon.iters.feature_file import check_features, read_features
from transfer_gluon.records.packing import is_packed


def cached_features(stage, start, lists, image_shape, store, devices):
    """The `Features` of every list of a stage, computed where they are not there yet.

    Parameters
    ----------
    stage : Stage
    start : Checkpoint
        The network, whose part up to the layer that is told is not to change.
    lists : Lists
    image_shape : (int, int, int)
        Channels, height, width, in pixels.
    store : Store
        The first worker computes, the others wait.
    devices : list of Context

    Returns: list of `Features`, in the order of ``lists.all``.

    Raises: InputError where a file is there and holds those of another network, layer, list or size, and as `extract`.
    """
    data, files = stage.data, []
    how = dict(image_shape=image_shape, val_resize=stage.images.val_resize)
    views = dict(views=data.feature_views, augmentation=stage.augmentation, seed=stage.run.seed) \
        if data.feature_views else {}
    for place, images in enumerate(lists.all):
        told = {**how, **(views if place < len(lists.domains) else {})}
        wanted = feature_source(start, stage.network.layer, images, **told)
        role = "val" if place == len(lists.domains) else ("source", "target")[place]
        files.append((images, told, wanted, _file(stage, role, images, wanted, views)))
    if store.rank == 0:
        for images, told, _, file in files:
            if not file.exists():
                log.info("computing what %s gives for the images of %s, once: %s", stage.network.layer, images.path,
                         file)
                extract(start, stage.network.layer, images, file, devices, threads=data.threads,
                        packed=is_packed(images), **told)
    store.barrier()
    found = []
    for *_, wanted, file in files:
        features = read_features(file)
        check_features(features, wanted)
        found.append(features)
    return found


def _file(stage, role, images, wanted, views):
    """Where the features of a list are, or go to."""
    folder = stage.data.features_dir
    if not folder:
        of_all = dataclasses.replace(wanted, network="", list="", images="", views=0, augmentation=None, seed=None)
        told = f"{of_all.text} {views}" if views else of_all.text
        folder = Path(stage.data.data_dir, f"features-{hashlib.sha256(told.encode()).hexdigest()[:8]}")
    name = images.path.stem
    if images.in_place:     # a folder may be the target and validate, too, and others may have its name
        name = f"{name}-{role}-{wanted.images[:8]}"
    return Path(folder, f"{name}.npz")
