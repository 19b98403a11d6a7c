"""What a run will take on this machine, measured before it begins: end to end, with frozen layers, on features."""
import resource
from dataclasses import dataclass

from transfer_gluon.base.framework import mx
from transfer_gluon.base.log import log
from transfer_gluon.inference.batch_size import seconds_of
from transfer_gluon.symbols.frozen import above_layer
from transfer_gluon.symbols.precision import for_inference, symbol_block
from transfer_gluon.training.learner import prepare
from transfer_gluon.training.loop import fit
from transfer_gluon.training.throughput import AT_REST, computing_speed, reading_speed

_IMAGES = 16        # a device computes in a step that is measured, at most: speed hardly depends on it


@dataclass(frozen=True)
class Way:
    """A way to train.

    Attributes
    ----------
    title : str
    speed : float
        Images a second, reading included.
    first : float
        Seconds before the first epoch.
    epoch : float
        Seconds of an epoch.
    memory : float
        Bytes at the peak, roughly: of this process before anything is measured, and what was added until this way was,
        by the size of the batch. A way that needs less than the one measured before it is told as much as that.
    """

    title: str
    speed: float
    first: float
    epoch: float
    memory: float


def plan(net, objective, read, devices, training, *, layer, image_shape, num_epochs, batch_size, synthetic):
    """The `Way` objects of a run, that first which ends first; each is measured for some seconds.

    Ways by which nothing would learn are left out: features, where nothing above the layer does.

    Parameters
    ----------
    net, objective, devices
        As `fit` takes them; moving statistics move.
    read : Read
        What is trained on.
    training : dict
        What else `fit` is told; with `trainable`, that way is one more. Its `before_forward` is to take features, too.
    layer : str or None
        Below which layers are frozen, or features computed; None where nothing is to lie below one alone.
    image_shape : (int, int, int)
    num_epochs : int
    batch_size : int
        Of the run, over all devices.
    synthetic : callable
        From the number of images and the shape of one to random batches.
    """
    prepare(net, devices)
    for device in devices:
        net(mx.nd.zeros((1, *image_shape), ctx=device))      # now all sizes are known
    small = min(batch_size, _IMAGES * len(devices))
    plain = {**training, "lr_mult": None, "penalties": (), "ema": 0.0}
    images_an_epoch = read.training.batches_per_epoch * batch_size
    reading = reading_speed(read.training)
    ways, begun = [], _peak()

    def measure(title, shape, first=0.0, read_too=True, **how):
        computing = computing_speed(lambda batches: fit(net, objective, batches, devices, AT_REST, 1,
                                                        disp_batches=0, **{**plain, **how}), synthetic(small, shape))
        # Of the CPU, reading takes what computing then lacks; beside a GPU it goes on meanwhile.
        together = min(computing, reading) if devices[0].device_type == "gpu" else 1 / (1 / computing + 1 / reading)
        speed = together if read_too else computing
        memory = begun + (_peak() - begun) * batch_size / small
        ways.append(Way(title, speed, first, images_an_epoch / speed, memory))

    alone = dict(trainable=None, frozen_statistics="move", features_from=None)
    # From what needs least memory to what needs most: see `Way`.
    above, parameters = above_layer(net, layer)[1] if layer else (), net.collect_params()
    head = sorted(name for name in above if parameters[name].grad_req != "null")
    if head:
        below, speed = _features(net, layer, devices, (small, *image_shape), training["dtype"])
        count = sum(map(len, read.domains)) or images_an_epoch
        measure(f"on features of {layer}, computed once", below, count * (1 / speed + 1 / reading),
                read_too=False, **{**alone, "features_from": layer})
        measure(f"end to end, frozen up to {layer}", image_shape,
                **{**alone, "trainable": head, "frozen_statistics": "inference"})
        log.info("on features: `read` features, and `feature_views` for augmented ones. Frozen: `freeze`, `trainable` "
                 "%s, `frozen_statistics` inference", ",".join(_prefixes(head)))
    if training["trainable"] is not None:
        measure("as it is told", image_shape, **dict(alone, trainable=training["trainable"],
                                                      frozen_statistics=training["frozen_statistics"]))
    measure("end to end, everything trains", image_shape, **alone)
    return sorted(ways, key=lambda way: way.first + num_epochs * way.epoch)


def _features(net, layer, devices, shape, dtype):
    """The shape of what a layer gives for an image, and images a second that it is computed for."""
    inside = net(mx.sym.var("data"))[1].get_internals()[f"{layer}_output"]
    size = inside.infer_shape_partial(data=shape)[1][0][1:]
    block = symbol_block(for_inference(inside, devices, dtype), mx.sym.var("data", dtype="float32"),
                         net.collect_params())
    return size, shape[0] / seconds_of(block, shape, devices[0])


def _prefixes(names):
    return dict.fromkeys(name.rpartition("_")[0] for name in names)


def _peak():
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def table(ways, num_epochs):
    """The ways as lines for a person: images a second, seconds before and of an epoch, until the end, memory.

    >>> print(table([Way("all", 10.0, 60.0, 30.0, 2e9)], 4))
    | way | images/s | before | an epoch | 4 epochs | memory |
    | --- | --- | --- | --- | --- | --- |
    | all | 10.0 | 1:00 | 0:30 | 3:00 | 2.0 GB |
    """
    lines = [f"| way | images/s | before | an epoch | {num_epochs} epochs | memory |",
             "| --- | --- | --- | --- | --- | --- |"]
    lines += [f"| {way.title} | {way.speed:.1f} | {_clock(way.first)} | {_clock(way.epoch)} | "
              f"{_clock(way.first + num_epochs * way.epoch)} | {way.memory / 1e9:.1f} GB |" for way in ways]
    return "\n".join(lines)


def _clock(seconds):
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
