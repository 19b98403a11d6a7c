"""L2-SP: weights held near those that a network starts from, instead of near zero."""
import math

from transfer_gluon.base.errors import InputError, first_ten
from transfer_gluon.base.framework import mx
from transfer_gluon.symbols.layer_groups import HEAD, NORMALISATION

_EXEMPT = tuple(f"_{kind}" for kind in NORMALISATION)


class L2SP:
    r"""Half the squared distance of weights from their start values.

    .. math:: P = \sum_k \frac{a_k}{2} \left\| w_k - w_k^0 \right\|^2

    over parameters k, each with a rate a; the start value of a layer that is new is zero. Li, Grandvalet & Davoine
    2018, *Explicit Inductive Bias for Transfer Learning with Convolutional Networks*, arXiv 1802.01483. One of `fit`'s
    `penalties`. Weight decay acts beside it: give none, where P is to take its place.

    Parameters
    ----------
    rates : dict of str to float
        a, from 0 up, by the names of parameters; others do not count. `readme_rates`, `published_rates`.
    start : dict of str to NDArray
        w⁰; zero for names that are not in it. Copied, and kept on every device that asks.

    Raises: InputError for a rate that is none, for start values of another shape, and where no parameter that learns
    has a rate.

    Inputs:
        - **values**: dict of str to NDArray, the parameters that learn, on one device.

    Outputs:
        - **penalty**: (1,). Beside the values it holds their distance from the start, until its gradient is computed.

    >>> penalty = L2SP({"conv_weight": 0.1, "fc_weight": 0.1}, {"conv_weight": mx.nd.array([3])})
    >>> print(penalty({"conv_weight": mx.nd.array([5]), "fc_weight": mx.nd.array([4])}).asscalar())
    1.0
    """

    def __init__(self, rates, start):
        for name, rate in rates.items():
            if not 0 <= rate < 1e38:
                raise InputError(f"`l2sp` gives {name} the rate {rate}; expected a number from 0 up that float32 "
                                 "holds, below 1e38.", "l2sp", rates, "numbers from 0 up")
        self._rates = {name: rate for name, rate in rates.items() if rate}
        if not self._rates:
            raise _no_rate(rates)
        # On the CPU, start values are the very arrays that training changes.
        self._start = {name: mx.nd.array(start[name], ctx=mx.cpu(), dtype="float32")
                       for name in self._rates if name in start}
        self._here = {}

    def __call__(self, values):
        names = tuple(name for name in self._rates if name in values)
        if not names:
            raise _no_rate(self._rates)
        place = values[names[0]].context, names
        if place not in self._here:
            self._here[place] = self._prepared(values, *place)
        distance, start = self._here[place]
        return distance([values[name] for name in names], start)

    def _prepared(self, values, device, names):
        pulled = [name for name in names if name in self._start]
        misfits = [f"{name}  {self._start[name].shape} for {values[name].shape}" for name in pulled
                   if self._start[name].shape != values[name].shape]
        if misfits:
            raise InputError(f"`start` holds values of other shapes than the parameters:{first_ten(misfits)}", "start",
                             misfits, "values of the parameters' shapes")
        distance = _HalfSquares([self._rates[name] for name in names], [name in self._start for name in names])
        distance.hybridize(static_alloc=True, static_shape=True)
        return distance, [self._start[name].as_in_context(device) for name in pulled]


def _no_rate(rates):
    return InputError("`l2sp` has a rate for no parameter that learns. Leave it out, or train more of the network.",
                      "l2sp", rates, "rates of parameters that learn")


class _HalfSquares(mx.gluon.HybridBlock):
    """A block because a graph costs a third of what its operators cost one by one: its memory is its own.

    What is differentiated is u·v with v = u held, whose gradient is one pass over the weights: that of a square takes
    three. MXNet's u·v itself loses digits where u is long, and its sum of all numbers is slow, so the value is summed
    row by row, without gradient.
    """

    def __init__(self, rates, pulled):
        super().__init__()
        self._terms = list(zip(rates, pulled))

    def hybrid_forward(self, F, values, start):
        start, products, halves = iter(start), [], []
        for (rate, pulled), value in zip(self._terms, values):
            distance = value - next(start) if pulled else value
            rows = F.BlockGrad(F.reshape(distance, shape=(0, -1)))
            products.append(rate * F.dot(F.reshape(distance, shape=(-1,)), F.reshape(rows, shape=(-1,))))
            ones = F.ones_like(F.slice_axis(rows, axis=0, begin=0, end=1))
            halves.append(rate / 2 * F.sum(F.FullyConnected(F.square(rows), ones, num_hidden=1, no_bias=True)))
        product = F.add_n(*products)
        return F.add_n(*halves).reshape((1,)) + (product - F.BlockGrad(product))


def readme_rates(thirds, rates):
    """Rates of `L2SP` for parts of a network, batch normalisation exempt: one for all, or one for each part.

    The new layers, those without start values, are held near zero at the rate of their part.

    Parameters
    ----------
    thirds : dict of str to sequence of str
        The names of parameters of the parts "classifier", "high" and "low", as `thirds` of `layer_groups` gives them.
    rates : sequence of float
        One, or three: of the classifier, the high groups, the low groups.

    Returns: dict of str to float. Raises: InputError for another number of rates.

    >>> parts = {"classifier": ["fc_weight"], "high": ["top_weight", "top_gamma"], "low": ["stem_weight"]}
    >>> readme_rates(parts, [0.1, 0.01, 0.02])
    {'fc_weight': 0.1, 'top_weight': 0.01, 'stem_weight': 0.02}
    """
    rates = list(rates)
    if len(rates) not in (1, 3):
        raise InputError.of("l2sp", tuple(rates), "one rate, or three: of the classifier, the high and the low groups")
    if not all(0 <= rate < math.inf for rate in rates):
        raise InputError.of("l2sp", tuple(rates), "rates from 0 up")
    by_part = dict(zip(("classifier", "high", "low"), rates * (3 // len(rates))))
    return {name: by_part[part] for part, names in thirds.items() for name in _held(names)}


def published_rates(groups, num_low, new_layers=1):
    r"""Rates of `L2SP` as the published code of *Non-binary deep transfer learning for image classification* has them.

    .. math:: 0.004 \left( \frac{10}{2} \left\| w_1 - w_1^0 \right\|^2
              + \frac{5}{2} \sum_{k = 2}^{\text{low}} \left\| w_k - w_k^0 \right\|^2 \right)
              + \frac{0.0005}{2} \sum_{\text{others}} \left\| w_k \right\|^2

    Low are the parameters of the first `num_low` groups, w1 the first of them, which is the first convolution's weight.
    All others are held near zero, those transferred too. So is the group below the new layers, whether it is low or
    not: among its 22 groups, the code counts `new_layers` from the top as new, although the classifier, which is one of
    the new layers, is none of the groups. Batch normalisation is exempt. The rates are constants, whatever the code is
    told. Plested, Shen & Gedeon 2021, arXiv 2107.08585.

    Parameters
    ----------
    groups : sequence of LayerGroup
        Of `layer_groups`: the features' groups, each with the names of its `parameters`.
    num_low : int
        From 1 to the number of groups.
    new_layers : int, default 1
        How many layers begin anew, the classifier counted.

    Returns: dict of str to float, the rates; list of str, the names that are held near their start values: give
    `L2SP` these only.

    Raises: InputError where no group would be held near its start, or where there are fewer groups.

    >>> from types import SimpleNamespace
    >>> groups = [SimpleNamespace(parameters=[f"{name}_weight"]) for name in "abcd"]
    >>> rates, pulled = published_rates(groups, num_low=2)
    >>> rates["a_weight"], rates["b_weight"], rates["c_weight"], pulled
    (0.04, 0.02, 0.0005, ['a_weight', 'b_weight'])
    """
    low = min(num_low, len(groups) - new_layers)
    if low < 1 or num_low > len(groups):
        raise InputError(f"`l2sp_published` holds {num_low} low groups (`num_lowlrs`) near their start values, of "
                         f"{len(groups)}, the top {new_layers} of which count as new; expected one or more, and no "
                         "more than there are.", "num_lowlrs", num_low, "1 or more, below the new layers")
    pulled = [name for group in groups[:low] for name in _held(group.parameters)]
    others = [name for group in groups[low:] for name in _held(group.parameters)]
    rates = {**dict.fromkeys(pulled, 0.02), **dict.fromkeys([*others, *HEAD], 0.0005)}
    if pulled:
        rates[pulled[0]] = 0.04
    return rates, pulled


def _held(names):
    return [name for name in names if not name.endswith(_EXEMPT)]
