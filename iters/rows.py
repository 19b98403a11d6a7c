"""Batches of the rows of an array: features that are all in memory."""
import numpy as np

from transfer_gluon.base.errors import InputError
from transfer_gluon.iters.epochs import EpochIter


class RowIter(EpochIter):
    """Batches of rows, in another order every epoch, each row once an epoch.

    Parameters
    ----------
    values : float32 array (n, …)
    labels : array (n,)
        Numbers of classes.
    batch_size : int or None
        Rows of a batch; the last one of an epoch has what is left.
    batches : int or None
        Or how many batches an epoch is divided in, whose sizes differ by one at most.
    shuffle : bool
        False: in the order of the array.
    seed : int
        The order depends on it and on the number of the epoch.
    views : float32 array (v, n, …) or None
        What epoch e reads instead of `values`: view e modulo v. None, or v = 0: there are none.

    Raises: InputError for more batches than rows.

    >>> rows = RowIter(np.zeros((10, 2)), np.arange(10), batches=3, shuffle=False)
    >>> [batch.label[0].asnumpy().astype(int).tolist() for batch in rows]
    [[0, 1, 2], [3, 4, 5], [6, 7, 8, 9]]
    >>> len(list(RowIter(np.zeros((10, 2)), np.arange(10), batch_size=4)))
    3
    """

    def __init__(self, values, labels, batch_size=None, batches=None, shuffle=True, seed=0, views=None):
        self._values, self._labels, self._shuffle, self._seed = values, labels, shuffle, seed
        self._views = [] if views is None else views
        number = len(values)
        if batches:
            if batches > number:
                raise InputError.of("batches", batches, f"at most {number}, the number of rows that train")
            self._bounds = [number * batch // batches for batch in range(batches + 1)]
        else:
            self._bounds = [*range(0, number, batch_size), number]
        super().__init__(max(np.diff(self._bounds)).item(), values.shape[1:], number, len(self._bounds) - 1)

    def begin(self, epoch, batch):
        number = len(self._values)
        self._order = np.random.default_rng((self._seed, epoch)).permutation(number) if self._shuffle else \
            np.arange(number)

    def read(self, epoch, batch):
        places = self._order[self._bounds[batch]:self._bounds[batch + 1]]
        values = self._views[epoch % len(self._views)] if len(self._views) else self._values
        return self.batch_of(values[places], self._labels[places], places.tolist())
