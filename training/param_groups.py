"""Which rate and which penalty each part of a network has: see `symbols.layer_groups`."""
from transfer_gluon.base.errors import InputError, does_nothing, first_ten
from transfer_gluon.base.framework import mx
from transfer_gluon.base.log import log
from transfer_gluon.symbols.frozen import above_layer, trainable_prefixes
from transfer_gluon.symbols.l2sp import L2SP, published_rates, readme_rates
from transfer_gluon.symbols.layer_groups import HEAD, begins, layer_groups, new_names, thirds

_PARTS = "classifier", "high", "low"


def freeze_classifier(stage, net):
    """Have the classifier of a network stay as it is, as a loss on the target alone wants it.

    Raises: InputError where nothing else would learn.
    """
    for name, parameter in net.collect_params().items():
        if begins(name, "fc_"):
            parameter.grad_req = "null"
    transfer = stage.objective.transfer
    log.info("`transfer` %s trains on the target alone, whose labels are not looked at; the classifier fc stays as the "
             "source made it", transfer)
    if not _learning(stage, net):
        raise InputError(f"nothing is left to train: `transfer` {transfer} leaves the classifier fc as it is, and with "
                         "`read` features nothing else is above `layer`. A `bottleneck` in stage 0 puts a layer there.",
                         "transfer", transfer, "a network with a bottleneck")


def rate_factors(stage, net):
    """Factors of the learning rate, the largest of the stage's, by names of parameters; see `fit`'s ``lr_mult``.

    Raises: InputError for a factor of the classifier where it does not learn, and as `thirds`.
    """
    told, learning = stage.optimizer, _learning(stage, net)
    if not isinstance(told.lr, tuple):
        factors = {name: told.head_lr_mult for name in HEAD if name in learning and told.head_lr_mult != 1}
        if told.head_lr_mult != 1 and not factors:
            by = f"`trainable` {', '.join(stage.network.trainable)}" if stage.network.trainable else \
                f"`transfer` {stage.objective.transfer}"
            raise does_nothing("head_lr_mult", f"with {by}, by which the classifier fc does not learn",
                               told.head_lr_mult)
        return factors
    names, largest = thirds(_groups(net), told.num_lowlrs, stage.network.new_layers), max(told.lr) or 1.0
    _say_what_is_idle("lr", told.lr, names, learning)
    return {name: rate / largest for part, rate in zip(_PARTS, told.lr) for name in names[part] if name in learning}


def l2sp_penalty(stage, net, start):
    """The penalty of a stage that starts from these values, a dict from the names of parameters."""
    told, groups = stage.regularization, _groups(net)
    learning = _learning(stage, net)
    if told.l2sp_published:
        rates, pulled = published_rates(groups, stage.optimizer.num_lowlrs, stage.network.new_layers)
        start = {name: value for name, value in start.items() if name in pulled}
    elif isinstance(told.l2sp, tuple):
        parts = thirds(groups, stage.optimizer.num_lowlrs, stage.network.new_layers)
        _say_what_is_idle("l2sp", told.l2sp, parts, learning)
        rates = readme_rates(parts, told.l2sp)
    else:
        rates = readme_rates(thirds(groups, len(groups)), [told.l2sp])
    return L2SP({name: rate for name, rate in rates.items() if name in learning}, start)


def check_new_layers(stage, net):
    """Refuse layers that begin anew and do not learn, but for the classifier. Raises: InputError."""
    if stage.network.bottleneck and "bottleneck_weight" not in _learning(stage, net):
        raise InputError(f"`bottleneck` is {stage.network.bottleneck}, and `trainable` does not name it: it would stay "
                         "as chance has drawn it. Name bottleneck, too.", "bottleneck", stage.network.bottleneck,
                         "a `trainable` with bottleneck")
    names = new_names(_groups(net), stage.network.new_layers)
    learning = _learning(stage, net)
    still = [name for name in names if name not in learning and net.collect_params()[name].grad_req != "null"]
    if still:
        raise InputError(f"`new_layers` is {stage.network.new_layers}, and `trainable` names only some of the layers "
                         f"that begin anew; others would stay as chance has drawn them:{first_ten(still)}",
                         "new_layers", stage.network.new_layers, "layers that `trainable` names")


def _say_what_is_idle(name, rates, parts, learning):
    """Of three rates, one may be for parameters none of which learns."""
    for part, rate in zip(_PARTS, rates):
        if not learning.intersection(parts[part]):
            log.info("`%s` has the rate %g for the %s part, of which nothing trains", name, rate, part)


def _groups(net):
    features, _ = net(mx.sym.var("data"))
    return layer_groups(features[-1] if isinstance(features, (list, tuple)) else features)


def _learning(stage, net):
    """The names of the parameters that will learn."""
    names = {name for name, parameter in net.collect_params().items() if parameter.grad_req != "null"}
    if stage.data.read == "features":
        return names & above_layer(net, stage.network.layer)[1]
    if not stage.network.freeze:
        return names
    trainable = trainable_prefixes(net, stage.network.trainable)
    return {name for name in names if any(begins(name, prefix) for prefix in trainable)}
