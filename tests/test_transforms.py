"""What happens to one image between the file and the network."""
import itertools
import math
import random

import cv2
import numpy as np
import pytest
from conftest import make_domain
from scipy import ndimage, stats

from transfer_gluon.base.errors import InputError
from transfer_gluon.base.framework import mx
from transfer_gluon.iters import Augmentation, RecordIter, ShuffledIter, read_list
from transfer_gluon.iters.augmentation import training_size, validation_size
from transfer_gluon.iters.random_transform import RandomTransform, jittered, random_box
from transfer_gluon.iters.transforms import Box, centre_crop, prepared, resized_part, square_centre_crop
from transfer_gluon.records import pack
from transfer_gluon.training.stages import Stage

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


def cubic(image, width, height):
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC).astype(float)


def test_numbers_are_drawn_as_before_there_were_other_crops():
    """Runs of earlier versions go on with the same pixels."""
    class Noted:
        def __getattr__(self, name):
            names.append(name)
            return getattr(rng, name)

    names, rng = [], random.Random(0)
    RandomTransform(Augmentation(), 40, 40)(smooth(60, 80), Noted())
    crop, mirror, jitter = "uniform uniform randrange randrange", "random", "uniform uniform uniform choice"
    assert names == f"{crop} {mirror} {jitter} gauss gauss gauss".split()


@pytest.mark.parametrize("shape", [(60, 80), (80, 60), (200, 90)])
@pytest.mark.parametrize("resize", [None, 64])
def test_a_plain_crop_is_a_part_of_the_networks_size_anywhere_in_the_image(shape, resize):
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    side = resize or 45
    whole = cubic(image, side * shape[1] // min(shape), side * shape[0] // min(shape))
    parts = np.lib.stride_tricks.sliding_window_view(whole, (40, 40, 3))[:, :, 0]
    given = Augmentation(**{**PLAIN, "random_crop": True}, crop="plain", train_resize=resize)
    transform = RandomTransform(given, 40, 40)
    rng, places = random.Random(0), []
    for _ in range(300):
        found = transform(image, rng)
        # The first pixels tell where it may be from; resizing a part is to one level resizing the whole.
        near = abs(parts[:, :, :4, :4] - found[:4, :4]).max(axis=(2, 3, 4)) <= 1
        place, = (tuple(place) for place in np.argwhere(near))
        np.testing.assert_allclose(found, parts[place], atol=1)
        places.append(place)
    for axis, count in enumerate(parts.shape[:2]):
        drawn = [place[axis] for place in places]
        assert min(drawn) <= count * 0.1 and max(drawn) >= count * 0.9 - 1
        assert np.mean(drawn) == pytest.approx((count - 1) / 2, abs=0.2 * count ** 0.5 + 0.06 * count)


def test_a_plain_crop_of_an_image_that_is_too_small_is_resized():
    image = smooth(60, 120)
    transform = RandomTransform(Augmentation(**{**PLAIN, "random_crop": True}, crop="plain", train_resize=20), 40, 40)
    rng, whole = random.Random(0), cubic(image, 40, 20)
    wanted = [cubic(whole[:, left:left + 20], 40, 40) for left in range(21)]
    lefts = [np.argmin([abs(transform(image, rng) - one).max() for one in wanted]) for _ in range(40)]
    assert min(lefts) < 4 and max(lefts) > 16
    with pytest.raises(InputError, match="`train_resize` is 39; expected at least 40, the longer side of the crop"):
        RandomTransform(Augmentation(random_crop=False, train_resize=39), 20, 40)


def test_images_are_first_resized_to_the_side_that_is_asked_for(monkeypatch):
    image, sizes = smooth(60, 80), []
    monkeypatch.setattr("transfer_gluon.iters.random_transform.random_box", lambda *given: sizes.append(given[:2]))
    for resize, change in ((96, {}), (None, {}), (50, dict(pad_size=0, max_random_rotate_angle=1))):
        transformed(image, random.Random(0), random_crop=True, train_resize=resize, **change)
    assert sizes == [(128, 96), (85, 64), (66, 50)]
    np.testing.assert_array_equal(transformed(image, random.Random(0), train_resize=50), prepared(40, 40, 50)(image))


@pytest.mark.parametrize("shape", [(60, 80), (33, 100), (40, 40)])
def test_squeezed_images_are_whole_and_lose_their_aspect(shape):
    image = smooth(*shape)
    wanted = cubic(image, 52, 40)
    np.testing.assert_array_equal(prepared(40, 52, "squeeze")(image), wanted)
    squeezed = RandomTransform(Augmentation(**PLAIN, train_resize="squeeze"), 40, 52)
    np.testing.assert_array_equal(squeezed(image, random.Random(0)), wanted)
    turned = RandomTransform(Augmentation(**PLAIN, train_resize="squeeze", max_random_rotate_angle=90), 40, 40)
    np.testing.assert_allclose(turned(image, Extreme()), np.rot90(cubic(image, 40, 40)), atol=2)


@pytest.mark.parametrize("side", [40, 41, 64])
def test_validation_images_are_resized_to_the_side_that_is_asked_for(side):
    image = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    whole = cubic(image, side * 120 // 90, side)
    left, top = (whole.shape[1] - 32) // 2, (side - 40) // 2
    np.testing.assert_allclose(prepared(40, 32, side)(image), whole[top:top + 40, left:left + 32], atol=1)


def test_the_usual_rule_is_that_of_the_original():
    image = smooth(90, 120)
    np.testing.assert_array_equal(prepared(40, 32)(image), prepared(40, 32, 45)(image))
    np.testing.assert_array_equal(prepared(40, 32)(image), centre_crop(40, 32)(image))


@pytest.mark.parametrize("height, width", [(40, 32), (32, 40)])
def test_a_validation_side_shorter_than_the_crop_is_refused(height, width):
    with pytest.raises(InputError, match="`val_resize` is 39; expected at least 40, the longer side of the crop, or "
                       "squeeze"):
        prepared(height, width, 39)


def test_what_leaves_nothing_to_choose_is_refused_with_random_crops():
    with pytest.raises(InputError, match="`train_resize` is squeeze.*`random_crop` 0"):
        Augmentation(train_resize="squeeze")
    for wrong in ("stretch", 0, 1.5, 10_001, True, (224,)):
        with pytest.raises(InputError, match="`train_resize` is .*a whole number from 1 to 10000, or squeeze"):
            Augmentation(train_resize=wrong)
    with pytest.raises(InputError, match="`crop` is 'centre'; expected one of resized, plain"):
        Augmentation(crop="centre")


def test_mxnets_reader_takes_the_same_plain_crops_and_refuses_what_it_cannot_do(tmp_path):
    images = read_list(make_domain(tmp_path, "source", list(range(18))))
    pack(images, progress=False)
    given = Augmentation(**{**PLAIN, "random_crop": True}, crop="plain", train_resize=20, mode="bytes")
    for batches in (kind(images, 18, (3, 16, 16), given, 2) for kind in (RecordIter, ShuffledIter)):
        batch, places = batches.next(), set()
        for pixels, label in zip(batch.data[0].asnumpy(), batch.label[0].asnumpy()):
            whole = resized(images.files[int(label)], 20)
            parts = np.lib.stride_tricks.sliding_window_view(whole, (16, 16, 3))[:, :, 0]
            near = abs(parts - pixels.transpose(1, 2, 0).astype(float)).max(axis=(2, 3, 4))
            assert near.min() <= 2      # MXNet has an OpenCV of its own
            places.add(np.unravel_index(near.argmin(), near.shape))
        assert len(places) > 6
    for change, name in ((dict(aa="rand-m9"), "aa"), (dict(reprob=0.5), "reprob"),
                         (dict(train_resize="squeeze", random_crop=False), "train_resize")):
        why = f"`{name}` is .*, which MXNet's reader cannot do; read by another"
        with pytest.raises(InputError, match=why) as error:
            RecordIter(images, 4, (3, 16, 16), Augmentation(**change))
        assert error.value.parameter == name


def resized(file, side):
    image = cv2.imread(file, cv2.IMREAD_COLOR_RGB)
    return cubic(image, side * image.shape[1] // min(image.shape[:2]), side * image.shape[0] // min(image.shape[:2]))


@pytest.mark.parametrize("change", [dict(aa="rand-m9-mstd0.5-inc1"), dict(reprob=0.7, remode="pixel"),
                                    dict(reprob=0.7, remode="rand"), dict(crop="plain", train_resize=20),
                                    dict(random_crop=False, train_resize="squeeze")])
def test_pixels_depend_on_seed_epoch_and_index_and_not_on_threads(tmp_path, change):
    images = read_list(make_domain(tmp_path, "source", list(range(18))))

    def pixels(threads, seed=3, epoch=2, skipped=0):
        batches = ShuffledIter(images, 6, (3, 16, 16), Augmentation(**change), threads, seed)
        batches.set_epoch(epoch)
        batches.skip(skipped)
        return {label: image for batch in batches for label, image in
                zip(batch.label[0].asnumpy(), batch.data[0].asnumpy())}

    wanted = pixels(1)
    assert len(wanted) == 18
    for found in (pixels(2), pixels(5), pixels(2, skipped=1)):
        assert all((found[label] == wanted[label]).all() for label in found) and len(found) in (12, 18)
    for others in (pixels(1, seed=4), pixels(1, epoch=3)):
        assert sum((others[label] != wanted[label]).any() for label in wanted) > 4


@pytest.mark.parametrize("change, why", [
    (dict(remode="rand"), "`remode` was given without `reprob`"),
    (dict(crop="plain", random_crop=False), "`crop` was given with `random_crop` 0"),
    (dict(crop="plain", min_random_area=0.5), "`min_random_area` was given with `crop` plain"),
    (dict(aa="rand-m9", jitter=0.3), "`jitter` was given beside `aa`"),
    (dict(aa="rand-m9", pca_noise=0.0), "`pca_noise` was given beside `aa`"),
    (dict(max_random_aspect_ratio=0.2, fill_value=3), "`fill_value` was given without padding")])
def test_choices_that_do_nothing_beside_others_are_refused(change, why):
    with pytest.raises(InputError, match=f"{why}.*does nothing"):
        Stage(0, 3, augmentation=Augmentation(**change))
    Stage(0, 3, augmentation=Augmentation(crop="plain", max_random_aspect_ratio=0.2, fill_value=3))


def test_a_network_that_is_no_square_gets_a_crop_by_its_longer_side():
    image = np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8)
    transform = RandomTransform(Augmentation(random_crop=False, random_mirror=False, jitter=0.0, pca_noise=0.0), 20, 40)
    np.testing.assert_array_equal(transform(image, random.Random(0)), centre_crop(20, 40)(image))
