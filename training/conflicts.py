"""Settings that cannot stand, or do nothing, beside others."""
from transfer_gluon.base.errors import InputError
from transfer_gluon.scores.registry import score
from transfer_gluon.symbols.layer_groups import begins
from transfer_gluon.symbols.registry import loss_class, options_of
from transfer_gluon.training.epoch_score import COMPARES
from transfer_gluon.training.optimizers import NOT_AT_REST, takes_momentum


def idle(stage):
    """The settings of a `Stage` that do nothing beside its others: a dict from their names to why."""
    change, optimizer, run, network = stage.augmentation, stage.optimizer, stage.run, stage.network
    steps, inverse, regularization = optimizer.lr_step_epochs, optimizer.lr_schedule == "inv", stage.regularization
    warps = change.pad_size or change.max_random_rotate_angle or change.max_random_shear_ratio or (
        change.min_random_scale, change.max_random_scale) != (1, 1) or (change.max_random_aspect_ratio
                                                                        and not change.resized_crop)
    name, cached = optimizer.optimizer, stage.data.read == "features"
    return {setting: why for applies, why, settings in [
        (stage.train_stage == 0, "in stage 0, which has no transfer loss",
         ["transfer", "transfer_weight", "relative_transfer_weight", "transfer_options", "transfer_layers",
          "estimate"]),
        ("estimate" not in options_of(stage.objective.transfer), f"with `transfer` {stage.objective.transfer}",
         ["estimate"]),
        (not getattr(loss_class(stage.objective.transfer), "needs_features", True),
         f"with `transfer` {stage.objective.transfer}, which looks at class scores alone", ["transfer_layers"]),
        (stage.target_alone, f"with `transfer` {stage.objective.transfer}, which looks at no labels",
         ["class_weights"]),
        (stage.target_alone and not stage.makes_labels, f"with `transfer` {stage.objective.transfer}, which trains on "
         "no labels", ["label_smoothing"]),
        (stage.train_stage == 1, "in stage 1, which goes on from the checkpoint of `pretrained_model`",
         ["network", "num_layers", "keep_classifier", "new_layers", "new_init", "bottleneck"]),
        (stage.network.network, "with `network`, which begins with random weights",
         ["pretrained_model", "pretrained_epoch", "keep_classifier", "new_layers", "l2sp", "l2sp_published"]),
        (network.keep_classifier, "with `keep_classifier`, beside which nothing is new",
         ["new_layers", "new_init", "bottleneck"]),
        (stage.train_stage == 0 and not stage.network.network, "without `network` resnet", ["num_layers"]),
        (not stage.network.freeze, "without `freeze`", ["trainable", "frozen_statistics"]),
        (not (steps or optimizer.lr_step_every), "without `lr_step_epochs` or `lr_step_every`", ["lr_factor"]),
        (not steps, "without `lr_step_epochs`", ["lr_step_unit"]),
        (inverse, "with `lr_schedule` inv", ["lr_factor", "lr_step_epochs", "lr_step_unit", "lr_step_every"]),
        (not inverse, "with `lr_schedule` step", ["lr_gamma", "lr_power"]),
        (not optimizer.warmup_epochs, "without `warmup_epochs`", ["warmup_lr"]),
        (not optimizer.wd, "without `wd`", ["wd_on"]),
        (not _parted(optimizer, regularization), "without three rates in `lr` or `l2sp`, or `l2sp_published`",
         ["num_lowlrs"]),
        (isinstance(optimizer.lr, tuple), "with three rates in `lr`, the first of which is the classifier's",
         ["head_lr_mult"]),
        (regularization.l2sp_published, "with `l2sp_published`, which has rates of its own", ["l2sp"]),
        (run.dtype != "bfloat16", "without `dtype` bfloat16", ["force_dtype"]),
        (run.no_checkpoint, "with `no_checkpoint`", ["keep", "save_batches"]),
        (run.no_checkpoint and not run.prefix, "with `no_checkpoint` and without `prefix`, where no run is kept",
         ["tensorboard"]),
        (not run.keep, "without `keep`, which keeps the best epoch", ["by"]),
        (run.test_io, "with `test_io`, which trains nothing", ["tensorboard"]),
        (run.plan, "with `plan`, which trains nothing", ["tensorboard"]),
        (stage.data.no_validation, "with `no_validation`", ["top_k", "val"]),
        (stage.data.source is not None and not cached, "with `source`, beside which nothing in it is read",
         ["data_dir"]),
        (stage.data.benchmark, "with `benchmark`, which reads and validates nothing",
         ["source", "target", "val", "source_validation", "early_stop", "class_weights", "watch",
          "by"]),
        (not change.random_crop, "with `random_crop` 0", ["min_random_area", "crop"]),
        (change.random_crop and change.crop == "plain", "with `crop` plain", ["min_random_area"]),
        (change.aa is not None, "beside `aa`, which takes their place", ["jitter", "pca_noise"]),
        (not change.reprob, "without `reprob`", ["remode"]),
        (not warps, "without padding, rotation, shearing or scaling", ["fill_value"]),
        (not takes_momentum(name), f"with `optimizer` {name}, which has no momentum", ["momentum"]),
        (name.lower() == "adadelta", "with `optimizer` adadelta, which knows no learning rate",
         ["lr", "lr_step_epochs", "lr_step_every", "lr_schedule", "warmup_epochs", "head_lr_mult"]),
        (cached, "with `read` features, where nothing below `layer` trains",
         ["freeze", "trainable", "frozen_statistics", "new_layers", "network", "num_layers", "transfer_layers"]),
        (cached and not stage.data.feature_views, "with `read` features without `feature_views`",
         [field.name for field in change.flags().values() if field.name != "mode"]),
        (cached and stage.train_stage == 0, "in stage 0 with `read` features, which has no features of the target",
         ["watch"]),
        (not cached, "without `read` features", ["features_dir", "feature_views"]),
    ] if applies for setting in settings}


def check(stage):
    """What can be told without looking at files and devices."""
    run, data, network = stage.run, stage.data, stage.network
    if stage.num_classes and data.null_label < stage.num_classes:
        raise InputError(f"`null_label` is {data.null_label}, which is also one of the {stage.num_classes} classes; "
                         f"choose a number from {stage.num_classes} up, and use it in target.lst.", "null_label",
                         data.null_label, f"a number from {stage.num_classes} up")
    if stage.num_classes and run.top_k > stage.num_classes:
        raise InputError(f"`top_k` is {run.top_k}, and there are {stage.num_classes} classes; choose at most that "
                         "many.", "top_k", run.top_k, f"at most {stage.num_classes}")
    if data.source and not data.benchmark:
        lacking = [name for name, needed in (("target", stage.train_stage == 1), ("val", not data.no_validation))
                   if needed and getattr(data, name) is None]
        if lacking:
            more = ", or `no_validation`: then nothing is validated on it" if lacking[0] == "val" else ""
            raise InputError(f"`source` was given without `{lacking[0]}`; give it, a list or a folder{more}.",
                             lacking[0], None, "a list or a folder")
    asked = [name for name in ("resume", "load_epoch", "overwrite") if getattr(run, name)]
    if asked and not run.prefix:
        raise InputError(f"`{asked[0]}` was given without `prefix`, which says which run is meant.")
    if len(asked) > 1:
        raise InputError("more than one of `resume`, `load_epoch` and `overwrite` was given; expected one of them.")
    if data.read == "mxnet" and stage.augmentation.mode == "original":
        raise InputError("`mode` original was given with `read` mxnet, which reads bytes; leave one of them out.")
    about_images = [name for name, given in (("benchmark", data.benchmark), ("test_io", run.test_io),
                                             ("plan", run.plan)) if given]
    if data.read == "features" and about_images:
        raise InputError(f"`read` features was given with `{about_images[0]}`, which is about images; leave one of "
                         "them out.")
    if run.plan and run.test_io:
        raise InputError("`plan` and `test_io` were both given; expected one of them.")
    if network.num_layers and network.network != "resnet":
        raise InputError(f"`num_layers` was given with `network` {network.network}; only resnet takes it.")
    named = [prefix for prefix in network.trainable or () if begins("fc_weight", prefix)]
    if stage.target_alone and named:
        raise InputError(f"`trainable` names {named[0]}, and `transfer` {stage.objective.transfer} leaves the "
                         "classifier fc as the source made it; leave it out.", "trainable", network.trainable,
                         "layers below the classifier")
    unknown = [name for name, _ in stage.objective.transfer_options
               if name not in options_of(stage.objective.transfer) or name == "estimate"]
    if unknown:
        has = [name for name in options_of(stage.objective.transfer) if name != "estimate"]
        raise InputError(f"`transfer_options` names {', '.join(unknown)}, which the loss {stage.objective.transfer} "
                         f"does not have; it has {', '.join(has) or 'none'}.", "transfer_options",
                         stage.objective.transfer_options, f"names among {', '.join(has) or 'none'}")
    if None not in (stage.objective.transfer_weight, stage.objective.relative_transfer_weight):
        raise InputError("`transfer_weight` and `relative_transfer_weight` were both given; they say the same, against "
                         "the summed and against the mean softmax loss: expected one of them.")
    if run.load_epoch and run.load_epoch >= stage.optimizer.num_epochs:
        raise InputError(f"`load_epoch` is {run.load_epoch} and `num_epochs` is {stage.optimizer.num_epochs}: "
                         "nothing is left to train. `num_epochs` counts from the beginning.")
    _check_optimizer(stage.optimizer, stage.regularization)
    if run.by:
        _check_score(stage)
    choosing = choosing_settings(run)
    if choosing and (data.no_validation or data.benchmark) and not data.source_validation:
        why = "benchmark" if data.benchmark else "no_validation"
        what = f"{choosing[0]}` best" if choosing[0] == "keep" else f"{choosing[0]}`"
        raise InputError(f"`{what} was given with `{why}` and without `source_validation`: there is no "
                         "accuracy to go by. Hold a part of the source out, such as 0.2.", choosing[0],
                         getattr(run, choosing[0]), "`source_validation` beside it")
    if data.source_validation and data.read == "mxnet":
        raise InputError("`source_validation` was given with `read` mxnet, which reads whole records; leave one of "
                         "them out.")


def choosing_settings(run):
    """The names of the settings of a run that choose an epoch by what is validated."""
    return [name for name, chooses in (("early_stop", run.early_stop), ("keep", run.keep == "best" and not run.by))
            if chooses]


def _check_score(stage):
    """Of a score by which the best epoch is chosen."""
    name, data = stage.run.by, stage.data
    judge, cached = score(name), data.read == "features"
    needs = judge.needs
    why = next((why for cannot, why in [
        (not judge.alone, COMPARES),
        (not data.watch, "it looks at the target images of `watch`, which is 0"),
        ("source" in needs and not data.source_validation, "it looks at a part of the source that is held out; "
         "`source_validation` 0.1 holds a tenth out"),
        (cached and not stage.train_stage, "`read` features of stage 0 has none of the target"),
        (cached and "mixed" in needs, "it mixes images, and `read` features reads none"),
        (stage.run.kv_store.startswith("dist"), "it looks at all images together, and each worker reads a part"),
    ] if cannot), None)
    if why:
        raise InputError(f"`by` {name} was given: {why}.", "by", name, "a score that this run can tell")


def _parted(optimizer, regularization):
    """The names of the settings that are for three parts of the network."""
    parted = [name for name, rates in (("lr", optimizer.lr), ("l2sp", regularization.l2sp)) if isinstance(rates, tuple)]
    return parted + ["l2sp_published"] * regularization.l2sp_published


def _check_optimizer(optimizer, regularization):
    parted = _parted(optimizer, regularization)
    if parted and not optimizer.num_lowlrs:
        raise InputError(f"`{parted[0]}` was given for three parts of the network, and `num_lowlrs` does not say how "
                         "many layer groups are the lowest; give it, such as 8.", "num_lowlrs", None,
                         "a number of layer groups")
    rates = optimizer.lr if isinstance(optimizer.lr, tuple) else (optimizer.lr,)
    zero = [name for name, none in (("lr", 0 in rates), ("head_lr_mult", not optimizer.head_lr_mult),
                                    ("warmup_lr", optimizer.warmup_epochs and not optimizer.warmup_lr)) if none]
    if zero and optimizer.optimizer.lower() in NOT_AT_REST:
        why = NOT_AT_REST[optimizer.optimizer.lower()]
        raise InputError(f"`{zero[0]}` has a rate of 0, and `optimizer` {optimizer.optimizer} {why}; give a small one, "
                         "`freeze` what is not to learn, or choose another optimizer.", zero[0], 0, "above 0")
    if optimizer.lr_step_every and optimizer.lr_step_epochs:
        raise InputError("`lr_step_every` and `lr_step_epochs` were both given; expected one of them.")
    if optimizer.warmup_epochs >= optimizer.num_epochs:
        raise InputError(f"`warmup_epochs` is {optimizer.warmup_epochs} and `num_epochs` is {optimizer.num_epochs}: "
                         "the warm-up would never end.", "warmup_epochs", optimizer.warmup_epochs,
                         f"less than {optimizer.num_epochs}")
