"""A checkpoint as a network that only computes: from images to class scores, on some devices."""
from transfer_gluon.base.errors import InputError
from transfer_gluon.inference.batch_size import USUAL
from transfer_gluon.inference.quantized import calibration_images, calibration_list, quantized, say_change
from transfer_gluon.iters import OrderedIter
from transfer_gluon.symbols import logits
from transfer_gluon.symbols.backbone import check_fit, values_block
from transfer_gluon.symbols.precision import check_dtype, for_inference


def classifier(checkpoint, devices, image_shape=None, dtype="float32", calibration=None):
    """A checkpoint as a block from images to class scores.

    Parameters
    ----------
    checkpoint : Checkpoint
    devices : Context or list of Context
    image_shape : (int, int, int) or None
        Channels, height, width, in pixels, to check sizes against.
    dtype, calibration
        As `inference_block` takes them.

    Raises: see `features_block`.
    """
    return inference_block(logits(checkpoint.symbol), checkpoint, devices, image_shape, dtype, calibration)


def ready_classifier(checkpoint, images, devices, image_shape, prepare, threads, dtype="float32"):
    """A checkpoint as a `classifier` that is about to see the images of a list; with int8, it is calibrated with some
    of them, and the log tells what that changes.

    Parameters
    ----------
    checkpoint : Checkpoint
    images : ImageList
    devices, image_shape, dtype
        As `classifier` takes them.
    prepare, threads
        As `OrderedIter` takes them.
    """
    if dtype != "int8":
        return classifier(checkpoint, devices, image_shape, dtype)
    first, others = (OrderedIter(part, USUAL, prepare, threads, bad=[]) for part in calibration_list(images))
    net = classifier(checkpoint, devices, image_shape, dtype, calibration_images(first))
    say_change(classifier(checkpoint, devices, image_shape), net, others, devices, images.null_label, checkpoint.name)
    return net


def inference_block(symbol, checkpoint, devices, image_shape=None, dtype="float32", calibration=None):
    """A symbol with the values of a checkpoint, ready to compute on `devices`, without memory for gradients.

    It computes as quickly as it can with the same result: see `symbols.precision.for_inference`.

    Parameters
    ----------
    symbol : Symbol
    checkpoint : Checkpoint
    devices : Context or list of Context
    image_shape : (int, int, int) or None
        Channels, height, width, in pixels, to check sizes against.
    dtype : "float32", "bfloat16", "float16" or "int8"
        What is computed in; values are given in float32.
    calibration : float32 array (n, channels, height, width), or None
        With int8, images of the kind that it will see: see `quantized`.
    """
    devices = list(devices) if isinstance(devices, (list, tuple)) else [devices]
    check_dtype(dtype, devices)
    if dtype == "int8":
        if calibration is None:
            raise InputError("`dtype` int8 was given without images to calibrate it with.", "calibration", None,
                             "an array of images")
        symbol, values = quantized(symbol, checkpoint, calibration)
        block = values_block(symbol, values)
    else:
        check_fit(symbol, checkpoint.arg_params, checkpoint.aux_params, checkpoint.name, image_shape)
        found = {**checkpoint.arg_params, **checkpoint.aux_params}
        block = values_block(for_inference(symbol, devices, dtype), found, "float32")
    block.initialize(ctx=devices)
    return block


def check_labels(images, classes, source):
    """Raise InputError where an `ImageList` has labels beyond the `classes` of a network that is called `source`, or is
    a folder of some of them only, which were numbered without knowing their names."""
    if images.in_place and images.classes and images.labelled.any() and len(images.classes) != classes:
        raise InputError(f"{images.path}: its {len(images.classes)} folders are taken for classes, by the alphabet, "
                         f"and {source} has {classes}: which of them these are is not known. Give a folder with all of "
                         "them; or a list, which tools/im2rec_helpers.py list makes with the network's classes.txt "
                         "or, where folders are no classes, unlabelled.")
    beyond = set(images.labels[images.labelled & (images.labels >= classes)].tolist())
    if beyond:
        raise InputError(f"{images.path}: has the labels {', '.join(map(str, sorted(beyond)[:10]))}, and "
                         f"{source} has {classes} classes; say by `null_label` which label means 'unknown', or give "
                         "a list of its classes.",
                         "null_label", images.null_label, f"labels below {classes}, or this one")


def num_classes(symbol, image_shape, source="the network"):
    """How many classes a network, called `source`, tells apart.

    Raises: InputError for one that gives no row of class scores an image, or cannot take images of this size.
    """
    scores = logits(symbol)
    check_fit(scores, None, None, source, image_shape)
    shape = scores.infer_shape_partial(data=(1, *image_shape))[1][0]
    if not shape or len(shape) != 2 or shape[0] != 1:
        raise InputError(f"{source}: gives {shape} for an image of {image_shape}; expected a classifier, whose output "
                         "is (1, number of classes).")
    return shape[1]
