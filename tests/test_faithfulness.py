"""What docs/faithfulness.md says of reading, beside what the original's reader, `mx.image.ImageIter`, does."""
import cv2
import numpy as np
import pytest
from conftest import make_domain

from transfer_gluon.base.errors import InputError
from transfer_gluon.base.framework import mx
from transfer_gluon.checkpoints.checkpoint import Checkpoint
from transfer_gluon.iters import Augmentation, OrderedIter, ShuffledIter, read_list
from transfer_gluon.iters.transforms import centre_crop

SHAPE = (3, 16, 16)


@pytest.fixture
def images(tmp_path):
    """18 images whose labels are all different, to tell them apart."""
    return read_list(make_domain(tmp_path, "source", list(range(18)), suffix=".png"))


def originals(images, shape=SHAPE, **others):
    """The original's reader of a list, in batches of 4."""
    return mx.image.ImageIter(4, shape, path_imglist=str(images.path), path_root="", resize=int(1.125 * shape[1]),
                              **others)


def ours(images, **others):
    return OrderedIter(images, 4, centre_crop(*SHAPE[1:]), **others)


def labels(batches):
    return np.concatenate([batch.label[0].asnumpy() for batch in batches]).astype(int).tolist()


def test_square_images_are_prepared_for_validation_as_by_the_original(images):
    for found, wanted in zip(ours(images), originals(images)):
        n = found.data[0].shape[0]
        # MXNet has an OpenCV of its own, whose cubic interpolation rounds differently here and there.
        np.testing.assert_allclose(found.data[0].asnumpy().astype(float), wanted.data[0].asnumpy()[:n], atol=1)


def test_wide_crops_fit_into_the_resized_image(images):
    """The original takes the height for both sides: 18 pixels of which a crop 32 wide must be enlarged."""
    image = cv2.imread(images.files[0])[:, :, ::-1]
    theirs = originals(images, (3, 16, 32)).next().data[0].asnumpy()[0].transpose(1, 2, 0)
    small = cv2.resize(image, (18, 18), interpolation=cv2.INTER_CUBIC)[4:13]
    np.testing.assert_allclose(theirs, cv2.resize(small, (32, 16), interpolation=cv2.INTER_CUBIC), atol=2)
    whole = cv2.resize(image, (36, 36), interpolation=cv2.INTER_CUBIC)[10:26, 2:34]
    np.testing.assert_allclose(centre_crop(16, 32)(image).astype(float), whole, atol=1)


def test_validation_counts_every_image_once(images):
    """The original fills the last batch up, and counts what fills it."""
    network = mx.sym.FullyConnected(mx.sym.flatten(mx.sym.Variable("data")), num_hidden=18)
    module, theirs = mx.mod.Module(mx.sym.SoftmaxOutput(network, name="softmax")), originals(images)
    module.bind(theirs.provide_data, theirs.provide_label, for_training=False)
    module.init_params()
    accuracy = mx.metric.Accuracy()
    module.score(theirs, accuracy)
    assert accuracy.num_inst == 20
    assert labels(ours(images)) == list(range(18))


def test_workers_share_every_epoch_anew(images):
    """Those of the original read the same part of the list in every epoch, and drop what is left of the division."""
    theirs = originals(images, num_parts=4, part_index=1, shuffle=True)
    assert {label for _ in range(3) for label in (theirs.reset(), labels(theirs))[1]} == {4, 5, 6, 7}
    worker = ShuffledIter(images, 4, SHAPE, Augmentation(mode="original"), num_parts=4, part_index=1)
    seen = set()
    for _ in range(12):
        seen.update(labels(worker))
        worker.reset()
    assert seen == set(range(18))


def test_an_index_that_stands_twice_is_refused(images):
    """The original shows the second of the two images twice."""
    lines = images.path.read_text().splitlines()
    images.path.write_text("\n".join([lines[0], lines[1].replace("1\t", "0\t", 1)]) + "\n")
    assert labels(originals(images)) == [1, 1, 1, 1]
    with pytest.raises(InputError, match="line 2: index 0 stands in line 1 already"):
        read_list(images.path)


def test_only_the_new_classifier_is_drawn():
    """The original's stage 0 draws all parameters that have 'fc' in their names, those of fc6 and fc7 in a VGG too."""
    symbol = mx.sym.FullyConnected(mx.sym.flatten(mx.sym.Variable("data")), num_hidden=5, name="fc6")
    weights = {"fc6_weight": mx.nd.random.normal(shape=(5, 48)), "fc6_bias": mx.nd.random.normal(shape=5)}
    features = Checkpoint("vgg", symbol, weights, {}).features("fc6")
    features.initialize()
    images = mx.nd.random.uniform(shape=(2, 3, 4, 4))
    wanted = mx.nd.dot(images.reshape((2, 48)), weights["fc6_weight"].T) + weights["fc6_bias"]
    error = np.abs(features(images).asnumpy() - wanted.asnumpy()).max()
    assert error < 1e-5 * np.abs(wanted.asnumpy()).max()        # sums of terms that nearly cancel round otherwise
