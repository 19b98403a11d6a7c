"""A network in numbers of 8 bits: calibrated on images, and compared with what it was."""
import contextlib

import numpy as np

from transfer_gluon.base.errors import InputError
from transfer_gluon.base.framework import mx
from transfer_gluon.base.log import log
from transfer_gluon.inference.batch_size import USUAL
from transfer_gluon.inference.outputs import outputs
from transfer_gluon.symbols.backbone import check_fit
from transfer_gluon.symbols.graph import Graph
from transfer_gluon.symbols.precision import telling, unshared

_CALIBRATION, _COMPARED = 128, 256     # images


def quantized(symbol, checkpoint, images):
    """A network whose convolutions and matrix products are computed in int8, by oneDNN, on the CPU.

    Weights are rounded channel by channel or as a whole, as MXNet decides; what goes from layer to layer is scaled by
    the least and the largest value that `images` give there (Jacob et al. 2018, *Quantization and Training of Neural
    Networks for Efficient Integer-Arithmetic-Only Inference*, section 3). What has no int8 kernel stays float32.

    Parameters
    ----------
    symbol : Symbol
    checkpoint : Checkpoint
        Its values.
    images : float32 array (n, channels, height, width)
        To calibrate with: such as the network will see, of the target.

    Returns: (symbol, values), a dict of str to NDArray.
    """
    from mxnet.contrib import quantization  # which `import mxnet` leaves out

    check_fit(symbol, checkpoint.arg_params, checkpoint.aux_params, checkpoint.name, images.shape[1:])
    names = symbol.list_inputs()
    # MXNet's int8 pooling looks at the kernel where the whole map is meant.
    whole = [node["name"] for node in Graph.of(symbol).nodes if node["op"] == "Pooling"
             and node.get("attrs", {}).get("global_pool") in ("True", "1")]
    arguments, auxiliary = ({name: value for name, value in values.items() if name in names}
                            for values in (checkpoint.arg_params, checkpoint.aux_params))
    batches = mx.io.NDArrayIter(mx.nd.array(images), batch_size=min(USUAL, len(images)))
    with telling("int8"), contextlib.redirect_stdout(None):
        symbol, arguments, auxiliary = quantization.quantize_model_mkldnn(
            unshared(symbol), arguments, auxiliary, calib_mode="naive", calib_data=batches, quantized_dtype="auto",
            excluded_sym_names=whole, num_calib_examples=len(images))
    return symbol, {**arguments, **auxiliary}


def calibration_images(batches):
    """The images of an iterator as the network sees them: float32 (n, channels, height, width)."""
    batches.reset()
    found = [batch.data[0][:batch.data[0].shape[0] - (batch.pad or 0)].asnumpy().astype(np.float32)
             for batch in batches]
    if not sum(map(len, found)):
        raise InputError("there is no image to calibrate int8 with.", "dtype", "int8", "at least one image")
    return np.concatenate(found)


def calibration_list(images, seed=0):
    """A list of some of its images to calibrate with, and one of others (or the same, of a short list) to compare by:
    chosen by chance, whatever the labels."""
    order = np.random.default_rng(seed).permutation(len(images))
    first, others = order[:_CALIBRATION], order[_CALIBRATION:_CALIBRATION + _COMPARED]
    return tuple(images.part(np.sort(places if len(places) else first)) for places in (first, others))


def say_change(before, after, batches, devices, null_label, source):
    """Log how int8 changes what a network says: on how many images of an iterator both name the same class, and the
    accuracy of both on those that have a label. `before`, `after`: callables as `outputs` takes them."""
    was, now = (list(outputs(net, batches, devices, source)) for net in (before, after))
    if not was:
        return
    classes = [np.concatenate([batch.logits.argmax(axis=1) for batch in run]) for run in (was, now)]
    labels = np.concatenate([batch.labels for batch in was])
    known = labels != null_label
    text = f"int8: {(classes[0] == classes[1]).sum()} of {len(labels)} images get the class that float32 gives them"
    if known.any():
        right = [(found == labels)[known].mean() for found in classes]
        text += f"; accuracy of the {known.sum()} with a label {right[0]:.2%} in float32, {right[1]:.2%} in int8"
    log.info("%s", text)
