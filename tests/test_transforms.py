"""What happens to one image between the file and the network."""
import itertools
import math
import random

import cv2
import numpy as np
import pytest
from scipy import ndimage, stats

from transfer_gluon.base.errors import InputError
from transfer_gluon.base.framework import mx
from transfer_gluon.iters import Augmentation
from transfer_gluon.iters.augmentation import training_size, validation_size
from transfer_gluon.iters.random_transform import RandomTransform, jittered, random_box
from transfer_gluon.iters.transforms import Box, centre_crop, resized_part, square_centre_crop

PLAIN = dict(random_crop=False, random_mirror=False, jitter=0.0, pca_noise=0.0)


class Extreme:
    """Instead of random numbers, the largest of those that could be drawn."""

    def random(self):
        return 0.0

    def uniform(self, low, high):
        return high

    def gauss(self, mean, deviation):
        return mean + deviation

    def randrange(self, count):
        return count - 1

    def choice(self, choices):
        return choices[0]


def smooth(height, width, seed=0):
    """An image that interpolation changes little."""
    noise = np.random.default_rng(seed).uniform(0, 255, (height, width, 3))
    blurred = ndimage.gaussian_filter(noise, (6, 6, 0), mode="nearest")
    return np.clip((blurred - 127) * 8 + 127, 0, 255).astype(np.uint8)


def transformed(image, rng, side=40, **changes):
    return RandomTransform(Augmentation(**{**PLAIN, **changes}), side, side)(image, rng).astype(float)


@pytest.mark.parametrize("height, width", [(480, 640), (427, 640), (100, 300), (1080, 1920), (375, 500), (45, 45)])
def test_parts_are_resized_as_if_the_whole_had_been(height, width):
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    size = 512 * width // height, 512
    whole = cv2.resize(image, size, interpolation=cv2.INTER_CUBIC).astype(float)
    for box in (Box(0, 0, *size), Box(0, 0, 9, 9), Box(size[0] - 100, 212, 100, 300), Box(201, 17, 111, 97)):
        wanted = whole[box.top:box.top + box.height, box.left:box.left + box.width]
        np.testing.assert_allclose(resized_part(image, size, box).astype(float), wanted, atol=1)


def test_strips_do_not_grow_out_of_memory():
    strip = np.zeros((3, 40000, 3), np.uint8)
    for prepare in (centre_crop(320, 320), lambda image: RandomTransform(Augmentation(), 320, 320)(image, Extreme())):
        with pytest.raises(InputError, match="40000 × 3 pixels, which would be [0-9]+ × (360|512) when resized"):
            prepare(strip)


@pytest.mark.parametrize("shape", [(45, 60), (60, 45), (30, 30), (100, 301)])
def test_without_random_changes_images_are_those_of_validation(shape):
    image = smooth(*shape)
    wanted = centre_crop(40, 40)(image)
    np.testing.assert_array_equal(transformed(image, random.Random(0)), wanted)
    mirrored = transformed(image, Extreme(), random_mirror=True)
    np.testing.assert_array_equal(mirrored, wanted[:, ::-1])


def test_nearly_nothing_warps_to_nearly_the_same():
    image = smooth(60, 80)
    wanted = centre_crop(40, 40)(image).astype(float)
    for change in (dict(max_random_shear_ratio=1e-9), dict(max_random_aspect_ratio=1e-9),
                   dict(max_random_scale=1.000001), dict(pad_size=3)):
        np.testing.assert_allclose(transformed(image, Extreme(), **change), wanted, atol=1)


def test_a_quarter_turn_is_exact():
    image = smooth(36, 36)
    turned = transformed(image, Extreme(), 32, max_random_rotate_angle=90)
    np.testing.assert_allclose(turned, np.rot90(centre_crop(32, 32)(image)), atol=1)


@pytest.mark.parametrize("scale", [0.5, 2.0])
def test_scale_is_about_the_middle_and_uncovers_the_fill(scale):
    image = smooth(45, 45)
    scaled = transformed(image, Extreme(), min_random_scale=0.1, max_random_scale=scale, fill_value=7)
    size = round(45 * scale)
    wanted = cv2.resize(image, (size, size), interpolation=cv2.INTER_CUBIC).astype(float)
    if scale > 1:
        np.testing.assert_allclose(scaled, wanted[25:65, 25:65], atol=2)
    else:
        assert (scaled[:8] == 7).all() and (scaled[:, -8:] == 7).all()
        np.testing.assert_allclose(scaled[12:28, 12:28], wanted[3:19, 3:19], atol=8)    # 22.5 pixels are not 22


def test_shear_and_aspect_move_what_they_should():
    image = np.zeros((45, 45, 3), np.uint8)
    image[:, 20:25] = 255           # an upright bar, 5 wide
    sheared = transformed(image, Extreme(), max_random_shear_ratio=0.5, fill_value=0)[:, :, 0]
    centres = [np.average(np.arange(40), weights=row) for row in sheared[5:35]]
    np.testing.assert_allclose(np.diff(centres), 0.5, atol=0.15)
    narrow = transformed(image, Extreme(), max_random_aspect_ratio=0.5, fill_value=0)[20, :, 0]
    assert narrow.sum() / 255 == pytest.approx(5 / 1.25, abs=0.3)     # width × 2 / (1 + 1.5)


def test_padding_is_around_what_crops_choose_from():
    image, rng = np.zeros((64, 64, 3), np.uint8), random.Random(0)
    borders = [transformed(image, rng, random_crop=True, pad_size=10).max() for _ in range(50)]
    assert {0, 255} == set(borders) and np.mean(borders) > 127
    assert transformed(image, rng, random_crop=True).max() == 0


@pytest.mark.parametrize("width, height", [(682, 512), (512, 910)])
def test_boxes_are_those_of_the_paper(width, height):
    rng = random.Random(1)
    boxes = [random_box(width, height, 0.08, (3 / 4, 4 / 3), rng) for _ in range(2000)]
    area = np.array([box.width * box.height for box in boxes if box]) / (width * height)
    aspect = np.array([box.width / box.height for box in boxes if box])
    assert area.min() > 0.078 and area.max() <= 1 and 0.73 < aspect.min() and aspect.max() < 1.36
    assert all(0 <= box.left <= width - box.width and 0 <= box.top <= height - box.height for box in boxes if box)
    small = area < 0.4          # all of these fit
    assert stats.kstest(area[small], "uniform", (0.08, 0.32)).pvalue > 0.01
    logarithm = np.log(aspect[small]) / math.log(4 / 3)
    assert stats.kstest(logarithm, "uniform", (-1, 2)).pvalue > 0.01


def test_where_no_box_fits_the_largest_middle_is_taken():
    assert random_box(10, 1000, 0.9, (3 / 4, 4 / 3), random.Random(0)) is None
    image = np.zeros((10, 1000, 3), np.uint8)
    image[:, 490:510] = 255
    assert transformed(image, Extreme(), random_crop=True, min_random_area=1.0).mean() > 200


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0), (1, 0, 2)])
def test_jitter_in_one_step_is_that_of_the_steps(order):
    rng = np.random.default_rng(3)
    colours, factors = rng.uniform(0, 255, (50, 3)), rng.uniform(0.6, 1.4, 3)
    weights = np.array([0.299, 0.587, 0.114])
    wanted = colours
    for kind in order:
        grey = {0: 0.0, 1: (wanted @ weights).mean(), 2: (wanted @ weights)[:, None]}[kind]
        wanted = factors[kind] * wanted + (1 - factors[kind]) * grey
    own, grey, offset = jittered(order, factors, colours.mean(axis=0) @ weights)
    np.testing.assert_allclose(own * colours + grey * (colours @ weights)[:, None] + offset, wanted, rtol=1e-12)


def test_colours_are_rounded_and_kept_in_range():
    image = smooth(45, 45)
    wanted = centre_crop(40, 40)(image) * 1.4
    grey = (wanted @ [0.299, 0.587, 0.114])
    wanted = 1.4 * wanted - 0.4 * grey.mean()
    wanted = 1.4 * wanted - 0.4 * (wanted @ [0.299, 0.587, 0.114])[:, :, None]
    found = transformed(image, Extreme(), jitter=0.4, mode="bytes")
    # OpenCV's coefficients have 10 bits behind the point.
    np.testing.assert_allclose(found, np.clip(wanted, 0, 255), atol=0.5 + 3 * 255 / 2**11)
    noise = transformed(image, Extreme(), pca_noise=0.1, mode="bytes") - centre_crop(40, 40)(image)
    wanted = 0.1 * np.array([-0.5675 * 55.46 + 0.7192 * 4.794 + 0.4009 * 1.148,
                             -0.5808 * 55.46 - 0.0045 * 4.794 - 0.8140 * 1.148,
                             -0.5836 * 55.46 - 0.6948 * 4.794 + 0.4203 * 1.148])
    np.testing.assert_allclose(np.median(noise, axis=(0, 1)), wanted, atol=0.51)


def mxnets_colours(image, seed, monkeypatch):
    """An image (height, width, 3) with the colours that the augmenters of `mx.image` give it, one after another, in
    float32, by the random numbers that `RandomTransform` draws from a seed when it does not mirror."""
    rng = random.Random(seed)
    factors = [rng.uniform(-0.4, 0.4) for _ in range(3)]
    order = rng.choice(list(itertools.permutations(range(3))))
    noise = [rng.gauss(0, 0.1) for _ in range(3)]
    augmenters = [mx.image.BrightnessJitterAug(0.4), mx.image.ContrastJitterAug(0.4), mx.image.SaturationJitterAug(0.4)]
    pixels = mx.nd.array(image, dtype="float32")
    for kind in order:
        monkeypatch.setattr("mxnet.image.image.random.uniform", lambda low, high, kind=kind: factors[kind])
        pixels = augmenters[kind](pixels)
    monkeypatch.setattr("mxnet.image.image.np.random.normal", lambda *_, size: np.array(noise))
    lighting = mx.image.CreateAugmenter((3, 40, 40), pca_noise=0.1)[-1]
    pixels = lighting(pixels).asnumpy()
    monkeypatch.undo()
    return pixels


@pytest.mark.parametrize("mode", ["original", "bytes"])
@pytest.mark.parametrize("seed", range(8))
def test_colours_are_those_of_mxnets_augmenters(mode, seed, monkeypatch):
    image = np.full((45, 45, 3), 255, np.uint8)         # a drawing on white: much of it leaves the range of bytes
    image[10:20, 10:30] = smooth(10, 20)
    wanted = mxnets_colours(centre_crop(40, 40)(image), seed, monkeypatch)
    transform = RandomTransform(Augmentation(**{**PLAIN, "jitter": 0.4, "pca_noise": 0.1, "mode": mode}), 40, 40)
    found = transform(image, random.Random(seed))
    if mode == "original":
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=2e-4)
    else:
        assert found.dtype == np.uint8
        # Rounded to bytes, and by coefficients that have 10 bits behind the point.
        np.testing.assert_allclose(found, np.clip(wanted, 0, 255), atol=0.5 + 3 * 255 / 2**11)


def test_colours_of_the_original_are_not_clipped():
    white = np.full((45, 45, 3), 255, np.uint8)
    assert transformed(white, Extreme(), jitter=0.4, mode="original").max() == pytest.approx(1.4 * 255, abs=1e-3)
    assert transformed(white, Extreme(), jitter=0.4, mode="bytes").max() == 255
    black = transformed(0 * white, Extreme(), pca_noise=0.1, mode="original")
    assert black.max() < 0 and transformed(0 * white, Extreme(), pca_noise=0.1, mode="bytes").max() == 0


@pytest.mark.parametrize("change", [dict(), dict(random_crop=True), dict(random_mirror=True), dict(pad_size=3),
                                    dict(max_random_h=90)])
def test_modes_differ_in_colours_only(change):
    floats, rounded = (transformed(smooth(45, 60), random.Random(2), mode=mode, **change)
                       for mode in ("original", "bytes"))
    np.testing.assert_array_equal(floats, rounded)


def test_an_unknown_mode_is_refused():
    with pytest.raises(InputError, match="`mode` is 'floats'; expected one of original, bytes"):
        Augmentation(mode="floats")


@pytest.mark.parametrize("crop, training, validation", [(320, 512, 360), (20, 32, 22), (16, 25, 18), (299, 478, 336)])
def test_sizes_are_truncated_as_the_originals(crop, training, validation):
    assert (training_size(crop), validation_size(crop)) == (training, validation)


@pytest.mark.parametrize("height, width", [(16, 32), (32, 16), (20, 20)])
def test_adabn_images_are_those_of_the_original(height, width):
    """Resized as float32, all of it, to 1.125 × height and width, and then cut out."""
    image = np.random.default_rng(0).integers(0, 256, (45, 60, 3), dtype=np.uint8)
    size = int(1.125 * width), int(1.125 * height)
    whole = cv2.resize(np.float32(image), size, interpolation=cv2.INTER_CUBIC)
    left, top = (size[0] - width) // 2, (size[1] - height) // 2
    found = square_centre_crop(height, width)(image)
    assert found.dtype == np.float32 and found.shape == (height, width, 3)
    np.testing.assert_allclose(found, whole[top:top + height, left:left + width], atol=1e-3)
    assert found.max() > 255 and found.min() < 0


def test_hue_is_a_circle_and_lightness_and_saturation_are_moved():
    image = smooth(45, 45)
    plain = centre_crop(40, 40)(image).astype(float)
    np.testing.assert_allclose(transformed(image, Extreme(), max_random_h=180), plain, atol=6)   # HLS has 8 bits
    grey = np.full((45, 45, 3), 100, np.uint8)
    assert (transformed(grey, Extreme(), max_random_h=90) == 100).all()
    assert transformed(grey, Extreme(), max_random_l=50) == pytest.approx(150, abs=1)
    assert (transformed(image, Extreme(), max_random_l=255) == 255).all()
    red = np.zeros((45, 45, 3), np.uint8)
    red[:, :, 0] = 200
    green = transformed(red, Extreme(), max_random_h=60)[0, 0]
    np.testing.assert_allclose(green, (0, 200, 0), atol=2)
    pale = np.full((45, 45, 3), (120, 100, 100), np.uint8)
    assert np.ptp(transformed(pale, Extreme(), max_random_s=100)[0, 0]) > 60


def figures(image):
    """Of a training image: brightness, contrast, colourfulness, grain (which tells the scale), tilt to one side,
    reddishness, the part of it that is brighter than white."""
    image = np.asarray(image, float)
    grey = image @ [0.299, 0.587, 0.114]
    return grey.mean(), grey.std(), np.ptp(image, axis=2).mean(), cv2.Laplacian(grey, cv2.CV_64F).std(), \
        grey[:, :20].mean() - grey[:, 20:].mean(), image[:, :, 0].mean() - image[:, :, 2].mean(), \
        (image > 255).mean()


@pytest.mark.parametrize("mode", ["original", "bytes"])
def test_training_images_are_distributed_as_the_originals(mode):
    """The original read by `mx.image`, whose augmenters are called here as its `ImageIter` calls them."""
    image, draws = smooth(90, 120), 400
    image = cv2.add(image, np.random.default_rng(0).integers(0, 25, image.shape, dtype=np.uint8))
    image = cv2.add(image, np.full_like(image, 60))
    transform, rng = RandomTransform(Augmentation(mode=mode), 40, 40), random.Random(0)
    ours = [figures(transform(image, rng)) for _ in range(draws)]
    random.seed(0)
    np.random.seed(0)
    augmenters = mx.image.CreateAugmenter((3, 40, 40), resize=64, rand_crop=True, rand_resize=True, rand_mirror=True,
                                          brightness=0.4, contrast=0.4, saturation=0.4, pca_noise=0.1, inter_method=2)

    def augmented():
        array = mx.nd.array(image, dtype="uint8")
        for augmenter in augmenters:
            array = augmenter(array)
        values = array.asnumpy()
        return figures(values if mode == "original" else np.clip(values, 0, 255))

    theirs = [augmented() for _ in range(draws)]
    names = "mean", "contrast", "colour", "grain", "side", "red", "white"
    for name, found, wanted in zip(names, zip(*ours), zip(*theirs)):
        assert stats.ks_2samp(found, wanted).pvalue > 0.01, name
    assert (np.array(ours)[:, 6].mean() > 0.05) == (mode == "original")


def test_boxes_have_the_area_and_the_aspect_that_were_asked_for(monkeypatch):
    assert Augmentation(max_random_aspect_ratio=0.25).aspects == pytest.approx((0.6, 5 / 3))
    drawn = []
    monkeypatch.setattr("transfer_gluon.iters.random_transform.random_box", lambda *given: drawn.append(given[2:4]))
    for change in {}, dict(pad_size=1):
        transformed(smooth(60, 80), random.Random(0), random_crop=True, min_random_area=0.5,
                    max_random_aspect_ratio=0.25, **change)
    assert drawn == [(0.5, pytest.approx((0.6, 5 / 3)))] * 2
