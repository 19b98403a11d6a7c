"""The layers of a network in groups, from the input to the output: what trains, at which rate, and what begins anew.

A function of the names of the parameters and of their order in the graph, like timm's groups of parameters
(https://github.com/huggingface/pytorch-image-models, ``timm/optim/_param_groups.py``); nothing else knows of it. The
rule:

- A unit is a group: a residual unit, a block of an Inception, else a layer. A unit's name is the beginning of the names
  of its layers, up to the first part with a digit and what only counts behind it: ``stage3_unit12`` of
  ``stage3_unit12_conv1``, ``layer1_0`` of ``layer1_0_conv1``, ``Mixed_3a`` of ``Mixed_3a_conv0``. A name without a
  digit is that of a unit, ``conv_stem``; a layer that is only counted in its part of the network is not, ``B`` of
  ``B_conv0``.
- A normalisation that belongs to no unit joins the group before it, the first one (``bn_data``) the group behind it. So
  ``bn1`` of a pre-activation ResNet belongs to its last unit: a group of its own would be one without a convolution, to
  which "the top group begins anew" would mean nothing.
- A group inside another (``down2`` between the layers of ``layers2``) is part of it.

gluoncv's ResNets and DenseNets give names to stages and not to units: there a group is a stage.
"""
import os
import re
from dataclasses import dataclass

from transfer_gluon.base.devices import MOVING
from transfer_gluon.base.errors import InputError

# What is put on a network: the classifier, and a bottleneck below it, where there is one.
HEAD = "bottleneck_weight", "bottleneck_bias", "fc_weight", "fc_bias"
# What the names of batch normalisation's parameters end with: the first two learn.
NORMALISATION = "gamma", "beta", *MOVING
_COUNTS = re.compile(r"(unit)?\d+")


@dataclass(frozen=True)
class LayerGroup:
    """A group of layers.

    Attributes
    ----------
    name : str
        Of the unit, without a normalisation that has joined it.
    parameters : tuple of str
        Names, from the input to the output, moving statistics included.
    units : tuple of str
        What the names of its parameters begin with, in the same order: `name` and what has joined it.
    """

    name: str
    parameters: tuple
    units: tuple


def layer_groups(symbol):
    """The `LayerGroup` list of a network's features, from the input to the output.

    Parameters
    ----------
    symbol : Symbol
        Ends with the features. Every parameter of it is in exactly one group; those of `HEAD` would be in none.

    >>> from transfer_gluon.symbols import resnet
    >>> [(group.name, group.units) for group in layer_groups(resnet(8, (3, 28, 28)))][::2]
    [('conv0', ('bn_data', 'conv0')), ('stage2_unit1', ('stage2_unit1',))]
    """
    return groups_of(name for name in symbol.list_inputs() if name != "data" and not name.endswith("_label"))


def groups_of(names):
    """The `LayerGroup` list of parameters by their names, given in the order of computation.

    >>> [group.name for group in groups_of(["conv0_weight", "bn0_gamma", "conv1_weight", "fc_weight", "fc_bias"])]
    ['conv0', 'conv1']
    """
    names = [name for name in names if name not in HEAD]
    shared = len(os.path.commonprefix([_layer(name) for name in names]).rpartition("_")[0])
    units = {name: _unit(_layer(name), shared + bool(shared)) for name in names}
    own = dict.fromkeys(units[name] for name in names if _kind(name) not in NORMALISATION) or dict.fromkeys(
        units.values())
    found, current = {}, next(iter(own), None)
    for name in names:
        current = units[name] if units[name] in own else current
        found.setdefault(current, []).append(name)
    places = {name: place for place, name in enumerate(names)}
    groups = {}
    for unit, parameters in found.items():
        below = next(reversed(groups), None)
        if below and places[parameters[0]] < places[groups[below][-1]]:
            groups[below] = sorted(groups[below] + parameters, key=places.get)
        else:
            groups[unit] = parameters
    return [LayerGroup(unit, tuple(parameters), tuple(dict.fromkeys(units[name] for name in parameters)))
            for unit, parameters in groups.items()]


def begins(name, prefix):
    """Whether the name of a parameter begins with `prefix`, which cuts no number: what `trainable`, `lr_mult` mean.

    >>> [begins("stage10_unit1_bn1_gamma", prefix) for prefix in ("stage1", "stage10", "stage", "stage10_unit1_")]
    [False, True, True, True]
    """
    cuts_a_number = prefix[-1:].isdigit() and name[len(prefix):len(prefix) + 1].isdigit()
    return name.startswith(prefix) and not cuts_a_number


def thirds(groups, num_low, new_layers=1):
    """The names of a network's parameters in three parts, each of which may have its own rate.

    Parameters
    ----------
    groups : list of LayerGroup
    num_low : int
        Number of groups from the input up that are the low part; the groups above are the high one.
    new_layers : int
        How many layers begin anew, see `new_names`: none of them is low.

    Returns: dict of str to list of str: "classifier", which is all of `HEAD`, "high", "low".

    Raises: InputError with the number of groups, when that is too few for these parts.

    >>> groups = groups_of(["conv0_weight", "conv1_weight"])
    >>> thirds(groups, 1)
    {'classifier': ['bottleneck_weight', 'bottleneck_bias', 'fc_weight', 'fc_bias'], 'high': ['conv1_weight'], \
'low': ['conv0_weight']}
    """
    new_names(groups, new_layers)
    most = len(groups) - new_layers + 1
    if not 0 <= num_low <= most:
        anew = f", {new_layers - 1} of which begin anew" if new_layers > 1 else ""
        raise InputError(f"`num_lowlrs` is {num_low}, and the network has {len(groups)} groups of layers below its "
                         f"classifier{anew}; expected a number from 0 to {most}.", "num_lowlrs", num_low,
                         f"a number from 0 to {most}")
    return {"classifier": list(HEAD), "high": _parameters(groups[num_low:]), "low": _parameters(groups[:num_low])}


def new_names(groups, new_layers):
    """The names of the parameters that begin anew beside the classifier: those of the top `new_layers` − 1 groups.

    Raises: InputError with the number of groups, when there are not as many.

    >>> new_names(groups_of(["conv0_weight", "conv1_weight", "conv1_bias"]), 2)
    ['conv1_weight', 'conv1_bias']
    """
    if not 1 <= new_layers <= len(groups) + 1:
        raise InputError(f"`new_layers` is {new_layers}, and the network has {len(groups)} groups of layers below its "
                         f"classifier, which is the first of the new ones; expected a number from 1 to "
                         f"{len(groups) + 1}.", "new_layers", new_layers, f"a number from 1 to {len(groups) + 1}")
    return _parameters(groups[len(groups) - new_layers + 1:])


def _parameters(groups):
    return [name for group in groups for name in group.parameters]


def _kind(name):
    """``moving_mean`` of ``bn0_moving_mean``, ``weight`` of ``conv0_weight``."""
    return re.search(r"((moving|running)_)?[^_]*$", name)[0]


def _layer(name):
    return name[:-len(_kind(name)) - 1]


def _unit(layer, shared):
    """The unit of a layer; the first `shared` characters are those that all layers of the network begin with."""
    parts = layer[shared:].split("_")
    place = next((place for place, part in enumerate(parts) if re.search(r"\d", part)), len(parts) - 1)
    if 0 < place == len(parts) - 1 and re.fullmatch(r"[a-z]+\d+", parts[place]):
        place -= 1
    while place + 1 < len(parts) and _COUNTS.fullmatch(parts[place + 1]):
        place += 1
    return layer[:shared] + "_".join(parts[:place + 1])
