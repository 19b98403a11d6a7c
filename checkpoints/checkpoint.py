"""MXNet checkpoints: ``PREFIX-symbol.json`` and ``PREFIX-%04d.params``, as stock MXNet reads them."""
import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Optional

import numpy as np

from transfer_gluon.base.devices import mean_over_devices
from transfer_gluon.base.errors import InputError
from transfer_gluon.base.files import replacing
from transfer_gluon.base.framework import mx
from transfer_gluon.checkpoints.files import read_parameters, read_symbol, write_arrays
from transfer_gluon.symbols import (
    ImageInput,
    TransferNet,
    cut,
    features_block,
    image_shape_of,
    normalized,
    resize_of,
)
from transfer_gluon.symbols.backbone import check_fit, loaded_parameters

DEFAULT_IMAGE_SHAPE = 3, 320, 320       # the original's


@dataclass(frozen=True)
class Checkpoint:
    """A network to start from: its graph and its parameters.

    Attributes
    ----------
    name : str
        The parameter file, for messages.
    symbol : Symbol
    arg_params, aux_params : dict of str to NDArray, or None
        None: a new network, whose parameters get random values.
    """

    name: str
    symbol: mx.sym.Symbol
    arg_params: Optional[dict] = None
    aux_params: Optional[dict] = None

    @property
    def image_shape(self):
        """Channels, height, width of the images it was trained with, in pixels; (3, 320, 320) if it says nothing."""
        return image_shape_of(self.symbol) or DEFAULT_IMAGE_SHAPE

    @property
    def resize(self):
        """How images were made that size for validation: the shorter side in pixels that they were resized to, or
        ``squeeze``; None if it says nothing, so by the usual rule (`iters.transforms.prepared`)."""
        return resize_of(self.symbol)

    @property
    def classes(self):
        """Names of its classes, that of class 0 first, as a list of str; None if it says nothing."""
        names = ImageInput.of(self.symbol).classes
        return list(names) if names and self.num_classes in (None, len(names)) else None

    @property
    def num_classes(self):
        """Of its classifier ``fc``; None where it has none."""
        return self.arg_params["fc_bias"].size if self.arg_params and "fc_bias" in self.arg_params else None

    def normalized(self, rgb_mean, rgb_std):
        """The same behind a layer that normalises the images. Raises: see `symbols.normalized`."""
        return replace(self, symbol=normalized(self.symbol, rgb_mean, rgb_std, self.name))

    def features(self, layer, image_shape=None):
        """The network up to `layer`, as a HybridBlock.

        Parameters
        ----------
        layer : str or sequence of str
            Of several, the block gives a list of their outputs, in this order.
        image_shape : (int, int, int) or None
            Channels, height, width of the images, in pixels, to check sizes against.

        Raises: InputError when there is no such layer, and as `features_block` does.
        """
        return features_block(cut(self.symbol, layer), self.arg_params, self.aux_params, self.name, image_shape)

    def classifier(self, layer, num_classes, image_shape=None, resize=None, classes=None):
        """The network up to `layer` with the checkpoint's ``fc`` behind it: a `TransferNet` to go on with.

        Of several layers the last feeds ``fc``, and the network's features are a list of all. `image_shape`, `resize`
        and `classes` are what its own checkpoints will say; without `classes`, what this one says of them.

        Raises: InputError when ``fc`` is missing, has another number of classes or others, and as `features` does.
        """
        names = "fc_weight", "fc_bias"
        for name in names:
            if name not in (self.arg_params or {}):
                raise InputError(f"{self.name}: has no {name}, so that it has no classifier to go on with. Put a new "
                                 "one on it and train that first, as stage 0 does.")
        found = self.arg_params["fc_weight"].shape[0]
        if found != num_classes:
            raise InputError(f"{self.name}: fc has {found} classes, and `num_classes` is {num_classes}.",
                             "num_classes", num_classes, found)
        if classes and self.classes and list(classes) != self.classes:
            raise InputError(f"{self.name}: its classes are {_some(self.classes)}, and `classes` are {_some(classes)}. "
                             "Give the same, in this order.", "classes", classes, self.classes)
        last = layer if isinstance(layer, str) else list(layer)[-1:]
        whole = mx.sym.FullyConnected(cut(self.symbol, last), num_hidden=num_classes, name="fc")
        check_fit(whole, self.arg_params, self.aux_params, self.name, image_shape)
        return TransferNet(self.features(layer), num_classes, image_shape=image_shape, resize=resize,
                           classes=classes or self.classes,
                           params=loaded_parameters({name: self.arg_params[name] for name in names}))


def _some(names):
    return ", ".join(names[:10]) + (f", … ({len(names)})" if len(names) > 10 else "")


def parameter_file(prefix, epoch):
    """The name of a checkpoint's parameter file: ``PREFIX-0018.params``."""
    return Path(f"{prefix}-{epoch:04d}.params")


def symbol_file(prefix):
    """The name of the file that holds the network of all epochs: ``PREFIX-symbol.json``."""
    return Path(f"{prefix}-symbol.json")


def load_checkpoint(prefix, epoch):
    """Read a checkpoint, whoever wrote it.

    Raises: InputError when a file is missing (with the epochs that there are) or damaged.
    """
    graph, parameters = symbol_file(prefix), parameter_file(prefix, epoch)
    if not os.path.lexists(parameters):
        there = saved_epochs(prefix)
        known = f"there are the epochs {', '.join(map(str, there))}" if there else "there is no epoch at all"
        raise InputError(f"{parameters}: no such checkpoint; of the prefix {prefix} {known}.", "epoch", epoch, known)
    if not os.path.lexists(graph):
        raise InputError(f"{graph}: no such file; it holds the network of {parameters}.")
    return Checkpoint(str(parameters), read_symbol(graph), *read_parameters(parameters))


def saved_epochs(prefix):
    """The epochs that there are of a prefix, rising."""
    first = parameter_file(prefix, 0)       # of a prefix that ends in a slash, too
    pattern = re.compile(re.escape(first.name[:-len("0000.params")]) + r"([0-9]{4}|[1-9][0-9]{4,})\.params")
    matches = map(pattern.fullmatch, (path.name for path in first.parent.glob("*.params")))
    return sorted(int(match[1]) for match in matches if match)


def inference_symbol(net):
    """The graph of a `TransferNet` from ``data`` to ``softmax``."""
    _, logits = net(getattr(net, "image_input", ImageInput()).variable())
    return mx.sym.SoftmaxOutput(logits, name="softmax")


def save_checkpoint(prefix, epoch, net, text=None):
    """Write a `TransferNet` as a plain inference network with the output ``softmax``; return the file.

    A parameter that several devices hold is averaged over them: the weights are equal, the moving
    statistics of batch normalisation are each device's own.

    `text`: the network as it stands in ``-symbol.json``, for those who save it often; None: it is asked.

    Raises: InputError when the folder cannot be written; the previous checkpoint stays whole.
    """
    symbol = inference_symbol(net)
    values = {parameter.name: mean_over_devices(parameter) for parameter in net.collect_params().values()}
    auxiliary = symbol.list_auxiliary_states()
    return write_checkpoint(prefix, epoch, text or symbol.tojson(),
                            {name: values[name] for name in values if name not in auxiliary},
                            {name: values[name] for name in auxiliary})


def write_checkpoint(prefix, epoch, symbol, arg_params, aux_params):
    """Write a symbol, or its text, and its parameters (dicts of str to NDArray); return the parameter file."""
    saved = {f"{kind}:{name}": value for kind, values in (("arg", arg_params), ("aux", aux_params))
             for name, value in values.items()}
    parameters = parameter_file(prefix, epoch)
    write_symbol(prefix, symbol if isinstance(symbol, str) else symbol.tojson())
    write_arrays(parameters, saved)
    return parameters


def write_symbol(prefix, text):
    """Write ``PREFIX-symbol.json``, unless it is there already and says the same."""
    file = symbol_file(prefix)
    if not file.is_file() or file.read_bytes() != text.encode():
        with replacing(file) as temporary:
            temporary.write_text(text, encoding="utf-8")


def refuse_to_replace(prefix, epoch, parameter, symbol=None, values=None):
    """Raise InputError where a checkpoint of this epoch would take the network away from others of its prefix.

    Parameters
    ----------
    prefix : str or Path
    epoch : int or None
        None: not even one of the same epoch may be there.
    parameter : str
        The name of the one that `prefix` comes from, for the message.
    symbol : Symbol or None
        The network to be written: checkpoints of the same one lose nothing.
    values : (dict of str to NDArray, dict of str to NDArray) or None
        The parameters to be written: one of this epoch that is there must hold the same. None: it is replaced.
    """
    others = saved_epochs(prefix)
    file = symbol_file(prefix)
    same = symbol is not None and file.is_file() and file.read_bytes() == symbol.tojson().encode()
    run = Path(f"{prefix}-run").exists()
    if run or others and not same:
        there = "the run" if run else f"the epochs {', '.join(map(str, others))}"
        raise InputError(f"`{parameter}`: {there} of {prefix} are there, and another network would take the place of "
                         f"theirs, {file}. Give another name or folder, or move them away.")
    if values and epoch in others:
        there = load_checkpoint(prefix, epoch)
        if not all(_equal(*pair) for pair in zip((there.arg_params, there.aux_params), values)):
            raise InputError(f"`{parameter}`: {there.name} is there and holds other parameters, which would be lost. "
                             "Give another name or folder, or move it away.")


def _equal(one, other):
    return one.keys() == other.keys() and all(
        np.array_equal(one[name].asnumpy(), other[name].asnumpy()) for name in one)
