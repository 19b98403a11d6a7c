"""An exponential moving average of the weights."""
import contextlib

from transfer_gluon.base.devices import MOVING
from transfer_gluon.base.framework import mx


class Average:
    r"""Exponential moving average of a network's parameters over the updates t = 1, 2, … of its training.

    .. math:: \bar w_t = \bar w_{t-1} + (1 - d_t) (w_t - \bar w_{t-1}), \qquad
              d_t = \min\Bigl(d, \frac{1 + t}{10 + t}\Bigr), \qquad \bar w_0 = w_0

    (Polyak and Juditsky 1992; with the decay of TensorFlow's ``ExponentialMovingAverage``, which rises to d, so that a
    short training is no average of its beginning). Moving statistics of batch normalisation are averaged alike, each
    device's own.

    Parameters
    ----------
    parameters : dict of str to Parameter
        Of the network, on their devices, with values.
    decay : float
        d, from 0 to below 1.

    Attributes
    ----------
    parameters : dict of str to Parameter
        The averages, by the names of what is averaged.

    >>> w = mx.gluon.Parameter("w", shape=(1,))
    >>> w.initialize("zeros")
    >>> average = Average({"w": w}, decay=0.5)
    >>> w.set_data(mx.nd.array([11])); average.update(1)        # d is 2/11
    >>> average.parameters["w"].data().asscalar()
    9.0
    """

    def __init__(self, parameters, decay):
        self._decay, self._of = decay, dict(parameters)
        self.parameters = {name: _copied(name, parameter) for name, parameter in self._of.items()}

    def update(self, number):
        """Take in the values behind update `number`, counted from 1."""
        share = 1 - min(self._decay, (1 + number) / (10 + number))
        for name, value, average in self._pairs():
            if name.endswith(MOVING):
                # MXNet does not note that a backward pass writes moving statistics: who only reads them would not wait
                # for it, and get either value. It does note that it reads them, for which who writes waits.
                value *= 1
            average += share * (value - average)

    @contextlib.contextmanager
    def in_place(self):
        """The averages in the place of the parameters, and the other way, for the time of a block."""
        self.exchange()
        try:
            yield
        finally:
            self.exchange()

    def exchange(self):
        """The averages in the place of the parameters, and the other way."""
        for _, value, average in self._pairs():
            before = value.copy()
            value[:] = average
            average[:] = before

    def _pairs(self):
        for name, parameter in self._of.items():
            for value, average in zip(parameter.list_data(), self.parameters[name].list_data()):
                yield name, value, average


def _copied(name, parameter):
    copied = mx.gluon.Parameter(name, grad_req="null", shape=parameter.shape, dtype=parameter.dtype)
    copied.initialize("zeros", ctx=parameter.list_ctx())
    for value, copy in zip(parameter.list_data(), copied.list_data()):
        copy[:] = value
    return copied
