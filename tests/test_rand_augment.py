"""RandAugment, against Pillow, which timm calls, and against timm's figures."""
import collections
import itertools
import random

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageFilter, ImageOps
from scipy import ndimage, stats

from transfer_gluon.base.errors import InputError
from transfer_gluon.iters import rand_augment
from transfer_gluon.iters.augmentation import Augmentation, rand_augment_numbers
from transfer_gluon.iters.rand_augment import CHANGES, LOOKUPS, MEASURED_LOOKUPS, RandAugment, argument
from transfer_gluon.iters.random_transform import RandomTransform

FILL = 124, 116, 104
# As timm calls Pillow: https://github.com/rwightman/pytorch-image-models/blob/v0.4.9/timm/data/auto_augment.py
# But for Posterize, which keeps 0 bits at the highest magnitude: newer versions of Pillow refuse that.
PILLOW = dict(
    AutoContrast=lambda image, _: ImageOps.autocontrast(image), Equalize=lambda image, _: ImageOps.equalize(image),
    Invert=lambda image, _: ImageOps.invert(image), Solarize=ImageOps.solarize,
    SolarizeAdd=lambda image, added: image.point([min(255, i + added) if i < 128 else i for i in range(256)] * 3),
    Posterize=lambda image, bits: image.point([i >> (8 - bits) << (8 - bits) for i in range(256)] * 3),
    Brightness=lambda image, factor: ImageEnhance.Brightness(image).enhance(factor),
    Contrast=lambda image, factor: ImageEnhance.Contrast(image).enhance(factor),
    Color=lambda image, factor: ImageEnhance.Color(image).enhance(factor),
    Sharpness=lambda image, factor: ImageEnhance.Sharpness(image).enhance(factor),
    Rotate=lambda image, angle: image.rotate(angle, Image.BILINEAR, fillcolor=FILL),
    ShearX=lambda image, shear: affine(image, (1, shear, 0, 0, 1, 0)),
    ShearY=lambda image, shear: affine(image, (1, 0, 0, shear, 1, 0)),
    TranslateXRel=lambda image, part: affine(image, (1, 0, part * image.size[0], 0, 1, 0)),
    TranslateYRel=lambda image, part: affine(image, (1, 0, 0, 0, 1, part * image.size[1])))
SIGNED = dict(Rotate=30, ShearX=0.3, ShearY=0.3, TranslateXRel=0.45, TranslateYRel=0.45)
FACTORS = "Color", "Contrast", "Brightness", "Sharpness"


def affine(image, matrix):
    return image.transform(image.size, Image.AFFINE, matrix, Image.BILINEAR, fillcolor=FILL)


def images():
    """Noise, smooth colours that do not reach 0 and 255, one grey, two levels."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (40, 52, 3), dtype=np.uint8)
    rough = ndimage.gaussian_filter(rng.uniform(0, 255, (40, 52, 3)), (4, 4, 0), mode="nearest")
    smooth = np.clip((rough - 127) * 7 + (100, 127, 150), 20, 240).astype(np.uint8)
    return dict(noise=noise, smooth=smooth, grey=np.full((40, 52, 3), 77, np.uint8),
                two=np.where(noise < 128, 3, 200).astype(np.uint8))


IMAGES = images()


def done(name, image, value):
    """An operation by itself."""
    if name in CHANGES:
        return CHANGES[name](image, value, FILL)
    table = LOOKUPS[name](value) if name in LOOKUPS else MEASURED_LOOKUPS[name](image, value)
    return rand_augment._looked_up(image, table)


def by_pillow(name, image, value):
    return np.asarray(PILLOW[name](Image.fromarray(image), value))


def test_there_are_timms_fifteen_operations():
    assert {*LOOKUPS, *MEASURED_LOOKUPS, *CHANGES} == set(PILLOW) == set(rand_augment._NAMES) and len(PILLOW) == 15


@pytest.mark.parametrize("image", IMAGES)
@pytest.mark.parametrize("name, values", [
    ("AutoContrast", [None]), ("Equalize", [None]), ("Invert", [None]), ("Posterize", range(5)),
    ("Solarize", [0, 1, 26, 128, 255, 256]), ("SolarizeAdd", [0, 1, 55, 110]),
    ("Brightness", [0.1, 0.37, 1.0, 1.0001, 1.81, 1.9])])
def test_lookups_are_pillows_to_the_byte(name, values, image):
    for value in values:
        np.testing.assert_array_equal(done(name, IMAGES[image], value), by_pillow(name, IMAGES[image], value))


@pytest.mark.parametrize("image", IMAGES)
@pytest.mark.parametrize("name", ["Contrast", "Color", "Sharpness"])
def test_blends_are_pillows_to_one_level(name, image):
    for factor in (0.1, 0.37, 0.9, 1.0, 1.1, 1.55, 1.9):
        found = done(name, IMAGES[image], factor).astype(int)
        wanted = by_pillow(name, IMAGES[image], factor)
        np.testing.assert_allclose(found, wanted, atol=1)
        assert abs((found - wanted).mean()) < 0.2       # and not darker or brighter than Pillow's
        if factor == 1:
            np.testing.assert_array_equal(found, IMAGES[image])


def test_sharpening_is_that_of_the_kernel():
    factor, image = 1.7, IMAGES["smooth"]
    kernel = np.array([[1, 1, 1], [1, 5, 1], [1, 1, 1]]) / 13
    smooth = np.dstack([ndimage.correlate(image[:, :, i].astype(float), kernel) for i in range(3)])
    wanted = np.clip(smooth + factor * (image - smooth), 0, 255)
    found = done("Sharpness", image, factor)
    np.testing.assert_allclose(found[1:-1, 1:-1], wanted[1:-1, 1:-1] - 0.5, atol=1)
    np.testing.assert_array_equal(found[0], image[0])
    np.testing.assert_array_equal(np.asarray(Image.fromarray(image).filter(ImageFilter.SMOOTH))[0], image[0])


@pytest.mark.parametrize("name", SIGNED)
@pytest.mark.parametrize("part", [-1.0, -0.43, 0.0, 0.21, 1.0])
def test_geometric_operations_are_pillows_inside_and_uncover_the_fill(name, part):
    value = part * SIGNED[name]
    found, wanted = (do(name, IMAGES["smooth"], value).astype(int) for do in (done, by_pillow))
    uncovered = ndimage.minimum_filter((wanted == FILL).all(axis=2), 3)
    shown = ndimage.minimum_filter((wanted != FILL).all(axis=2), 3, mode="constant")
    assert (found[uncovered] == FILL).all() and (uncovered.any() or abs(part) < 0.5)
    # OpenCV looks at 1/32 of a pixel.
    np.testing.assert_allclose(found[shown], wanted[shown], atol=2)
    assert shown.mean() > 0.3


@pytest.mark.parametrize("name", SIGNED)
def test_images_move_to_the_side_that_pillow_moves_them_to(name):
    image = np.zeros((41, 41, 3), np.uint8)
    image[16:20, 22:26] = 255
    for value in (SIGNED[name] * 0.9, -SIGNED[name] * 0.9):
        found, wanted = (ndimage.center_of_mass((do(name, image, value)[:, :, 0] > 180).astype(float))
                         for do in (done, by_pillow))
        assert found == pytest.approx(wanted, abs=0.35)


class Signs:
    """Random numbers of which only the sign is asked for."""

    def __init__(self, number):
        self.random = lambda: number


@pytest.mark.parametrize("magnitude", [0, 1.3, 5, 9, 9.99, 10])
def test_what_operations_are_told_are_timms_levels(magnitude):
    part = magnitude / 10
    for sign, rng in ((1, Signs(0.9)), (-1, Signs(0.1))):
        for increasing in (False, True):
            told = {name: argument(name, magnitude, increasing, rng) for name in PILLOW}
            wanted = {name: sign * part * most for name, most in SIGNED.items()}
            wanted.update(AutoContrast=None, Equalize=None, Invert=None, SolarizeAdd=int(part * 110))
            if increasing:
                wanted.update(Posterize=4 - int(part * 4), Solarize=256 - int(part * 256))
                wanted.update({name: 1 + sign * part * 0.9 for name in FACTORS})
            else:
                wanted.update(Posterize=int(part * 4), Solarize=int(part * 256))
                wanted.update({name: part * 1.8 + 0.1 for name in FACTORS})
            assert told == pytest.approx(wanted)


@pytest.mark.parametrize("text, numbers", [
    ("rand-m9-mstd0.5-inc1", (9, 2, 0.5, True)), ("rand", (10, 2, 0, False)), ("rand-n3-m7", (7, 3, 0, False)),
    ("rand-m9-inc0", (9, 2, 0, True)),      # as timm, for which any digit is true
    ("rand-mstd1-m15", (15, 2, 1, False))])
def test_strings_mean_what_they_mean_to_timm(text, numbers):
    assert tuple(rand_augment_numbers(text).values()) == numbers


@pytest.mark.parametrize("text, why", [
    ("rand-m9-w0", "'w0' is none of them"), ("rand-m9-p0.5", "'p0.5' is none"), ("augmix-m3", "begins with 'augmix'"),
    ("", "begins with ''"), ("rand-", "'' is none"), ("rand-m", "'m' has no number"), ("rand-inc", "'inc' has no"),
    ("rand-m9.5", "'m9.5' has no number that m can be"), ("rand-m9-m8", "m comes twice"), ("rand-mstd-1", "'mstd' has"),
    ("rand-mstdinf", "'mstdinf' is none"), ("rand-m9\n", "has no number"), ("rand-m٣", "has no number"),
    ("rand-M9", "'M9' is none")])
def test_a_string_with_an_unknown_part_is_refused_by_the_part(text, why):
    expected = "`aa` is .*expected rand, then any of m9, n2, mstd0.5, inc1, separated by -"
    with pytest.raises(InputError, match=f"{expected}.*{why}") as raised:
        Augmentation(aa=text)
    assert raised.value.parameter == "aa"


def spied(monkeypatch):
    """What operations are done, with what they are told, as a list that grows."""
    seen = []
    for kind in (LOOKUPS, MEASURED_LOOKUPS, CHANGES):
        for name, do in kind.items():
            monkeypatch.setitem(kind, name, lambda *given, name=name, do=do, at=0 if kind is LOOKUPS else 1: (
                seen.append((name, given[at])), do(*given))[1])
    return seen


def test_operations_are_drawn_with_replacement_and_done_every_other_time(monkeypatch):
    seen, counts, twice, rng = spied(monkeypatch), [], 0, random.Random(0)
    augment, image = RandAugment("rand-m9-n2"), IMAGES["noise"]
    for _ in range(2000):
        before = len(seen)
        augment(image, rng)
        counts.append(len(seen) - before)
        twice += counts[-1] == 2 and seen[-1][0] == seen[-2][0]
    assert stats.chisquare(np.bincount(counts, minlength=3), [500, 1000, 500]).pvalue > 0.01
    assert stats.chisquare([*collections.Counter(name for name, _ in seen).values()]).pvalue > 0.01
    assert 12 < twice < 60      # of 500 pairs one in 15
    # None of them changes with a magnitude that has no noise.
    assert {value for name, value in seen if name == "Brightness"} == {0.9 * 1.8 + 0.1}
    assert {value for name, value in seen if name == "Rotate"} == {27.0, -27.0}


def test_magnitudes_are_normal_and_clipped(monkeypatch):
    seen, rng = spied(monkeypatch), random.Random(0)
    augment = RandAugment("rand-m9-mstd0.5-n3")
    for _ in range(3000):
        augment(IMAGES["grey"], rng)
    drawn = np.array([abs(value) / 3 for name, value in seen if name == "Rotate"])
    assert drawn.max() == 10 and abs((drawn == 10).mean() - stats.norm.sf(2)) < 0.03
    assert stats.kstest(drawn[drawn < 9], lambda x: stats.norm.cdf(x, 9, 0.5) / 0.5).pvalue > 0.01
    assert abs(np.mean([value > 0 for name, value in seen if name == "ShearX"]) - 0.5) < 0.1
    seen.clear()
    RandAugment("rand-m0-mstd3-n50")(IMAGES["grey"], rng)
    assert min(value for name, value in seen if name in FACTORS) == pytest.approx(0.1)


def test_lookups_done_as_one_are_those_done_one_after_another(monkeypatch):
    """Whatever the order: the same operations by Pillow, one after another."""
    seen = spied(monkeypatch)
    exact = [*LOOKUPS, "AutoContrast", "Equalize"]
    monkeypatch.setattr(rand_augment, "_NAMES", exact)
    for seed, image in itertools.product(range(60), IMAGES.values()):
        seen.clear()
        found = RandAugment("rand-m8-mstd2-n6-inc1")(image, random.Random(seed))
        for name, value in seen:
            image = by_pillow(name, image, value)
        np.testing.assert_array_equal(found, image)


def test_operations_of_every_kind_are_done_one_after_another_and_once(monkeypatch):
    seen = spied(monkeypatch)
    for seed in range(40):
        image = IMAGES["smooth"]
        seen.clear()
        found = RandAugment("rand-m8-mstd2-n6-inc1")(image, random.Random(seed))
        for name, value in list(seen):
            image = done(name, image, value)
        np.testing.assert_array_equal(found, image)


@pytest.mark.parametrize("mode, dtype", [("original", np.float32), ("bytes", np.uint8)])
def test_it_comes_after_the_mirror_and_instead_of_jitter_and_noise(mode, dtype):
    image, text = IMAGES["smooth"], "rand-m9-mstd0.5-inc1"
    plain = RandomTransform(Augmentation(random_crop=False, jitter=0.0, pca_noise=0.0, mode=mode), 32, 32)
    transform = RandomTransform(Augmentation(random_crop=False, aa=text, mode=mode), 32, 32)
    changed = 0
    for seed in range(30):
        rng = random.Random(seed)
        cropped = plain(image, rng)
        found = transform(image, random.Random(seed))
        assert found.dtype == dtype
        np.testing.assert_array_equal(found, RandAugment(text)(cropped.astype(np.uint8), rng))
        changed += (found != cropped).any()
    assert 15 < changed < 30


def test_images_stay_as_they_were_for_who_holds_them():
    image = IMAGES["noise"].copy()
    for seed in range(50):
        RandAugment("rand-m9-n3")(image, random.Random(seed))
    np.testing.assert_array_equal(image, IMAGES["noise"])


def test_what_is_uncovered_has_imagenets_mean_colour(monkeypatch):
    monkeypatch.setattr(rand_augment, "_NAMES", ("Rotate",))
    found = RandAugment("rand-m10-n9")(np.zeros((40, 40, 3), np.uint8), random.Random(1))
    assert found[0, 0].tolist() == list(FILL)


@pytest.mark.parametrize("name", [*SIGNED, *FACTORS])
def test_either_sign_is_as_likely(name):
    rng = random.Random(2)
    drawn = [argument(name, 10, True, rng) - (name in FACTORS) for _ in range(2000)]
    assert stats.binomtest(sum(value > 0 for value in drawn), 2000).pvalue > 0.01
    assert min(drawn) == pytest.approx(-max(drawn))
