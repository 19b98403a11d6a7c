"""The network that a stage starts from, and the size of its images."""
from transfer_gluon.base.errors import InputError, first_ten
from transfer_gluon.base.log import log
from transfer_gluon.checkpoints.checkpoint import (
    DEFAULT_IMAGE_SHAPE,
    Checkpoint,
    load_checkpoint,
    parameter_file,
    saved_epochs,
    symbol_file,
)
from transfer_gluon.checkpoints.files import read_symbol
from transfer_gluon.symbols import TransferNet, cut, image_shape_of, new_network, resize_of
from transfer_gluon.symbols.bottleneck import BOTTLENECK, below_bottleneck
from transfer_gluon.symbols.graph import layers as layers_of
from transfer_gluon.symbols.image_input import parse_image_shape, parse_resize
from transfer_gluon.symbols.layer_groups import HEAD, layer_groups, new_names
from transfer_gluon.symbols.new_layers import classifier_initializers, fresh_values, num_features
from transfer_gluon.training.run import recorded_settings


def starting_checkpoint(stage, checkpoint, image_shape):
    """The `Checkpoint` that a stage starts from: one of the run itself, if it is given, or what the stage is told."""
    told = stage.network
    if checkpoint:
        start = checkpoint
    elif told.network:
        start = _new_network(told.network, told.num_layers, image_shape)
    else:
        start = _pretrained(stage)
    if stage.images.rgb_mean or stage.images.rgb_std:
        start = start.normalized(stage.images.rgb_mean or (0, 0, 0), stage.images.rgb_std or (1, 1, 1))
    return start


def starting_network(stage, start, resumed, image_shape, classes=None):
    """The network to train: of the checkpoint `start`, which is the run's own where that is `resumed`; its classes are
    called `classes`."""
    told = stage.network
    goes_on = resumed or stage.train_stage or told.keep_classifier
    layers = _layers(start.symbol, head_layer(start.symbol, told.layer) if goes_on else told.layer,
                     stage.objective.transfer_layers)
    if goes_on:
        return start.classifier(layers, stage.num_classes, image_shape, stage.images.val_resize, classes)
    if start.num_classes == stage.num_classes:
        log.info("%s has a classifier fc of %d classes; a new one takes its place. `keep_classifier` goes on with the "
                 "old one", start.name, stage.num_classes)
    if told.new_layers > 1:
        start = _begun_anew(start, layers, told, image_shape)
    _check_bottleneck(start, told)
    net = TransferNet(start.features(layers, image_shape), stage.num_classes, image_shape=image_shape,
                      resize=stage.images.val_resize, bottleneck=told.bottleneck, classes=classes)
    features = num_features(cut(start.symbol, told.layer), image_shape)
    net.fc_weight.init, net.fc_bias.init = classifier_initializers(told.new_init, told.bottleneck or features)
    if told.bottleneck:
        net.bottleneck.weight.init, net.bottleneck.bias.init = classifier_initializers(told.new_init, features)
    return net


def head_layer(symbol, layer):
    """The layer that feeds the classifier of a network: its bottleneck, where it has one, else `layer`.

    Raises: InputError where the bottleneck is on another layer.
    """
    below = below_bottleneck(symbol)
    if below is None or layer == BOTTLENECK:
        return layer
    if layer != below:
        raise InputError(f"`layer` is {layer}, and the network has a bottleneck that is on {below}; give {below}.",
                         "layer", layer, below)
    return BOTTLENECK


def _check_bottleneck(start, told):
    """Of a network that is to have a new classifier."""
    if not below_bottleneck(start.symbol):
        return
    if BOTTLENECK not in layers_of(cut(start.symbol, told.layer)):
        log.info("%s has a bottleneck, which is left out: `layer` %s keeps it", start.name, BOTTLENECK)
    elif told.bottleneck:
        raise InputError(f"`bottleneck` is {told.bottleneck}, and `layer` {told.layer} of {start.name} lies above a "
                         f"bottleneck already; leave it out, or give a `layer` below, such as "
                         f"{below_bottleneck(start.symbol)}.", "bottleneck", told.bottleneck, None)


def _pretrained(stage):
    """The checkpoint to start from; where there is none of its name, a message says where one comes from."""
    told = stage.network
    if not saved_epochs(told.pretrained_model):
        how = "Stage 1 goes on from a network that stage 0 has trained: name its prefix by `pretrained_model`, its " \
            "last epoch by `pretrained_epoch`." if stage.train_stage else \
            "tools/get_model.py fetches a pretrained network, tools/import_weights.py makes one of PyTorch's " \
            "weights, `pretrained_model` names it; or `network` begins with random weights, which need much more data."
        raise InputError(f"{parameter_file(told.pretrained_model, told.pretrained_epoch)}: no such checkpoint; of the "
                         f"prefix {told.pretrained_model} there is no epoch at all. {how}", "pretrained_model",
                         told.pretrained_model, "the prefix of a checkpoint")
    return load_checkpoint(told.pretrained_model, told.pretrained_epoch)


def _begun_anew(start, layers, told, image_shape):
    """A checkpoint whose last layer groups have other values, drawn by chance."""
    symbol = cut(start.symbol, layers)
    names = new_names(layer_groups(symbol), told.new_layers)
    log.info("%d parameters of the last %d layer groups begin anew, from %s on", len(names), told.new_layers - 1,
             names[0])
    drawn = fresh_values(symbol, names, image_shape, told.new_init)
    values = ({name: drawn.get(name, value) for name, value in known.items()}
              for known in (start.arg_params, start.aux_params))
    return Checkpoint(start.name, start.symbol, *values)


def starting_values(stage):
    """The values that a stage takes over from the checkpoint that it starts from, read for this alone, as a dict by the
    names of the parameters that learn in its network."""
    told = stage.network
    start = _pretrained(stage)
    goes_on = stage.train_stage or told.keep_classifier
    symbol = cut(start.symbol, head_layer(start.symbol, told.layer) if goes_on else told.layer)
    taken_over = set(symbol.list_arguments()) & set(start.arg_params)
    if goes_on:
        taken_over.update(HEAD)
    elif told.new_layers > 1:
        taken_over -= set(new_names(layer_groups(symbol), told.new_layers))
    return {name: start.arg_params[name] for name in sorted(taken_over) if name in start.arg_params}


def _layers(symbol, layer, further):
    """The layers to compare, the last of which feeds the classifier."""
    if not further:
        return layer
    cut(symbol, layer)
    below = layers_of(symbol)
    below = below[:below.index(layer)]
    unknown = [name for name in further if name not in below]
    if unknown or len(set(further)) < len(further):
        raise InputError(f"`transfer_layers` are {', '.join(further)}; expected different layers below {layer}, the "
                         f"last first:{first_ten(below[::-1])}", "transfer_layers", further, f"layers below {layer}")
    return (*further, layer)


def _new_network(network, num_layers, image_shape):
    return Checkpoint(f"the new network {network}", new_network(network, num_layers, image_shape))


def known_image_shape(run_prefix, pretrained_model):
    """The size of images that a run began with, else that the pretrained network was trained with, else the
    original's."""
    if run_prefix:
        recorded = parse_image_shape(recorded_settings(run_prefix).get("image_shape"))
        if recorded:
            return recorded
    for prefix in (run_prefix, pretrained_model):
        shape = prefix and symbol_file(prefix).exists() and image_shape_of(read_symbol(symbol_file(prefix)))
        if shape:
            return shape
    return DEFAULT_IMAGE_SHAPE


def known_val_resize(run_prefix, pretrained_model, image_shape=None):
    """What images of a run are resized to for validation, else those of the pretrained network where they have the same
    size: the shorter side, ``squeeze``, or None for the usual rule."""
    recorded = recorded_settings(run_prefix) if run_prefix else {}
    if recorded:
        return parse_resize(recorded.get("val_resize"))
    found = next((prefix for prefix in (run_prefix, pretrained_model) if prefix and symbol_file(prefix).exists()), None)
    return resize_of(read_symbol(symbol_file(found)), image_shape) if found else None
