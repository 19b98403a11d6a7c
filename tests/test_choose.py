"""choose.py: which network to use, without target labels, and how sure that is."""
import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import NEW_NETWORK, SMALL, call, make_data, make_domain

from transfer_gluon.base.errors import InputError
from transfer_gluon.base.framework import mx
from transfer_gluon.checkpoints.checkpoint import load_checkpoint, parameter_file, saved_epochs, write_checkpoint
from transfer_gluon.commands import choose as command
from transfer_gluon.iters import read_list, write_list
from transfer_gluon.scores import Candidate, Rule, Score, Seen, choose, rule_by
from transfer_gluon.scores.registry import SCORES
from transfer_gluon.training.domains import Lists
from transfer_gluon.trials import choosing
from transfer_gluon.trials.choosing import gather, true_accuracies

LABELS = np.arange(60) % 3


def seen_of(right, sure=4.0, source_right=1.0, seed=0, labels=None, shares=None, noise=0.01):
    """What a network says that is right on a part of 60 target and of 60 source images of 3 classes.

    `labels`: of some target images. `shares`: how much more probable than the others it takes class 0 for."""
    rng = np.random.default_rng(seed)

    def logits(part):
        wrong = np.arange(60) >= round(60 * part)
        return np.eye(3)[np.where(wrong, (LABELS + 1) % 3, LABELS)] * sure + rng.normal(0, noise, (60, 3))

    target = logits(right)
    if shares is not None:
        target[:round(60 * shares)] = [sure, 0, 0]
    return Seen(target, rng.normal(size=(60, 4)), logits(source_right), rng.normal(size=(60, 4)), LABELS,
                target_labels=labels)


def candidates(*names):
    return [Candidate(name, 1, is_source=name == "source") for name in names]


def asked(names, seen, *more, **others):
    return choose(candidates(*names), seen, *more, **{"compared": (), "resamples": 20, **others})


# As strict as the rule was before the evidence.
GUARDED = Rule(("infomax", "ensemble"), source_loss=0.05, share_loss=0.2)


def test_the_surest_network_of_the_ensembles_opinion_is_chosen():
    choice = asked(["source", "good", "late"], [seen_of(0.5, 1), seen_of(0.9, 4), seen_of(0.9, 3)])
    assert (choice.chosen, choice.source, choice.adapted, choice.keeps_source) == (1, 0, 1, False)
    assert choice.sure == 1 and choice.ranking[0] == 1 and choice.labels is None
    assert set(choice.scores) == {"infomax", "ensemble", "mixval", "source_accuracy", "class_shares"}


def test_the_source_model_is_kept_where_the_rule_prefers_it():
    choice = asked(["source", "worse"], [seen_of(0.9, 4), seen_of(0.9, 1)])
    assert choice.keeps_source and choice.chosen == 0 and choice.sure == 1 and choice.adapted == 1


def test_a_network_that_is_no_better_on_most_halves_is_not_chosen(monkeypatch):
    """On all images it is, by one of them; a half that has this image speaks against it, and the others count for both
    by one half."""
    class First(Score):
        name = "first"

        def __call__(self, seen):
            return float(seen.target_logits.max()) + (0.0 if len(seen.target_logits) == 60 else
                                                      -1e3 * (seen.target_logits[:, 0] > 50).any())

    monkeypatch.setitem(SCORES, "first", First)
    lucky = seen_of(0.9, 4)
    lucky.target_logits[0, 0] = 60
    kept = asked(["source", "lucky"], [seen_of(0.9, 4), lucky], Rule(("first",)))
    rng, has = np.random.default_rng(0), []
    for _ in range(20):
        has.append(0 in rng.permutation(60)[:30])
        rng.permutation(60)
        rng.permutation(0)
    assert kept.values[1] > kept.values[0] and kept.keeps_source and kept.sure == pytest.approx(0.5 + np.mean(has) / 2)


def test_what_is_equal_speaks_for_neither():
    same = asked(["source", "same"], [seen_of(0.9), seen_of(0.9)], compared=("entropy",))
    assert same.keeps_source and same.sure == 0.5 and same.no_difference
    assert same.agreeing == dict.fromkeys(("infomax", "ensemble", "entropy"))
    assert "No difference: it is as good as same:1 by each of 3 scores." in command.verdict(same)
    # Twice as sure of each image, and of the same opinion.
    surer = asked(["source", "surer"], [seen_of(0.9, 4, noise=0), seen_of(0.9, 8, noise=0)])
    assert surer.agreeing == {"infomax": True, "ensemble": None} and not surer.no_difference
    assert command.verdict(surer)[-1] == \
        "1 of 2 scores take it for better than source:1, the source model; both are equal by ensemble."


def test_a_network_that_forgot_the_source_is_refused():
    names, good = ["source", "forgot", "fine"], seen_of(0.6, 2)
    choice = asked(names, [good, seen_of(0.9, 5, source_right=0.5), seen_of(0.7, 4, source_right=0.95)],
                   GUARDED)
    assert choice.chosen == 2 and list(choice.refused) == [1] and choice.ranking[-1] == 1
    assert choice.refused[1] == "right on 50.0% of the source images, and 100.0% before"
    within = asked(names, [good, seen_of(0.9, 5, source_right=0.5), seen_of(0.7, 4)])
    assert not within.refused
    alone = asked(["a", "b"], [seen_of(0.9, 5, source_right=0.5), seen_of(0.6, 2)], GUARDED)
    assert alone.chosen == 1 and "100.0% is the best" in alone.refused[0] and np.isnan(alone.sure)


def test_two_standard_errors_of_few_source_images_are_no_reason_to_refuse():
    table = {"infomax": np.zeros(2), "ensemble": np.zeros(2), "source_accuracy": np.array([0.9, 0.8]),
             "class_shares": np.zeros(2)}
    # Of 50 images, 2 · √((0.9 · 0.1 + 0.8 · 0.2) / 50) = 0.14; of 500, 0.045, and the margin is 0.05.
    assert GUARDED(table, [0], 50)[1] == {} and list(GUARDED(table, [0], 500)[1]) == [1]
    assert GUARDED(table, [0, 1], 500)[1] == {}      # a source model is never refused


def test_a_network_whose_classes_collapse_is_refused():
    choice = asked(["source", "collapsed"], [seen_of(0.6, 1), seen_of(0.6, 9, shares=0.7)], GUARDED)
    assert choice.keeps_source and "class shares are" in choice.refused[1] and np.isnan(choice.sure)
    assert asked(["source", "collapsed"], [seen_of(0.6, 1), seen_of(0.6, 9, shares=0.7)],
                 Rule(("entropy",), share_loss=1)).chosen == 1
    assert asked(["other", "collapsed"], [seen_of(0.6, 1), seen_of(0.6, 9, shares=0.7)],
                 Rule(("entropy",), share_loss=0.2)).chosen == 1


def test_scores_that_are_no_numbers_never_win():
    broken = Seen(np.full((60, 3), np.nan, np.float32), np.full((60, 1), np.nan, np.float32))
    choice = asked(["source", "broken", "good"], [seen_of(0.5, 1), broken, seen_of(0.9, 4)])
    assert choice.chosen == 2 and choice.ranking[-1] == 1 and np.isnan(choice.values[1])
    assert asked(["source", "broken"], [seen_of(0.5, 1), broken]).keeps_source
    assert asked(["source", "good"], [broken, seen_of(0.9, 4)]).chosen == 1
    with pytest.raises(InputError, match="none of the 2 candidates can be judged by infomax and ensemble: their outp"):
        asked(["source", "broken"], [broken, broken], GUARDED)
    without = [Seen(one.target_logits, one.target_features) for one in (seen_of(0.5), seen_of(0.9))]
    with pytest.raises(InputError, match="can be judged by mmd: there are no source images to look at"):
        asked(["source", "good"], without, rule_by("mmd"))
    assert asked(["source", "good"], without).refused == {}     # nothing guards


def test_a_few_labels_rule_out_what_they_show_to_be_wrong_and_say_so():
    """The rule prefers a network that is sure and wrong; 12 labels rule it out."""
    few = np.where(np.arange(60) % 5 == 0, LABELS, -1)
    seen = [seen_of(0.9, 2, labels=few), seen_of(0.3, 5, labels=few), seen_of(0.9, 3, labels=few)]
    names = ["source", "wrong", "right"]
    choice = asked(names, seen, rule_by("entropy"))
    assert choice.chosen == 2 and choice.labels.chosen_without == 1 and choice.labels.ruled_out == [1]
    assert choice.labels.number == 12 and choice.labels.sure_without == 1
    assert choice.labels.accuracies.tolist() == pytest.approx([11 / 12, 4 / 12, 11 / 12])
    assert choice.refused[1] == "right on 33.3% of the 12 labels"
    assert asked(names[:2], seen[:2], rule_by("entropy")).keeps_source
    # One image that is wrong more is within a standard error: 1 - 0 > √1 is not.
    close = np.where(np.isin(np.arange(60), [0, 1, 2, 57]), LABELS, -1)
    seen = [seen_of(1.0, 2, labels=close), seen_of(0.9, 5, labels=close)]
    found = asked(["source", "good"], seen, rule_by("entropy"))
    assert found.labels.ruled_out == [] and found.chosen == 1


def test_scores_tell_whether_they_agree():
    seen = [seen_of(0.6, 2), seen_of(0.9, 4)]
    seen[1].source_features[:] += 9     # domains that lie apart
    choice = choose(candidates("source", "good"), seen, compared=("entropy", "mmd", "mixval"), resamples=5)
    assert choice.agreeing == {"infomax": True, "ensemble": choice.agreeing["ensemble"], "entropy": True, "mmd": False}
    assert choose(candidates("source", "good"), seen, rule_by("mmd"), ("entropy",)).agreeing == {
        "mmd": True, "entropy": False}      # then the source model is kept


def test_slow_scores_are_not_asked_a_hundred_times():
    choice = asked(["source", "good"], [seen_of(0.6, 2), seen_of(0.9, 4)], rule_by("neighbourhood"))
    assert np.isnan(choice.sure) and choice.chosen in (0, 1)


def test_halves_are_drawn_by_their_seed():
    seen = [seen_of(0.7, seed=1, noise=1), seen_of(0.7, seed=2, noise=1)]
    said = [asked(["source", "good"], seen, rule_by("entropy"), seed=seed, resamples=7).sure for seed in range(6)]
    assert said == [asked(["source", "good"], seen, rule_by("entropy"), seed=seed, resamples=7).sure
                    for seed in range(6)]
    assert len(set(said)) > 1 and all(0 <= one <= 1 for one in said)


def test_a_network_that_is_spelt_in_two_ways_is_one(here):
    Path("linked").symlink_to(".")
    found = gather(["linked/jan:2", "jan", "./dan", here / "dan:1"], here / "s0:1")
    assert names(found) == [(str(here / "s0"), 1, True), ("linked/jan", 2, False), ("jan", 1, False),
                            ("./dan", 1, False)]
    edit("dan", pretrained_model="./s0")
    assert names(gather(["jan", "dan"]))[:2] == [("s0", 1, True), ("jan", 1, False)]


def test_unknown_scores_are_refused():
    with pytest.raises(InputError, match="`by` is 'luck'; expected one of infomax"):
        rule_by("luck")
    assert rule_by() == Rule(("infomax", "ensemble", "mixval"), 1, 1)


def test_what_nothing_can_be_chosen_from_is_refused():
    seen = [seen_of(0.5), seen_of(0.9)]
    for names, given, how, why in (
            ([], [], {}, "there are 0 `candidates`, and `seen` tells of 0"),
            (["source", "good"], seen[:1], {}, "there are 2 `candidates`, and `seen` tells of 1"),
            (["source", "good"], seen, dict(resamples=0), "`resamples` is 0; expected a whole number from 1 up"),
            (["source", "good"], [seen[0], seen[1].take(range(50))], {},
             "`seen` tells of 60 images of the target by source:1, and of 50 by good:1"),
            (["source", "good"], [seen[0], seen[1].take(range(60), range(40))], {},
             "`seen` tells of 60 images of the source by source:1, and of 40 by good:1")):
        with pytest.raises(InputError, match=re.escape(why)):
            asked(names, given, **how)
    with pytest.raises(InputError, match="`scores` is .*expected the name of one score at least"):
        Rule(())


# The command.

@pytest.fixture(scope="module")
def runs(trained, tmp_path_factory):
    """A folder with data, s0 (stage 0) and two runs of stage 1, `jan` of two epochs, `dan` of one, both with an eighth
    of the source held out."""
    folder = tmp_path_factory.mktemp("choose")
    make_data(folder / "data")
    for file in trained.glob("s0-*"):
        (shutil.copytree if file.is_dir() else shutil.copy)(file, folder / file.name)
    start = [*SMALL, "--train-stage", 1, "--data-dir", "data", "--pretrained-model", "s0", "--pretrained-epoch", 1,
             "--source-validation", 0.125, "--seed", 3]
    call("fine_tune.py", *start, "--num-epochs", 2, "--model-prefix", "jan", cwd=folder)
    call("fine_tune.py", *start, "--use-dan", "--model-prefix", "dan", cwd=folder)
    return folder


@pytest.fixture
def here(runs, tmp_path, monkeypatch):
    """A copy of `runs` to work in."""
    folder = shutil.copytree(runs, tmp_path / "here")
    monkeypatch.chdir(folder)
    return folder


def names(found):
    return [(one.prefix, one.epoch, one.is_source) for one in found.candidates]


def test_runs_tell_which_network_they_began_with_and_what_they_held_out(here):
    found = gather(["jan", "dan:1", "s0:1"])
    assert names(found) == [("s0", 1, True), ("jan", 1, False), ("jan", 2, False), ("dan", 1, False)]
    source = read_list("data/source.lst")
    expected = np.random.default_rng(3).permutation(24)[:3]
    assert sorted(found.source.indices) == sorted(expected)
    assert sorted([*found.source.indices, *found.trained.indices]) == source.indices.tolist()
    assert found.val.path.name == "val.lst" and found.target.path.name == "target.lst"
    assert found.notes == ["the source model was trained on the images that the runs have held out"]
    assert names(gather(["dan"], "jan:1"))[0] == ("jan", 1, True)


def edit(prefix, **changes):
    """Change the settings of a run, as those of a version without their checksum."""
    file = f"{prefix}-run/settings.json"
    told = json.loads(open(file).read())
    told.pop("sha256", None)
    told["settings"].update(changes)
    open(file, "w").write(json.dumps(told))


def test_source_images_that_any_run_trained_on_are_told_from_those_that_none_did(here):
    edit("dan", seed=4)
    both = set(np.random.default_rng(3).permutation(24)[:3]) & set(np.random.default_rng(4).permutation(24)[:3])
    found = gather(["jan", "dan"])
    assert set(found.source.indices) == (both or set(range(24)))
    edit("dan", source_validation=0.0)
    found = gather(["jan", "dan"])
    assert len(found.source) == 24 and found.trained is None
    assert any("source.lst were trained on" in note for note in found.notes)
    edit("dan", source_validation=0.125, seed=3, **{"source.lst": "another"})
    assert len(gather(["dan"]).source) == 24        # of another list, nobody knows which were held out


def test_source_images_without_a_label_hide_no_held_out_part(here):
    source = read_list("data/source.lst")
    held = set(np.random.default_rng(3).permutation(24)[:3])
    unknown = [min(held), *sorted(set(range(24)) - held)[:2]]
    write_list("data/source.lst", np.where(np.isin(range(24), unknown), 9999, source.labels), source.files)
    edit("jan", **{"source.lst": read_list("data/source.lst").digest})
    found = gather(["jan"])
    assert set(found.source.indices) == held - {*unknown} and len(found.trained) == 19


def test_what_cannot_be_gathered_is_told(here):
    for runs, more, why in (
            (["nothing"], {}, "nothing: no checkpoint of this prefix"),
            (["jan"], dict(source_model="s0"), "`source_model` is s0; expected PREFIX:EPOCH. The epochs of s0: 1"),
            (["jan"], dict(source_model="s0:4"), "s0-0004.params: no such checkpoint"),
            (["jan"], dict(target="gone.lst"), "gone.lst: no such file"),
            (["jan"], dict(data_dir="gone"), "target.lst: no such file; it lists target images")):
        with pytest.raises(InputError, match=re.escape(why)):
            gather(runs, **more)
    (here / "s0-0001.params").rename(here / "lost")
    with pytest.raises(InputError, match="s0:1: no such checkpoint, and runs began with it"):
        gather(["jan"])
    shutil.rmtree("jan-run")
    found = gather(["jan"], target="data/target.lst")
    assert [one.is_source for one in found.candidates] == [False, False] and found.val is None
    assert any("no run tells which network it began with" in note for note in found.notes)
    (here / "data" / "source.lst").unlink()
    assert gather(["jan"]).source is None


def test_labels_that_were_trained_on_are_not_looked_at(here):
    target = read_list("data/target.lst")
    write_list("data/target.lst", [0, 1, *target.labels[2:]], target.files)
    assert gather(["jan"]).target.labelled.sum() == 2
    edit("jan", **{"target.lst": read_list("data/target.lst").digest})
    found = gather(["jan"])
    assert not found.target.labelled.any()
    assert "the 2 labels of data/target.lst were trained on, and are not looked at" in found.notes


def test_what_stage_0_trained_on_beside_the_source_is_known_again(here, monkeypatch):
    target = read_list("data/target.lst")
    write_list("data/target.lst", [0, 1, *target.labels[2:]], target.files)
    flags = [*NEW_NETWORK, *SMALL, "--data-dir", "data", "--source-validation", 0.125, "--seed", 3]
    call("fine_tune.py", *flags, "--model-prefix", "s1", cwd=here)
    found = gather(["jan"], "s1:1")
    assert found.notes == ["the 2 labels of data/target.lst were trained on, and are not looked at"]
    assert not found.target.labelled.any() and len(found.source) == 3
    # Whatever else the list holds.
    write_list("data/target.lst", [0, 1, *target.labels[2:10]], target.files[:10])
    assert not gather(["s1"]).target.labelled.any()
    write_list("data/target.lst", [0, 1, *target.labels[2:]], target.files)
    # A run of before, which knows the joined list alone, goes on.
    with monkeypatch.context() as before:
        before.setattr(Lists, "joined_digests", lambda lists: {})
        call("fine_tune.py", *flags, "--model-prefix", "s2", cwd=here)
    call("fine_tune.py", *flags, "--model-prefix", "s2", "--num-epochs", 2, "--resume", cwd=here)
    write_list("data/target.lst", [0, 2, *target.labels[2:]], target.files)
    told = call("fine_tune.py", *flags, "--model-prefix", "s1", "--num-epochs", 2, "--resume", cwd=here, expect=2)
    assert "--target of stage0.lst: " in told.stderr and "--source of" not in told.stderr


def test_folders_serve_as_well(here):
    for name in ("red", "green", "blue"):
        make_domain(here / "photos", name, [0] * 3)
    found = gather(["jan"], source="photos", target="photos")
    assert len(found.source) == 9 and not found.target.labelled.any() and found.val is None


def test_class_folders_of_a_target_are_not_looked_at_and_said_so(here):
    checkpoint = load_checkpoint("s0", 1)
    graph = json.loads(checkpoint.symbol.tojson())
    next(node for node in graph["nodes"] if node["name"] == "data")["attrs"]["__classes__"] = '["blue", "green", "red"]'
    write_checkpoint("named", 1, json.dumps(graph), checkpoint.arg_params, checkpoint.aux_params)
    make_domain(here / "photos", "red", [0] * 3)
    make_domain(here / "others", "street", [0] * 3)
    note = "photos: its folders are called like classes, which is not looked at"
    found = gather(["named"], target="photos")
    assert any(note in one for one in found.notes) and not found.target.labelled.any()
    assert note not in " ".join(gather(["named"], target="others").notes)
    assert "Give labelled photos as --val, to hear" in said("named", "--target", "photos").stderr


def said(*flags, expect=0):
    return call("choose.py", *flags, cwd=".", expect=expect)


def make_sure(prefix, epoch, times):
    """Multiply the class scores of a checkpoint."""
    checkpoint = load_checkpoint(prefix, epoch)
    for name in ("fc_weight", "fc_bias"):
        checkpoint.arg_params[name] *= times
    write_checkpoint(prefix, epoch, checkpoint.symbol, checkpoint.arg_params, checkpoint.aux_params)


def test_the_command_ranks_chooses_saves_and_tells_the_cost(here):
    """Epoch 2 of jan is made the surest, and the source model, which says the same otherwise, the least sure."""
    good = load_checkpoint("jan", 2)
    write_checkpoint("s0", 1, good.symbol, good.arg_params, good.aux_params)
    make_sure("jan", 2, 30)
    make_sure("s0", 1, 0.01)
    found = said("jan", "--by", "entropy", "--save-prefix", "out/chosen", "--batch-size", 5)
    out = found.stdout
    lines = out.splitlines()
    assert lines[0].split()[:4] == ["network", "rule", "entropy", "source"] and lines[4] == ""
    assert re.match(r" *1  jan:2 +1\.000 +-0\.", lines[1])
    assert "s0:1" in lines[3] and lines[3].endswith("source model")
    assert "Use jan:2." in out and "On 100% of halves of the images, the rule takes it for better than s0:1, the" in out
    assert re.search(r"\d of \d scores take it for better than s0:1, the source model", out)
    cost = re.search(r"By the labels of 16 images of data/val.lst, which the choice did not see: it is right on (.*)%, "
                     r"the source model on (.*)%, the best of all, .*, on (.*)%. It has cost (.*) points.", out)
    right, before, best, points = map(float, cost.groups())
    assert right == before and points == pytest.approx(best - right, abs=0.06)
    saved, expected = load_checkpoint("out/chosen", 2), load_checkpoint("jan", 2)
    assert (saved.arg_params["fc_weight"] == expected.arg_params["fc_weight"]).asnumpy().all()
    assert "the source model was trained on the images" in found.stderr
    make_sure("s0", 1, 1e4)
    kept = said("jan", "--by", "entropy", "--source-model", "s0:1").stdout
    assert "Keep the source model, s0:1." in kept and "the rule takes it for better than jan" in kept


def test_what_is_saved_replaces_no_other_checkpoint(here):
    flags = "jan:2", "--source-model", "s0:1", "--save-prefix", "kept"
    said(*flags)
    epoch, = saved_epochs("kept")
    before = Path(parameter_file("kept", epoch)).read_bytes()
    said(*flags)        # the same
    make_sure("kept", epoch, 2)
    other = Path(parameter_file("kept", epoch)).read_bytes()
    assert "is there and holds other parameters, which would be lost" in said(*flags, expect=2).stderr
    assert Path(parameter_file("kept", epoch)).read_bytes() == other != before


def test_a_copy_of_the_source_model_is_no_worse_and_no_better(here):
    for file in ("s0-symbol.json", "s0-0001.params"):
        shutil.copy(file, file.replace("s0", "copy"))
    out = said("copy", "--source-model", "s0:1").stdout
    assert "Keep the source model, s0:1.\nOn 50% of halves" in out and "No difference: it is as good as copy:1" in out


def test_the_accuracies_are_those_of_evaluate(here):
    found = gather(["jan"])
    seen = choosing.look_at_all(found.candidates, found.target, [mx.cpu()], mixed=False)
    accuracies, number = true_accuracies(found, seen, [mx.cpu()])
    assert number == 16 and len(accuracies) == 3
    for one, mine in zip(found.candidates, accuracies):
        told = call("evaluate.py", "--model", one.prefix, "--epoch", one.epoch, "--lst", "data/val.lst", cwd=".").stdout
        assert re.search(r"\n *accuracy +(.*)%", told)[1] == f"{100 * mine:.2f}"
    # Of other images than the target's, they are computed.
    other = make_domain(here / "data", "other", [0] * 7, seed=9)
    found = gather(["jan"], val=other)
    accuracies, number = true_accuracies(found, seen, [mx.cpu()], most=5)
    assert number == 5
    for one, mine in zip(found.candidates, true_accuracies(found, seen, [mx.cpu()])[0]):
        told = call("evaluate.py", "--model", one.prefix, "--epoch", one.epoch, "--lst", other, cwd=".").stdout
        assert re.search(r"\n *accuracy +(.*)%", told)[1] == f"{100 * mine:.2f}"
    assert true_accuracies(gather(["jan"], target="data/target.lst"), seen, [mx.cpu()]) is None


def test_every_flag_of_the_command_reaches_what_it_names(here, monkeypatch):
    told = {}
    real = choosing.look_at_all

    def look(found, target, devices, source=None, trained=None, **others):
        told.update(others, target=target, source=source, devices=devices)
        return real(found, target, devices, source, trained, **others)

    def choice(found, seen, rule, **others):
        told.update(others, rule=rule)
        return choose(found, seen, rule, **others)

    from transfer_gluon.scores import candidates as looked
    from transfer_gluon.scores import choice as chosen
    monkeypatch.setattr(looked, "look_at_all", look)
    monkeypatch.setattr(chosen, "choose", choice)
    shutil.copytree("data", "more")
    write_list("data/77.lst", [77] * 16, read_list("data/val.lst").files)

    def main(*flags):
        told.clear()
        command.main.main([*map(str, ("jan", *flags))], standalone_mode=False)
        return told

    assert main()["rule"] == rule_by() and told["target"].path.parent.name == "data" and told["seed"] == 0
    assert (told["most_target"], told["most_source"], told["batch_size"], told["threads"]) == (2000, 1000, None, 15)
    main("--data-dir", "more", "--max-images", 10, "--seed", 5, "--by", "entropy", "--batch-size", 3, "--image-shape",
         "3,24,20", "--val-resize", 28, "--data-nthreads", 2)
    assert told["target"].path.parent.name == told["source"].path.parent.name == "more" and told["dtype"] == "float32"
    assert (told["most_target"], told["most_source"], told["seed"]) == (10, 5, 5)
    assert told["rule"].scores == ("entropy",)
    assert (told["batch_size"], told["image_shape"], told["val_resize"], told["threads"]) == (3, (3, 24, 20), 28, 2)
    main("--source", "more/source.lst", "--target", "data/77.lst", "--null-label", 77)
    assert told["source"].path.parent.name == "more" and not told["target"].labelled.any()


def test_lists_with_labels_tell_what_they_are_for(here):
    few = read_list("data/val.lst")
    write_list("data/few.lst", [*few.labels[:6], *[9999] * 10], few.files)
    told = said("jan", "--target", "data/few.lst", "--val", "data/val.lst")
    out = told.stdout
    assert re.search(r"6 target images have labels, which rule out \d of 3 networks. Without, the choice would be", out)
    assert "By the labels of 10 images of data/val.lst, which the choice did not see" in out
    assert "6 images of data/val.lst have labels in data/few.lst that the choice looks at" in told.stderr
    assert gather(["jan"], target="data/few.lst", val="data/val.lst").val.files == few.files[6:]
    assert gather(["jan"], target="data/few.lst", val="data/few.lst").val is not None
    write_list("data/six.lst", few.labels[:6], [f"/.{file}" for file in map(os.path.abspath, few.files[:6])])
    assert gather(["jan"], target="data/few.lst", val="data/six.lst").val is None
    assert "By the labels" not in said("jan", "--target", "data/target.lst").stdout


@pytest.mark.parametrize("flags, problem", [
    (["nothing"], "nothing: no checkpoint of this prefix is there"),
    (["jan:7"], "jan-0007.params: no such checkpoint; of the prefix jan there are the epochs 1, 2"),
    (["jan", "--save-prefix", "/proc/x/y"], "--save-prefix: the folder /proc/x cannot be written"),
    (["jan", "--save-prefix", "jan"], "--save-prefix is jan, a candidate itself"),
    (["jan", "--save-prefix", "dan"], "--save-prefix: the run of dan are there"),
    (["jan", "--by", "luck"], "--by"), (["jan", "--gpu", "0"], "CPU build"), ([], "RUNS"),
    (["jan", "--source-model", "s0"], "--source-model is s0; expected PREFIX:EPOCH"),
    (["jan", "--max-images", "1"], "--max-images"), (["jan", "--seed", "-1"], "--seed"),
    (["jan", "--data-dir", "gone"], "--target names another list")])
def test_bad_input_is_refused(here, flags, problem):
    assert problem in said(*flags, expect=2).stderr
    assert not (here / "out").exists()


def test_networks_of_other_classes_are_refused_by_name(here):
    data = mx.sym.var("data")
    more = mx.sym.SoftmaxOutput(mx.sym.FullyConnected(mx.sym.Flatten(data), num_hidden=5, name="fc"), name="softmax")
    write_checkpoint("five", 1, more, {"fc_weight": mx.nd.ones((5, 768)), "fc_bias": mx.nd.zeros(5)}, {})
    found = said("jan", "five", "--image-shape", "3,16,16", expect=2).stderr
    assert "different numbers of classes" in found and "5 classes: five:1" in found and "3 classes: s0:1" in found


def test_a_network_without_numbers_is_named_and_never_chosen(here):
    checkpoint = load_checkpoint("jan", 2)
    checkpoint.arg_params["fc_weight"][:] = np.nan
    write_checkpoint("jan", 2, checkpoint.symbol, checkpoint.arg_params, checkpoint.aux_params)
    found = said("jan")
    assert re.search(r"- +jan:2 .*out: gives no numbers", found.stdout) and "Use jan:2" not in found.stdout
    assert "jan:2: holds NaN or infinite values, and is not looked at" in found.stderr


def test_five_images_are_enough_for_an_answer(here):
    for count, labels in ((5, [9999] * 5), (1, [9999])):
        few = write_list("data/five.lst", labels, read_list("data/val.lst").files[:count])
        out = said("jan", "--target", few).stdout
        assert "Use jan" in out or "Keep the source model" in out
