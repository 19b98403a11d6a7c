"""A network, run over the images of an iterator."""
import numpy as np
import pytest

from transfer_gluon.base.errors import DivergedError
from transfer_gluon.base.framework import mx
from transfer_gluon.inference import evaluate, outputs, predict
from transfer_gluon.iters import EpochIter


class Rows(EpochIter):
    """Images whose one number is their place, labelled by it, in their order; the last batch filled up or smaller."""

    def __init__(self, count, batch_size, filled_up=False):
        self._filled_up = filled_up
        super().__init__(batch_size, (1, 1, 1), count, -(-count // batch_size))

    def read(self, epoch, batch):
        places = np.arange(batch * self.batch_size, (batch + 1) * self.batch_size)
        pad = int((places >= self.num_images).sum())
        places = places if self._filled_up else places[:self.batch_size - pad]
        read = self.batch_of(places.reshape(-1, 1, 1, 1), places, places.tolist())
        read.pad = pad if self._filled_up else 0
        return read


def scores_of(images):
    """Class scores by which image i is of class i modulo 3, most clearly, and of (i + 1) modulo 3 next."""
    place = images.reshape((-1, 1))
    wanted = mx.nd.arange(3, ctx=images.context).reshape((1, -1))
    return -((wanted - place) % 3)


@pytest.mark.parametrize("filled_up", [False, True])
@pytest.mark.parametrize("count, devices, batch_size", [(11, 1, 4), (11, 3, 4), (9, 3, 4), (8, 2, 4), (2, 3, 4)])
def test_devices_share_every_batch_and_nothing_fills_it_up(count, devices, batch_size, filled_up):
    devices, seen = [mx.cpu(i) for i in range(devices)], []

    def net(images):
        seen.append((images.context, images.dtype, len(images)))
        return images + 1, scores_of(images)

    found = list(outputs(net, Rows(count, batch_size, filled_up), devices))
    assert [place for batch in found for place in batch.index] == list(range(count))
    for batch in found:
        place = np.array(batch.index)
        assert len(batch) == len(place) and batch.logits.shape == (len(place), 3)
        np.testing.assert_array_equal(batch.labels, place)
        np.testing.assert_array_equal(batch.features.ravel(), place + 1)
        np.testing.assert_array_equal(batch.logits.argmax(axis=1), place % 3)
    assert {device for device, _, _ in seen} == set(devices[:min(count, batch_size)])
    assert {dtype for _, dtype, _ in seen} == {np.float32} and sum(size for *_, size in seen) == count


def test_features_are_a_list_where_the_network_gives_layers_and_none_where_it_gives_scores():
    devices = [mx.cpu(0), mx.cpu(1)]
    for batch in outputs(lambda images: ([images, images * 2], scores_of(images)), Rows(7, 4), devices):
        np.testing.assert_array_equal(np.ravel(batch.features), np.ravel([batch.labels, 2 * batch.labels]))
    assert [batch.features for batch in outputs(scores_of, Rows(7, 4), devices)] == [None, None]


def test_it_reads_one_whole_epoch_wherever_the_iterator_was():
    batches = Rows(11, 4)
    next(outputs(scores_of, batches, [mx.cpu()]))       # dropped behind the first batch
    batches.next()
    assert len(list(outputs(scores_of, batches, [mx.cpu()]))) == 3
    assert len(list(outputs(scores_of, batches, [mx.cpu()]))) == 3


def test_devices_have_the_next_batch_before_the_last_is_fetched():
    queued = []
    for number, _ in enumerate(outputs(lambda images: queued.append(images) or scores_of(images), Rows(16, 4),
                                       [mx.cpu()]), start=1):
        assert len(queued) == min(number + 1, 4)


class Reused(Rows):
    """As MXNet's own readers: every batch lies in the memory of the one before."""

    def read(self, epoch, batch):
        new = super().read(epoch, batch)
        if batch == 0:
            self._batch = mx.io.DataBatch([new.data[0].copy()], [new.label[0].copy()], pad=0)
        self._batch.data[0][:], self._batch.label[0][:] = new.data[0], new.label[0]
        return self._batch


def test_an_iterator_may_use_its_memory_again():
    found = list(outputs(lambda images: (images * 1, scores_of(images)), Reused(12, 4), [mx.cpu()]))
    for values in ([batch.labels for batch in found], [batch.features.ravel() for batch in found]):
        np.testing.assert_array_equal(np.concatenate(values), range(12))
    assert {batch.index for batch in found} == {None}


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_scores_that_are_no_numbers_end_it_with_the_name_of_their_source(value):
    def net(images):
        return mx.nd.where(images.reshape((-1, 1)).broadcast_to((len(images), 3)) == 5,
                           mx.nd.full((len(images), 3), value), scores_of(images))

    run = outputs(net, Rows(8, 4), [mx.cpu(0), mx.cpu(1)], "m-0003.params")
    assert len(next(run)) == 4
    with pytest.raises(DivergedError, match="m-0003.params: class scores of 1 of 4 images are NaN or infinite"):
        next(run)
    with pytest.raises(DivergedError, match="epoch 3, validation: class scores of 1 of 4"):
        evaluate(net, Rows(8, 4), [mx.cpu()], source="epoch 3, validation")


def test_who_judges_and_who_predicts_takes_a_network_with_features_and_several_devices():
    devices = [mx.cpu(i) for i in range(3)]
    for net in (scores_of, lambda images: (images, scores_of(images))):
        # Of the labels 0 to 10, three are those of a class, all of which are the first and so the best.
        assert evaluate(net, Rows(11, 4), devices, top_k=2) == (3 / 11, 3 / 11)
        assert evaluate(net, Rows(11, 4), devices, null_label=10) == (3 / 10, 3 / 10)
        classes, probabilities = predict(net, Rows(11, 4), devices, 2)
        np.testing.assert_array_equal(classes[:, 0], np.arange(11) % 3)
        np.testing.assert_allclose(probabilities[:, 0], 1 / (1 + np.exp(-1) + np.exp(-2)), rtol=1e-6)


def test_what_workers_count_is_added_up():
    class Two:
        """Two workers, the other of which has classified one of its five images correctly, and two among the best."""

        def sum(self, counts):
            return np.array(counts) + [1, 2, 5]

    assert evaluate(scores_of, Rows(11, 4), [mx.cpu()], top_k=2, store=Two()) == (4 / 16, 5 / 16)
