"""Settings stand once: what a dataclass refuses, the command refuses; defaults, help and names are the dataclass's."""
import dataclasses
import json
import math
from pathlib import Path

from transfer_gluon.cli.exit_codes import Command
from transfer_gluon.cli.options import filled, options
from transfer_gluon.cli.types import PAIRS

import click
import numpy as np
import pytest
from conftest import call

from transfer_gluon.base.errors import InputError, with_flags
from transfer_gluon.base.parameters import Parameters, parameter
from transfer_gluon.commands import fine_tune
from transfer_gluon.iters import Augmentation
from transfer_gluon.symbols import TRANSFER_LOSSES, MMDLoss
from transfer_gluon.training.options import (
    DataOptions,
    ImageOptions,
    NetworkOptions,
    ObjectiveOptions,
    OptimizerOptions,
    RegularizationOptions,
    RunOptions,
)
from transfer_gluon.training.stages import Stage

GROUPS = fine_tune.GROUPS.values()
FIELDS = [(group, field) for group in GROUPS for field in dataclasses.fields(group)]
BY_NAME = {option.name: option for option in fine_tune.main.params}


def beyond(field):
    """Values that a field must not have."""
    words, several = field.metadata, field.metadata["kind"] in ("image_shape", "rgb_mean", "rgb_std", "epochs", "gpus")
    values = []
    if words["choices"]:
        values.append("no-such-word")
    if words["least"] is not None:
        values.append(words["least"] - 1)
    if words["most"] is not None:
        values.append(2 * words["most"] + 1)
    for bound in ("above", "below"):
        if words[bound] is not None:
            values.append(words[bound])
    if isinstance(field.default, float) or words["kind"] in ("number", "rgb_mean", "rgb_std"):
        values += [math.nan, math.inf, 1e308]
    return [(value,) * 3 if several else value for value in values]


BEYOND = [(group, field, value) for group, field in FIELDS for value in beyond(field)]


def text(value):
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


@pytest.mark.parametrize("group, field, value", BEYOND,
                         ids=[f"{field.name}={text(value)}" for _, field, value in BEYOND])
def test_what_cannot_be_is_refused_by_the_library_and_by_the_command(group, field, value):
    with pytest.raises(InputError, match=f"`{field.name}` is .*; expected") as raised:
        group(**{field.name: value})
    assert raised.value.parameter == field.name and raised.value.expected
    flag = BY_NAME[field.name].opts[0]
    with pytest.raises((InputError, click.ClickException)) as raised:
        fine_tune.main.main(["--num-classes", "3", "--train-stage", "1", flag, text(value)], standalone_mode=False)
    said = raised.value.format_message() if isinstance(raised.value, click.ClickException) else str(raised.value)
    assert flag in said


def test_plain_values_are_made_of_what_is_like_them():
    made = OptimizerOptions(lr=np.float32(0.5), batch_size=np.int64(8), lr_step_epochs=[np.int32(2), 3])
    assert made == OptimizerOptions(lr=0.5, batch_size=8, lr_step_epochs=(2, 3)) and type(made.batch_size) is int
    assert RunOptions(prefix=Path("m", "x")).prefix == "m/x" and DataOptions(data_dir=Path("d")).data_dir == "d"
    assert NetworkOptions(trainable="fc").trainable == ("fc",)
    stage = Stage(np.int64(0), np.int32(3), optimizer=made, images=ImageOptions(image_shape=[3, 16, 20]))
    json.dumps(stage.settings())
    assert stage.settings()["image_shape"] == "3,16,20" and stage.settings()["lr_step_epochs"] == "2,3"


def test_the_parts_of_a_stage_are_what_they_must_be():
    for parts, why in ((dict(images=DataOptions()), "`images` is .*expected ImageOptions"),
                       (dict(data=None), "`data` is None"), (dict(after_epoch=None), "`after_epoch` is None"),
                       (dict(penalties=print), "`penalties` is"), (dict(before_forward="abc"), "`before_forward` is")):
        with pytest.raises(InputError, match=why):
            Stage(0, 3, **parts)
    for arguments in ((0, 3.5), (0, True), (True, 3), (0, "3"), (None, 3)):
        with pytest.raises(InputError, match="expected a whole number from"):
            Stage(*arguments)


def test_values_of_other_types_are_refused():
    for make in (lambda: ImageOptions(image_shape=(3, 16)), lambda: ImageOptions(image_shape=16),
                 lambda: ImageOptions(image_shape="3,16,16"), lambda: ImageOptions(image_shape=(1, 16, 16)),
                 lambda: ImageOptions(rgb_mean=(1, 2)), lambda: OptimizerOptions(lr=(0.1, 0.2)),
                 lambda: OptimizerOptions(batch_size=[8]), lambda: OptimizerOptions(lr_step_epochs=5),
                 lambda: RunOptions(gpus=0), lambda: NetworkOptions(trainable=5), lambda: NetworkOptions(network=5),
                 lambda: RunOptions(prefix=5), lambda: DataOptions(data_dir=None),
                 lambda: ObjectiveOptions(transfer=["mmd"]), lambda: ObjectiveOptions(transfer_layers=[1]),
                 lambda: ObjectiveOptions(transfer_weight=[1, 2]), lambda: ObjectiveOptions(transfer_options=("a",)),
                 lambda: OptimizerOptions(lr="0.1"), lambda: OptimizerOptions(batch_size=8.5),
                 lambda: OptimizerOptions(batch_size=True), lambda: RunOptions(resume="yes"),
                 lambda: OptimizerOptions(optimizer=3), lambda: Augmentation(jitter=None)):
        with pytest.raises(InputError, match="expected"):
            make()


def test_every_flag_has_its_default_and_its_help_from_the_dataclass():
    for group, field in FIELDS:
        option = BY_NAME[field.name]
        assert option.default == field.default, field.name
        assert option.section == group.__doc__.splitlines()[0].rstrip(".")
        assert option.help.startswith(with_flags(field.metadata["meaning"], {
            name: flag.opts[0] for name, flag in BY_NAME.items()}))
    said = call("fine_tune.py", "--help").stdout
    places = [said.index(f"\n{title}:\n") for title in ("Options", "Data", "Images", "Augmentation of training images",
                                                        "Network", "Objective of stage 1", "Optimizer", "Run")]
    assert places == sorted(places) and "`" not in said


def test_a_command_fills_the_dataclasses_that_a_library_user_writes():
    seen = {}

    @dataclasses.dataclass(frozen=True)
    class Group(Parameters):
        """Things."""

        one: int = parameter(3, "One.", least=0)
        two: bool = parameter(False, "Two, beside `one`.", flag="second-one")
        three: float = parameter(None, "Three.", kind="number", default_words="much")

    @click.command(cls=Command)
    @options(Group)
    def main(**flags):
        seen["group"] = filled(Group, flags)

    main.main(["--second-one", "--one", "5"], standalone_mode=False)
    assert seen["group"] == Group(one=5, two=True) and Group().settings() == {"one": 3, "second_one": False,
                                                                             "three": None}
    assert Group(one=5, two=True).changed() == ["one", "two"]


def test_settings_that_do_nothing_are_refused_from_a_library_too():
    for make, why in (
            (lambda: Stage(0, 3, objective=ObjectiveOptions(transfer="mmd")), "`transfer` was given in stage 0"),
            (lambda: Stage(1, 3, network=NetworkOptions(network="vgg16")), "`network` was given in stage 1"),
            (lambda: Stage(1, 3, objective=ObjectiveOptions(transfer="coral", estimate="quadratic")),
             "`estimate` was given with `transfer` coral"),
            (lambda: Stage(1, 3, objective=ObjectiveOptions(transfer="mcc", transfer_layers=("relu1",))),
             "`transfer_layers` was given with `transfer` mcc, which looks at class scores alone"),
            (lambda: Stage(0, 3, augmentation=Augmentation(fill_value=3)), "`fill_value` was given without padding"),
            (lambda: Stage(0, 3, optimizer=OptimizerOptions(optimizer="adam", momentum=0.5)), "has no momentum"),
            (lambda: Stage(0, 3, optimizer=OptimizerOptions(optimizer="adadelta", lr=(3, 2, 1), num_lowlrs=2)),
             "`lr` was given with `optimizer` adadelta"),
            (lambda: Stage(0, 3, run=RunOptions(no_checkpoint=True, keep=3)), "`keep` was given with `no_checkpoint`")):
        with pytest.raises(InputError, match=f"{why}.*does nothing; leave it out"):
            make()
    Stage(0, 3, optimizer=OptimizerOptions(optimizer="adadelta", num_lowlrs=2),
          regularization=RegularizationOptions(l2sp_published=True))        # which counts the groups


def test_values_that_contradict_each_other_are_refused_from_a_library_too():
    for make, why in (
            (lambda: Stage(2, 3), "`train_stage` is 2"), (lambda: Stage(0, 0), "`num_classes` is 0"),
            (lambda: Stage(0, 10_000), "`null_label` is 9999, which is also one of"),
            (lambda: Stage(0, 3, run=RunOptions(top_k=4)), "`top_k` is 4"),
            (lambda: Stage(0, 3, run=RunOptions(resume=True)), "`resume` was given without `prefix`"),
            (lambda: Stage(0, 3, run=RunOptions(prefix="m", resume=True, overwrite=True)), "more than one of"),
            (lambda: Stage(0, 3, data=DataOptions(read="mxnet"), augmentation=Augmentation(mode="original")),
             "`mode` original was given with `read` mxnet"),
            (lambda: Augmentation(min_random_scale=2.0), "the smallest must not exceed the largest")):
        with pytest.raises(InputError, match=why):
            make()


def test_options_of_a_loss_are_its_own():
    for objective, why in ((ObjectiveOptions(transfer="dann", transfer_options=(("hiden", 7),)),
                            "`transfer_options` names hiden, which the loss dann does not have; it has hidden, rev"),
                           (ObjectiveOptions(transfer="coral", transfer_options=(("hidden", 7),)), "it has none"),
                           (ObjectiveOptions(transfer="mmd", transfer_options=(("estimate", 7),)), "names estimate")):
        with pytest.raises(InputError, match=why):
            Stage(1, 3, objective=objective)
    told = ObjectiveOptions(transfer="dann", transfer_options=(("hidden", 512), ("reversal", 0.25)))
    assert Stage(1, 3, objective=told).settings()["transfer_options"] == "hidden=512,reversal=0.25"
    for text in ("hidden", "hidden=x", "=3", "hidden=1,hidden=2", "a=1,,b=2", "a=1e", "a==1"):
        with pytest.raises(click.BadParameter, match="expected"):
            PAIRS.convert(text, None, None)


def test_the_originals_flag_for_dan_means_one_loss_and_no_other():
    for flags in (["--transfer", "coral"], ["--transfer", "jmmd"]):
        with pytest.raises(InputError, match="--use-dan means --transfer mmd, and --transfer .* was given"):
            fine_tune.main.main(["--num-classes", "3", "--train-stage", "1", "--use-dan", *flags],
                                standalone_mode=False)


def test_a_loss_put_into_the_table_can_be_named(monkeypatch):
    monkeypatch.setitem(TRANSFER_LOSSES, "mine", MMDLoss)
    stage = Stage(1, 3, objective=ObjectiveOptions(transfer="mine", estimate="quadratic"))
    assert stage.settings()["transfer"] == "mine"
