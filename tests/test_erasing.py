"""Random erasing: where, how often, and what comes there."""
import random

import numpy as np
import pytest
from scipy import stats

from transfer_gluon.base.errors import InputError
from transfer_gluon.iters import erasing
from transfer_gluon.iters.augmentation import Augmentation
from transfer_gluon.iters.erasing import RandomErasing
from transfer_gluon.iters.random_transform import RandomTransform

# Of ImageNet, from 0 to 255.
MEAN, DEVIATION = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


def erased(probability=1.0, mode="const", shape=(60, 80), seed=0, dtype=np.float32):
    """A black image with a hole, and where the hole is: top, bottom, left, right; None where there is none."""
    image = RandomErasing(probability, mode)(np.full((*shape, 3), -500 if dtype == np.float32 else 0, dtype),
                                             random.Random(seed))
    rows, columns = (np.flatnonzero((image != image.min()).any(axis=axes)) for axes in ((1, 2), (0, 2)))
    return image, (rows[0], rows[-1] + 1, columns[0], columns[-1] + 1) if len(rows) else None


def test_holes_are_rectangles_of_the_area_and_aspect_of_the_paper():
    area, aspect, middle = [], [], []
    for seed in range(1500):
        image, (top, bottom, left, right) = erased(shape=(200, 150), seed=seed)
        hole = image[top:bottom, left:right]
        assert (hole != -500).all() and (image != -500).sum() == hole.size
        height, width = hole.shape[:2]
        area.append(height * width / 30000)
        aspect.append(height / width)
        middle.append((top / (200 - height), left / (150 - width)))
    assert 0.019 < min(area) and max(area) < 0.34 and 0.28 < min(aspect) and max(aspect) < 3.6
    area, aspect, middle = np.array(area), np.array(aspect), np.array(middle)
    narrow = (aspect > 0.7) & (aspect < 1.4)        # all of these fit
    assert stats.kstest(area[narrow], "uniform", (0.02, 1 / 3 - 0.02)).pvalue > 0.01
    small = area < 0.1
    most = np.log(1 / 0.3)
    assert stats.kstest(np.log(aspect[small]), "uniform", (-most, 2 * most)).pvalue > 0.01
    for places in middle[small].T:
        assert stats.kstest(places, "uniform").pvalue > 0.01


@pytest.mark.parametrize("probability", [0.25, 0.9])
def test_as_many_images_have_a_hole_as_were_asked_for(probability):
    holes = sum(erased(probability, seed=seed)[1] is not None for seed in range(1000))
    assert stats.binomtest(holes, 1000, probability).pvalue > 0.01


def test_the_mean_colour_is_that_of_imagenet():
    image, (top, bottom, left, right) = erased()
    np.testing.assert_allclose(image[top:bottom, left:right], np.broadcast_to(
        MEAN, (bottom - top, right - left, 3)), rtol=1e-6)
    image, (top, bottom, left, right) = erased(dtype=np.uint8)
    assert (image[top:bottom, left:right] == (124, 116, 104)).all()


def test_a_random_colour_is_one_for_all_of_the_hole_and_normal():
    colours = []
    for seed in range(500):
        image, (top, bottom, left, right) = erased(mode="rand", seed=seed)
        hole = image[top:bottom, left:right]
        assert (hole == hole[0, 0]).all()
        colours.append(hole[0, 0])
    normalised = (np.array(colours) - MEAN) / DEVIATION
    for channel in normalised.T:
        assert stats.kstest(channel, "norm").pvalue > 0.01
    assert abs(np.corrcoef(normalised.T)[np.triu_indices(3, 1)]).max() < 0.15
    assert np.min(colours) < 0 and np.max(colours) > 255        # floats are not clipped


def test_noise_is_normal_in_every_pixel_and_other_in_every_image():
    holes = []
    for seed in range(10):
        image, (top, bottom, left, right) = erased(mode="pixel", seed=seed)
        holes.append(((image[top:bottom, left:right] - MEAN) / DEVIATION).reshape(-1, 3))
    for channel in np.concatenate(holes)[:5000].T:
        assert stats.kstest(channel, "norm").pvalue > 0.01
    first = [((image[hole[0], hole[2]] - MEAN) / DEVIATION)[0] for image, hole in (
        erased(mode="pixel", seed=seed) for seed in range(300))]
    assert stats.kstest(first, "norm").pvalue > 0.01
    np.testing.assert_array_equal(erased(mode="pixel", seed=3)[0], erased(mode="pixel", seed=3)[0])


@pytest.mark.parametrize("mode", ["const", "rand", "pixel"])
def test_bytes_are_the_floats_rounded_and_kept_in_range(mode):
    for seed in range(20):
        (floats, hole), (found, _) = (erased(mode=mode, seed=seed, dtype=dtype) for dtype in (np.float32, np.uint8))
        top, bottom, left, right = hole
        assert found.dtype == np.uint8
        np.testing.assert_array_equal(found[top:bottom, left:right],
                                      np.clip(np.rint(floats[top:bottom, left:right]), 0, 255))


def test_where_ten_rectangles_do_not_fit_nothing_is_erased():
    assert erased(shape=(1, 500))[1] is None
    drawn = []

    class Counted(random.Random):
        def uniform(self, low, high):
            drawn.append((low, high))
            return super().uniform(low, high)

    RandomErasing(1.0)(np.zeros((1, 500, 3), np.float32), Counted(0))
    assert len(drawn) == 20 and drawn[0] == (0.02, 1 / 3) and drawn[1] == pytest.approx((np.log(0.3), -np.log(0.3)))


@pytest.mark.parametrize("mode, dtype", [("original", np.float32), ("bytes", np.uint8)])
def test_training_images_are_erased_last(mode, dtype):
    image = np.random.default_rng(0).integers(0, 256, (45, 60, 3), dtype=np.uint8)
    with_holes, without = (RandomTransform(Augmentation(mode=mode, reprob=reprob, remode=remode), 40, 40)
                           for reprob, remode in ((1.0, "pixel"), (0.0, "const")))
    rng = random.Random(1)
    wanted = RandomErasing(1.0, "pixel")(without(image, rng), rng)
    found = with_holes(image, random.Random(1))
    assert found.dtype == dtype and (found != without(image, random.Random(1))).any()
    np.testing.assert_array_equal(found, wanted)


def test_what_cannot_be_is_refused():
    for wrong in (dict(reprob=1.5), dict(reprob=-0.1), dict(remode="noise")):
        with pytest.raises(InputError, match=f"`{next(iter(wrong))}` is .*expected"):
            Augmentation(**wrong)
    for wrong, name in ((dict(probability=1.5), "probability"), (dict(probability=1.0, mode="noise"), "mode")):
        with pytest.raises(InputError, match=f"`{name}` is .*expected"):
            RandomErasing(**wrong)
    np.testing.assert_allclose(erasing.MEAN, MEAN)
    np.testing.assert_allclose(erasing.DEVIATION, DEVIATION)


@pytest.mark.parametrize("dtype", [np.float32, np.uint8])
def test_tiny_images_are_erased_in_place(dtype):
    erased = 0
    for seed in range(300):
        rng = random.Random(seed)
        whole = np.full((rng.randint(1, 9), rng.randint(4, 12), 3), 7, dtype)
        image = whole[:, 2:-1]
        assert RandomErasing(1.0, "pixel")(image, rng) is image
        erased += (image != 7).any()
        assert (whole[:, :2] == 7).all() and (whole[:, -1] == 7).all()
    assert erased > 100


def test_no_hole_reaches_from_edge_to_edge():
    holes = [erased(shape=(20, 60), seed=seed)[1] for seed in range(300)]
    heights = [bottom - top for top, bottom, _, _ in filter(None, holes)]
    assert len(heights) > 250 and 17 < max(heights) < 20
