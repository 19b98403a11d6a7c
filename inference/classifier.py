"""A checkpoint as a network that only computes: from images to class scores, on some devices."""
from transfer_gluon.base.errors import InputError
from transfer_gluon.symbols import features_block, logits
from transfer_gluon.symbols.backbone import check_fit


def classifier(checkpoint, devices, image_shape=None):
    """A checkpoint as a block from images to class scores.

    Parameters
    ----------
    checkpoint : Checkpoint
    devices : Context or list of Context
    image_shape : (int, int, int) or None
        Channels, height, width, in pixels, to check sizes against.

    Raises: see `features_block`.
    """
    return inference_block(logits(checkpoint.symbol), checkpoint, devices, image_shape)


def inference_block(symbol, checkpoint, devices, image_shape=None):
    """A symbol with the values of a checkpoint, ready to compute on `devices`, without memory for gradients."""
    net = features_block(symbol, checkpoint.arg_params, checkpoint.aux_params, checkpoint.name, image_shape)
    net.collect_params().setattr("grad_req", "null")        # or gradients would take as much memory as the values
    net.initialize(ctx=devices)
    net.hybridize(static_alloc=True)
    return net


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
