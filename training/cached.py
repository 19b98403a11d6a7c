"""Features of a stage's images, each computed once: kept beside the lists, where `read` features asks for them, and in
memory, where nobody does and nothing changes from epoch to epoch."""
import dataclasses
import hashlib
import sys
from pathlib import Path

import numpy as np
from tqdm import tqdm

from transfer_gluon.base.errors import InputError
from transfer_gluon.base.log import log
from transfer_gluon.inference.batch_size import USUAL
from transfer_gluon.inference.classifier import inference_block
from transfer_gluon.inference.features import extract, feature_source, passes_over
from transfer_gluon.inference.outputs import outputs
from transfer_gluon.iters.feature_file import Features, check_features, read_features
from transfer_gluon.records.ready import as_packed
from transfer_gluon.symbols import cut
from transfer_gluon.symbols.frozen import above_layer, trainable_prefixes
from transfer_gluon.symbols.layer_groups import begins


def cached_features(stage, start, lists, image_shape, store, devices, dtype="float32"):
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
        Its workers compute one behind the other, each what is not there yet on its disk.
    devices : list of Context
    dtype : str
        What the network computes in.

    Returns: list of `Features`, in the order of ``lists.all``.

    Raises: InputError where a file is there and holds those of another network, layer, list or size, and as `extract`.
    """
    data, files, digest = stage.data, [], None
    how = dict(image_shape=image_shape, val_resize=stage.images.val_resize, dtype=dtype)
    views = dict(views=data.feature_views, augmentation=stage.augmentation, seed=stage.run.seed) \
        if data.feature_views else {}
    names = [images.path.stem for images in lists.all]
    for place, images in enumerate(lists.all):
        told = {**how, **(views if place < len(lists.domains) else {})}
        wanted = feature_source(start, stage.network.layer, images, digest=digest, **told)
        digest = wanted.digest      # one network for all lists
        role = lists.roles[place]
        files.append((told, wanted, _file(stage, role, images, names.count(images.path.stem) > 1, wanted, views)))
    for turn in range(store.num_workers):
        if turn == store.rank:
            for (images, packed), (told, _, file) in zip(as_packed(lists.all), files):
                if not file.exists():
                    log.info("computing what %s gives for the images of %s, once: %s", stage.network.layer,
                             images.path, file)
                    extract(start, stage.network.layer, images, file, devices, threads=data.threads, packed=packed,
                            **told)
        store.barrier()
    found = []
    for *_, wanted, file in files:
        features = read_features(file)
        check_features(features, wanted)
        found.append(features)
    return found


def _file(stage, role, images, shares_its_name, wanted, views):
    """Where the features of a list are, or go to.

    They have the list's name, where no other can have it: other runs, too, keep theirs in the data's folder.
    """
    folder, data_dir = stage.data.features_dir, Path(stage.data.data_dir)
    usual = not images.in_place and not shares_its_name and (folder or images.path.resolve().parent ==
                                                             data_dir.resolve())
    if not folder:
        of_all = dataclasses.replace(wanted, network="", list="", images="", views=0, augmentation=None, seed=None)
        told = f"{of_all.text} {views}" if views else of_all.text
        folder = Path(data_dir, f"features-{hashlib.sha256(told.encode()).hexdigest()[:8]}")
    # What is the target may validate, too, and then has views here and none there.
    return Path(folder, f"{images.path.stem}{'' if usual else f'-{role}-{wanted.images[:8]}'}.npz")


def features_in_memory(stage, start, lists, image_shape, devices, dtype="float32"):
    """The `Features` of every list of a stage as its images are now, with one view of those that are trained on.

    Nothing is written, and none of before is read: whoever has not asked for features has put other images in the place
    of some, and expects a run to see them.

    Parameters and result: as of `cached_features`, but that `stage` reads records or files.

    Raises: InputError that names an image which cannot be read; DivergedError for features that are no numbers.
    """
    layer, data, found = stage.network.layer, stage.data, []
    net = inference_block(cut(start.symbol, layer), start, devices, image_shape, dtype)
    packed = as_packed(lists.all) if data.read == "records" else [(images, False) for images in lists.all]
    views = [1] * len(lists.domains) + [0] * (len(lists.all) - len(lists.domains))
    with tqdm(total=sum((1 + more) * len(images) for more, images in zip(views, lists.all)), unit=" images",
              disable=None, file=sys.stderr) as bar:
        def computed(batches):
            rows = []
            for batch in outputs(net, batches, devices, start.name, f"what {layer} gives"):
                rows.append(batch.logits)
                bar.update(len(batch))
            return np.concatenate(rows)

        for (images, record), more in zip(packed, views):
            # The digest would take a look at every weight, to no end.
            source = feature_source(start, layer, images, image_shape, stage.images.val_resize, more,
                                    stage.augmentation, stage.run.seed, digest="", dtype=dtype)
            passes = passes_over(source, stage.augmentation, USUAL, threads=data.threads, packed=record)
            values = np.stack([computed(batches(images)) for batches in passes])
            found.append(Features(images.path, values[0], values[1:], images.indices, images.labels,
                                  list(images.files), source))
    return found


def may_be_cached(stage, net, lists):
    """Whether every epoch of a stage on images computes the same below the layer that feeds the classifier, so that it
    may be computed once: all that learns lies above, what is below computes as in use, and no image is changed by
    chance, or by anybody. In doubt it may not: whoever wants it can ask for it by `read` features."""
    network, data, run = stage.network, stage.data, stage.run
    if not network.freeze or network.frozen_statistics != "inference" or not stage.augmentation.fixed or \
            stage.regularization.mixup or data.read not in ("records", "files") or data.benchmark or run.test_io or \
            run.plan or run.kv_store.startswith("dist"):
        return False
    # What looks at images, or gives some to the network.
    if stage.before_forward or stage.after_epoch or run.tensorboard:
        return False
    # Stage 0 watches its target, if there is one. That changes no number, so neither does `watch` 0.
    if not stage.train_stage and lists.target:
        return False
    try:
        as_cached(stage)
    except InputError:      # something was given that features know nothing of
        return False
    above = above_layer(net, network.layer)[1]
    prefixes = trainable_prefixes(net, network.trainable)
    learnable = [name for name, parameter in net.collect_params().items() if parameter.grad_req != "null"]
    trained = {name for name in learnable if any(begins(name, prefix) for prefix in prefixes)}
    return trained == above.intersection(learnable)


def as_cached(stage):
    """The same stage on features that are computed once.

    Raises: InputError where it was given something that has no place beside `read` features.
    """
    plain = dataclasses.replace(stage.network, freeze=False, trainable=None, frozen_statistics="move")
    return dataclasses.replace(stage, network=plain, data=dataclasses.replace(stage.data, read="features",
                                                                             feature_views=1))
