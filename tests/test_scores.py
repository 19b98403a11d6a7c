"""Scores without target labels against their formulas in float64, and what they look at."""
import dataclasses
import itertools
import json

import numpy as np
import pytest
from conftest import make_domain

from transfer_gluon.base.errors import DivergedError, InputError
from transfer_gluon.base.framework import mx
from transfer_gluon.checkpoints.checkpoint import load_checkpoint, write_checkpoint
from transfer_gluon.inference.classifier import inference_block
from transfer_gluon.iters import OrderedIter, SyntheticIter, prepared, read_list, write_list
from transfer_gluon.scores import SCORES, Candidate, Score, Seen, find_candidates, look, look_at_all, score
from transfer_gluon.scores import candidates as candidates_module
from transfer_gluon.scores.common_part import Together, features_and_logits, groups
from transfer_gluon.scores.density_ratio import controlled_risk
from transfer_gluon.scores.seen import SHARE, sample
from transfer_gluon.symbols import JMMDLoss, MMDLoss

RNG = np.random.default_rng(5)


def softmax(logits):
    e = np.exp(np.asarray(logits, np.float64))
    return e / e.sum(axis=1, keepdims=True)


def some_seen(seed=0, n=24, m=24, classes=4, d=6, **others):
    """Random numbers for everything that there may be."""
    rng = np.random.default_rng(seed)
    made = dict(target_logits=(n, classes), target_features=(n, d), source_logits=(m, classes), source_features=(m, d),
                trained_features=(m, d), mixed_logits=(n, classes))
    values = {name: rng.normal(size=shape).astype(np.float32) for name, shape in made.items()}
    return Seen(**{**values, "source_labels": np.arange(m) % classes, "mixed_shares": np.full(n, SHARE),
                   "mixed_pairs": np.stack([np.arange(n), np.arange(n)[::-1]], axis=1), **others})


def of_probabilities(p, **others):
    """Seen whose class probabilities for the target are these."""
    p = np.asarray(p, np.float64)
    return Seen(np.log(np.maximum(p, 1e-30)), np.zeros((len(p), 2)), **others)


def test_infomax_and_entropy_are_what_their_formulas_give_by_hand():
    sure = of_probabilities([[1, 0], [0, 1]])
    assert score("infomax")(sure) == pytest.approx(np.log(2))
    assert score("entropy")(sure) == pytest.approx(0, abs=1e-12)
    one_class = of_probabilities([[1, 0], [1, 0]])
    assert score("infomax")(one_class) == pytest.approx(0, abs=1e-12)
    assert score("entropy")(one_class) == pytest.approx(0, abs=1e-12)
    unsure = of_probabilities([[0.5, 0.5], [0.5, 0.5]])
    assert score("infomax")(unsure) == pytest.approx(0, abs=1e-12)
    assert score("entropy")(unsure) == pytest.approx(-np.log(2))
    mixed = of_probabilities([[0.9, 0.1], [0.3, 0.7]])
    entropies = [-0.9 * np.log(0.9) - 0.1 * np.log(0.1), -0.3 * np.log(0.3) - 0.7 * np.log(0.7)]
    of_mean = -0.6 * np.log(0.6) - 0.4 * np.log(0.4)
    assert score("infomax")(mixed) == pytest.approx(of_mean - np.mean(entropies), rel=1e-12)
    assert score("entropy")(mixed) == pytest.approx(-np.mean(entropies), rel=1e-12)


def test_the_nuclear_norm_is_the_sum_of_singular_values_for_an_image():
    # P = I for two images: singular values 1 and 1; all in one class: one, sqrt(2).
    assert score("nuclear_norm")(of_probabilities([[1, 0], [0, 1]])) == pytest.approx(1)
    assert score("nuclear_norm")(of_probabilities([[1, 0], [1, 0]])) == pytest.approx(np.sqrt(2) / 2)
    seen = some_seen()
    p = softmax(seen.target_logits)
    assert score("nuclear_norm")(seen) == pytest.approx(np.sqrt(np.linalg.eigvalsh(p.T @ p)).sum() / len(p), rel=1e-6)


def test_class_ami_tells_whether_predictions_are_the_clusters():
    labels = np.arange(60) % 3
    features = np.eye(3)[labels] * 10 + np.random.default_rng(0).normal(0, 0.1, (60, 3))
    logits = np.eye(3)[labels] * 5
    assert score("class_ami")(Seen(logits, features)) == pytest.approx(1)
    other = np.eye(3)[np.random.default_rng(1).permutation(labels)] * 5
    assert abs(score("class_ami")(Seen(other, features))) < 0.15
    assert np.isnan(score("class_ami")(Seen(logits[:2], features[:2])))


def test_the_neighbourhood_is_the_entropy_of_similarities():
    seen = some_seen(n=700)
    p = softmax(seen.target_logits)
    f = p / np.sqrt((p**2).sum(axis=1, keepdims=True))
    found = 0
    for i in range(len(f)):
        e = np.exp(np.delete(f @ f[i], i) / 0.05)
        q = e / e.sum()
        found -= (q * np.log(q)).sum() / len(f)
    assert score("neighbourhood")(seen) == pytest.approx(found, rel=1e-9)
    assert score("neighbourhood")(of_probabilities([[0.5, 0.5]] * 5)) == pytest.approx(np.log(4))
    assert np.isnan(score("neighbourhood")(of_probabilities([[0.5, 0.5]] * 2)))


def test_the_discrepancies_are_those_of_the_transfer_losses():
    seen = some_seen(n=32, m=32)
    features = mx.nd.array(np.concatenate([seen.source_features, seen.target_features]))
    logits = mx.nd.array(np.concatenate([seen.source_logits, seen.target_logits]))
    of_features = MMDLoss(estimate="quadratic")(features).asscalar()
    assert score("mmd")(seen) == pytest.approx(-of_features, abs=1e-5)
    joint = JMMDLoss(estimate="quadratic")(features, logits).asscalar()
    assert score("jmmd")(seen) == pytest.approx(-joint, abs=1e-5) and abs(joint - of_features) > 1e-3


def test_discrepancies_of_unequal_numbers_of_images_follow_gretton():
    seen = some_seen(n=7, m=11)
    rows = np.concatenate([seen.source_features, seen.target_features]).astype(np.float64)
    distance = ((rows[:, None] - rows) ** 2).sum(axis=2)
    g = distance.sum() / (18 * 17)
    k = sum(np.exp(-distance / (g * scale)) for scale in (0.25, 0.5, 1, 2))

    def mean(first, second):
        pairs = [k[i, j] for i, j in itertools.product(first, second) if i != j]
        return sum(pairs) / len(pairs)

    source, target = range(11), range(11, 18)
    expected = mean(source, source) + mean(target, target) - 2 * mean(source, target)
    assert score("mmd")(seen) == pytest.approx(-expected, rel=1e-9)
    assert np.isnan(score("mmd")(some_seen(n=1)))


def test_the_a_distance_is_0_for_one_domain_and_2_for_two():
    seen = some_seen(n=300, m=300)
    assert score("a_distance")(seen) > -0.3
    apart = dataclasses.replace(seen, target_features=seen.target_features + 20)
    assert score("a_distance")(apart) == -2
    # One image in four of each domain lies on the other's side: 2 (1 - 2 · 0.25) = 1.
    rows = np.repeat([[0.0], [1.0]], 200, axis=0)
    swapped = rows.copy()
    swapped[::4] = 1 - swapped[::4]
    seen = Seen(np.zeros((200, 2)), swapped[200:], np.zeros((200, 2)), swapped[:200], np.zeros(200))
    assert score("a_distance")(seen) == pytest.approx(-1, abs=1e-9)
    assert np.isnan(score("a_distance")(some_seen(n=1)))


def test_the_controlled_risk_follows_its_formula():
    weights, losses = RNG.uniform(0, 3, 50), RNG.uniform(0, 2, 50)
    weighted = [w * one for w, one in zip(weights, losses)]
    mean_l, mean_w = sum(weighted) / 50, sum(weights) / 50
    covariance = sum((one - mean_l) * (w - mean_w) for one, w in zip(weighted, weights)) / 49
    eta = -covariance / (sum((w - mean_w) ** 2 for w in weights) / 49)
    assert controlled_risk(weights, losses) == pytest.approx(mean_l + eta * mean_w - eta, rel=1e-12)
    assert controlled_risk(np.ones(3), np.array([1.0, 2, 3])) == 2


def test_deep_embedded_validation_weighs_source_images_that_look_like_the_target():
    """Half of the source lies where the target does. A network that is right there is better than one that is right
    elsewhere, though both are right of as many source images; the true risk of the target is that of this half."""
    rng = np.random.default_rng(3)
    near, far = rng.normal(1, 1, (400, 1)), rng.normal(-1, 1, (400, 1))
    features, labels = np.concatenate([near, far]), np.arange(800) % 2
    trained = np.concatenate([rng.normal(1, 1, (400, 1)), rng.normal(-1, 1, (400, 1))])

    def seen(right):
        logits = np.eye(2)[labels] * np.where(right, 3, -3)[:, None]
        return Seen(np.zeros((400, 2)), rng.normal(1, 1, (400, 1)), logits, features, labels, trained)

    like_target = np.arange(800) < 400
    good, bad = score("dev")(seen(like_target)), score("dev")(seen(~like_target))
    assert good > bad + 1
    loss = [np.log(1 + np.exp(-3)), np.log(1 + np.exp(3))]
    assert score("dev")(seen(np.ones(800, bool))) == pytest.approx(-loss[0], rel=1e-6)
    assert -loss[1] < good < -loss[0]


def test_deep_embedded_validation_learns_from_trained_images_and_is_unbiased_by_numbers():
    seen = some_seen(n=200, m=60)
    assert score("dev")(seen) != score("dev")(dataclasses.replace(seen, trained_features=None))
    # Twice the same target images: the ratio of the numbers makes up for it.
    twice = dataclasses.replace(seen, target_features=np.repeat(seen.target_features, 2, axis=0),
                                target_logits=np.repeat(seen.target_logits, 2, axis=0))
    assert score("dev")(twice) == pytest.approx(score("dev")(seen), rel=0.05)


def mixed_seen(said, of_mixtures, pairs, shares=None):
    return Seen(np.eye(3)[said], np.zeros((len(said), 2)), mixed_logits=np.eye(3)[of_mixtures],
                mixed_pairs=np.array(pairs), mixed_shares=np.full(len(pairs), SHARE) if shares is None else shares)


def test_mixval_counts_mixtures_of_one_class_and_of_two():
    # Predicted of the images: 0 0 1 2. Pairs of one class: (0, 1), (1, 0); of two: the others; (3, 3) is no mixture.
    pairs = [(0, 1), (1, 0), (2, 3), (3, 2), (0, 2), (3, 3)]
    seen = mixed_seen([0, 0, 1, 2], [0, 1, 1, 1, 1, 0], pairs)
    mixval = score("mixval")
    assert mixval.probes(seen) == [1 / 2, 1 / 3] and mixval(seen) == pytest.approx(5 / 12)
    turned = mixed_seen([0, 0, 1, 2], [0, 1, 1, 1, 1, 0], pairs, shares=np.full(6, 0.45))
    assert mixval.probes(turned) == [1 / 2, 2 / 3]      # then the second image is the larger part
    without = mixed_seen([0, 1], [0, 0], [(0, 1), (1, 0)])
    assert np.isnan(mixval.probes(without)[0]) and mixval(without) == 1 / 2
    better = mixed_seen([0, 0, 1, 2], [0, 0, 1, 1, 1, 0], pairs)        # by the first kind, equal by the second
    assert mixval.of_all([seen, better]).tolist() == [0.25, 0.75]


def test_the_ensemble_is_the_mean_of_probabilities():
    first = of_probabilities([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]])
    second = of_probabilities([[0.4, 0.6], [0.3, 0.7], [0.1, 0.9]])
    # Mean: 0.65, 0.45, 0.15 for class 0, so 0, 1, 1.
    assert score("ensemble").of_all([first, second]).tolist() == pytest.approx([2 / 3, 2 / 3])
    third = of_probabilities([[0.9, 0.1], [0.1, 0.9], [0.1, 0.9]])
    assert score("ensemble").of_all([first, second, third]).tolist() == pytest.approx([2 / 3, 2 / 3, 1])
    broken = Seen(np.full((3, 2), np.nan), np.zeros((3, 2)))
    found = score("ensemble").of_all([first, broken, second])
    assert np.isnan(found[1]) and found[[0, 2]].tolist() == pytest.approx([2 / 3, 2 / 3])
    assert score("ensemble")(first) == 1 and np.isnan(score("ensemble")(broken))


def test_the_guards_are_accuracy_and_total_variation():
    seen = Seen(np.eye(3)[[0, 0, 0, 1]], np.zeros((4, 2)), np.eye(3)[[0, 1, 1]], np.zeros((3, 2)), np.array([0, 1, 2]))
    assert score("source_accuracy")(seen) == pytest.approx(2 / 3)
    # Predicted 3/4, 1/4, 0; there 1/3 each: |5/12| + |-1/12| + |-1/3|, halved.
    assert score("class_shares")(seen) == pytest.approx(-5 / 12)


@pytest.mark.parametrize("name", SCORES)
def test_every_score_is_a_number_nan_where_something_is_missing_and_named(name):
    """A target of one predicted class and one of five images give numbers or NaN, and raise nothing."""
    asked, seen = score(name), some_seen()
    assert asked.name == name and isinstance(asked, Score)
    other = some_seen(1)
    found = asked.of_all([seen, other])
    assert found.dtype == np.float64 and found.shape == (2,) and np.isfinite(found).all()
    needed = {"source": ("source_logits", "source_features", "source_labels"), "mixed": ("mixed_logits",)}
    for part, names in needed.items():
        less = dataclasses.replace(seen, **dict.fromkeys(names))
        assert np.isnan(asked.of_all([less])[0]) == (part in asked.needs)
    broken = dataclasses.replace(seen, target_logits=np.full_like(seen.target_logits, np.nan))
    assert np.isnan(asked.of_all([other, broken])[1])
    with np.errstate(all="raise", under="ignore"):
        one_class = dataclasses.replace(seen, target_logits=np.tile([[9.0, 0, 0, 0]], (24, 1)))
        assert asked.of_all([one_class, seen]).shape == (2,)
        assert asked.of_all([some_seen(n=5), some_seen(1, n=5)]).shape == (2,)
    labelled = dataclasses.replace(seen, target_labels=np.zeros(24, np.int64))
    assert asked.of_all([labelled, other]).tolist() == found.tolist()       # no score looks at them


def test_unknown_scores_are_refused_and_own_ones_registered(monkeypatch):
    with pytest.raises(InputError, match="`score` is 'accuracy'; expected one of infomax"):
        score("accuracy")

    class Mine(Score):
        name = "mine"

    monkeypatch.setitem(SCORES, "mine", Mine)
    assert isinstance(score("mine"), Mine)


# What is looked at.

@pytest.fixture
def lists(data):
    return {name: read_list(data / f"{name}.lst") for name in ("source", "target", "val")}


def changed(prefix, to, seed, *names):
    """A checkpoint with noise on the parameters that begin with these names, as epoch 1 of a prefix of its own."""
    checkpoint, rng = load_checkpoint(prefix, 1), np.random.default_rng(seed)
    values = [{name: value + mx.nd.array(rng.uniform(0, 0.1, value.shape)) if name.startswith(names) else value
               for name, value in given.items()} for given in (checkpoint.arg_params, checkpoint.aux_params)]
    write_checkpoint(to, 1, checkpoint.symbol, *values)
    return Candidate(str(to), 1)


def directly(candidate, images):
    """Features and class scores of a checkpoint, without any of our devices, groups and batches."""
    checkpoint = candidate.load()
    net = inference_block(features_and_logits(checkpoint.symbol).symbol(), checkpoint, mx.cpu())
    batch = OrderedIter(images, len(images), prepared(16, 16), 2).next().data[0].astype("float32")
    return [part.asnumpy().reshape(len(images), -1) for part in (*net(batch), net(SHARE * batch + (
        1 - SHARE) * mx.nd.reverse(batch, axis=0))[1])]


def test_a_network_is_looked_at_through_its_features_and_scores(stage0, lists):
    candidate = Candidate(str(stage0), 1)
    net = inference_block(features_and_logits(candidate.load().symbol).symbol(), candidate.load(), mx.cpu())

    def batches(name):
        return OrderedIter(lists[name], 16, prepared(16, 16), 2)

    seen = look(net, batches("val"), [mx.cpu()], batches("source"), batches("source"))
    features, logits, mixed = directly(candidate, lists["val"])
    assert features.shape == (16, 64)
    np.testing.assert_allclose(seen.target_features, features, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(seen.target_logits, logits, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(seen.mixed_logits, mixed, rtol=1e-4, atol=1e-4)
    assert seen.mixed_pairs.tolist() == [[i, 15 - i] for i in range(16)]
    assert set(seen.mixed_shares) == {np.float32(SHARE)}
    assert seen.target_labels.tolist() == lists["val"].labels.tolist()
    assert seen.source_labels.tolist() == lists["source"].labels.tolist()
    np.testing.assert_allclose(seen.trained_features, directly(candidate, lists["source"])[0], rtol=1e-5, atol=1e-6)
    bare = look(net, batches("target"), [mx.cpu()], mixed=False)
    assert bare.target_labels is None and bare.parts == set()


def test_source_images_without_a_label_are_left_out(stage0, lists):
    net, source = load_checkpoint(stage0, 1).classifier("flatten0", 3, (3, 16, 16)), lists["source"]
    net.initialize()

    def seen(labels, **others):
        return look(net, *(OrderedIter(images, 8, prepared(16, 16)) for images in (lists["target"],)), [mx.cpu()],
                    OrderedIter(dataclasses.replace(source, labels=labels), 8, prepared(16, 16)), mixed=False, **others)

    whole, places = seen(source.labels), np.arange(24)
    for null_label in 9999, 77, 1:
        some = seen(np.where(places % 5, source.labels, null_label), null_label=null_label)
        known = some.source_labels != null_label
        assert known.all() and len(known) == (places % 5 * (source.labels != null_label) > 0).sum()
    some = seen(np.where(places % 5, source.labels, 77))
    np.testing.assert_array_equal(some.source_logits, whole.source_logits[places % 5 > 0])
    np.testing.assert_array_equal(some.source_features, whole.source_features[places % 5 > 0])
    assert seen(np.full(24, 9999)).parts == set()


def test_a_network_that_gives_no_numbers_is_told():
    with pytest.raises(DivergedError, match="mine: class scores of 4 of 4 images are NaN"):
        look(lambda images: (images, images[:, :, 0, 0] * np.nan), SyntheticIter(4, (3, 2, 2), 3, num_images=4),
             [mx.cpu()], name="mine")


def test_candidates_are_looked_at_as_if_alone_and_share_what_they_have_in_common(stage0, lists, tmp_path, monkeypatch):
    """Two networks that differ in their classifier, two in their last batch normalisation: the part below is computed
    once; one that differs from its first layer on is alone."""
    candidates = [changed(stage0, tmp_path / "model" / name, place, *parts) for place, (name, parts) in enumerate({
        "a": ("fc_",), "b": ("fc_",), "c": ("bn1_",), "d": ("bn1_", "fc_"), "e": ("conv0", "fc_")}.items())]
    made, read = [], []
    monkeypatch.setattr(candidates_module, "Together", lambda graph, checkpoints, *others: made.append(
        Together(graph, checkpoints, *others)) or made[-1])
    monkeypatch.setattr(candidates_module, "OrderedIter", lambda images, *others: read.append(images) or OrderedIter(
        images, *others))
    seen = look_at_all(candidates, lists["val"], [mx.cpu(0), mx.cpu(1)], lists["source"], batch_size=16)
    assert [len(one._above) for one in made] == [4, 1] and [one._below is None for one in made] == [False, True]
    assert len(read) == 4       # the lists of target and source, for either group
    lower = set(made[0]._below.collect_params())
    assert "conv0_weight" in lower and not [name for name in lower if name.startswith(("bn1_", "fc_"))]
    target = read[0]
    assert sorted(target.files) == sorted(lists["val"].files) and target.files != lists["val"].files
    for candidate, one in zip(candidates, seen):
        features, logits, mixed = directly(candidate, target)
        np.testing.assert_allclose(one.target_features, features, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(one.target_logits, logits, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(one.mixed_logits, mixed, rtol=1e-4, atol=1e-4)
        assert one.target_labels.tolist() == target.labels.tolist()
        np.testing.assert_allclose(one.source_logits, directly(candidate, read[1])[1], rtol=1e-4, atol=1e-5)
    assert len({one.target_logits.tobytes() for one in seen}) == 5


def test_networks_above_their_common_part_are_held_a_few_at_a_time(stage0, tmp_path, monkeypatch):
    from transfer_gluon.scores import common_part
    candidates = [changed(stage0, tmp_path / "model" / str(place), place, "fc_") for place in range(5)]
    values = [common_part.Values.of(one.load()) for one in candidates]
    graph = features_and_logits(candidates[0].load().symbol)
    assert groups(graph, values) == [[0, 1, 2, 3, 4]]
    assert values[0].differing(*values[1:]) == {"fc_weight", "fc_bias"}
    monkeypatch.setattr(common_part, "_HELD", 2 * (64 * 3 + 3))
    assert groups(graph, values) == [[0, 1], [2, 3], [4]]
    assert groups(graph, [values[0]] * 3) == [[0, 1, 2]]        # networks that are the same


def test_equal_candidates_are_looked_at_too(stage0, lists, tmp_path):
    candidate = Candidate(str(stage0), 1)
    one, other = look_at_all([candidate, changed(stage0, tmp_path / "model" / "a", 0)], lists["target"], [mx.cpu()])
    assert one.target_logits.tolist() == other.target_logits.tolist()
    np.testing.assert_allclose(one.target_features, directly(candidate, lists["target"])[0][np.array(
        [lists["target"].files.index(file) for file in sample(lists["target"], 2000).files])], rtol=1e-4, atol=1e-5)


def test_a_candidate_that_holds_no_numbers_stops_no_other(stage0, lists, tmp_path):
    """Neither NaN among the parameters, nor finite ones that give infinite scores."""
    candidates = [changed(stage0, tmp_path / "model" / name, 0, "fc_") for name in "ab"]
    for candidate, value in zip(candidates, (np.nan, 3e38)):
        checkpoint = candidate.load()
        checkpoint.arg_params["fc_weight"][:] = value
        write_checkpoint(candidate.prefix, 1, checkpoint.symbol, checkpoint.arg_params, checkpoint.aux_params)
    seen = look_at_all([candidates[0], Candidate(str(stage0), 1), candidates[1]], lists["target"], [mx.cpu()],
                       lists["source"])
    for name in SCORES:
        found = score(name).of_all(seen)
        assert np.isnan(found[[0, 2]]).all(), name
    assert np.isfinite(score("ensemble").of_all(seen)[1])


def test_samples_are_drawn_by_their_seed_and_keep_the_few_labels(lists):
    images = lists["target"]
    some = sample(images, 7, seed=1)
    assert len(some) == 7 and some.files != sample(images, 7, seed=2).files
    assert some.files == sample(images, 7, seed=1).files
    few = dataclasses.replace(images, labels=np.where(np.arange(16) < 3, 1, images.labels))
    for seed in range(3):
        assert sample(few, 4, seed).labelled.sum() == 3
    assert len(sample(lists["val"], 5)) == 5 and len(sample(images, 99)) == 16
    for one, label in zip(some.indices, some.labels):
        assert images.labels[images.indices.tolist().index(one)] == label


def test_as_many_images_are_looked_at_as_are_asked_for(stage0, lists):
    seen, = look_at_all([Candidate(str(stage0), 1)], lists["val"], [mx.cpu()], lists["source"], lists["source"],
                        most_target=9, most_source=6, mixed=False, seed=3)
    assert [len(seen.target_logits), len(seen.source_logits), len(seen.trained_features)] == [9, 6, 6]
    assert seen.target_labels.tolist() == sample(lists["val"], 9, 3).labels.tolist()
    assert seen.mixed_logits is None


def test_candidates_of_different_networks_are_compared_where_classes_agree(stage0, lists, tmp_path):
    data = mx.sym.var("data")
    small = mx.sym.SoftmaxOutput(mx.sym.FullyConnected(mx.sym.Flatten(data), num_hidden=3, name="fc"), name="softmax")
    write_checkpoint(tmp_path / "model" / "flat", 2, small, {"fc_weight": mx.nd.ones((3, 768)) * 1e-3,
                                                         "fc_bias": mx.nd.zeros(3)}, {})
    other = Candidate(str(tmp_path / "model" / "flat"), 2)
    seen = look_at_all([other, Candidate(str(stage0), 1)], lists["target"], [mx.cpu()], image_shape=(3, 16, 16))
    assert [one.target_features.shape[1] for one in seen] == [768, 64]
    more = mx.sym.SoftmaxOutput(mx.sym.FullyConnected(mx.sym.Flatten(data), num_hidden=5, name="fc"), name="softmax")
    values = {"fc_weight": mx.nd.ones((5, 768)), "fc_bias": mx.nd.zeros(5)}
    write_checkpoint(tmp_path / "model" / "more", 1, more, values, {})
    with pytest.raises(InputError, match="(?s)different numbers of classes.*3 classes: .*s0:1.*5 classes: .*more:1"):
        look_at_all([Candidate(str(stage0), 1), Candidate(str(tmp_path / "model" / "more"), 1)], lists["target"],
                    [mx.cpu()], image_shape=(3, 16, 16))


def test_candidates_whose_classes_have_other_names_are_refused(stage0, lists, tmp_path):
    def called(name, *classes):
        checkpoint = load_checkpoint(stage0, 1)
        graph = json.loads(checkpoint.symbol.tojson())
        next(node for node in graph["nodes"] if node["name"] == "data")["attrs"]["__classes__"] = json.dumps(classes)
        write_checkpoint(tmp_path / name, 1, json.dumps(graph), checkpoint.arg_params, checkpoint.aux_params)
        return Candidate(str(tmp_path / name), 1, name)

    first, second = called("first", "cat", "dog", "hen"), called("second", "cat", "hen", "dog")
    unknown = Candidate(str(stage0), 1)
    with pytest.raises(InputError, match="class 1 is dog to first, and hen to second: the candidates cannot be"):
        look_at_all([unknown, first, second], lists["target"], [mx.cpu()])
    assert len(look_at_all([unknown, first, called("third", "cat", "dog", "hen")], lists["target"], [mx.cpu()])) == 3


def test_five_images_and_a_target_of_one_class_are_judged(stage0, tmp_path):
    few = read_list(make_domain(tmp_path, "few", [1] * 5))
    seen = look_at_all(find_candidates([stage0]), few, [mx.cpu()], few)
    assert all(score(name).of_all(seen).shape == (1,) for name in SCORES)
    assert np.isfinite(score("infomax").of_all(seen)).all()


def test_candidates_are_all_epochs_of_a_prefix_or_one(stage0):
    checkpoint = load_checkpoint(stage0, 1)
    write_checkpoint(stage0, 12, checkpoint.symbol, checkpoint.arg_params, checkpoint.aux_params)
    found = find_candidates([stage0, f"{stage0}:12"])
    assert [(one.prefix, one.epoch) for one in found] == [(str(stage0), 1), (str(stage0), 12)]
    assert str(found[1]) == f"{stage0}:12" and str(Candidate("x", 1, "JAN")) == "JAN"
    with pytest.raises(InputError, match="s0-0003.params: no such checkpoint; of the prefix .* the epochs 1, 12"):
        find_candidates([f"{stage0}:3"])
    with pytest.raises(InputError, match="nothing: no checkpoint of this prefix is there; expected .*nothing-0001"):
        find_candidates(["nothing"])


def test_images_that_are_not_there_are_named(stage0, lists, tmp_path):
    lost = read_list(write_list(tmp_path / "lost.lst", [0], ["nowhere.jpg"]))
    with pytest.raises(InputError, match="nowhere.jpg cannot be used"):
        look_at_all(find_candidates([stage0]), lost, [mx.cpu()])
    wrong = dataclasses.replace(lists["source"], labels=np.full(24, 7))
    with pytest.raises(InputError, match="has the labels 7, and .*s0:1 has 3 classes"):
        look_at_all(find_candidates([stage0]), lists["target"], [mx.cpu()], wrong)
