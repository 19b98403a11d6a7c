"""How layers that begin anew are drawn."""
import math

from transfer_gluon.base.errors import InputError
from transfer_gluon.base.framework import mx

KINDS = ("xavier", "torch", "normal", "truncated")
# What parameters begin with that are no weights, by the ends of their names.
INITIALIZERS = {"_gamma": "ones", "_beta": "zeros", "_bias": "zeros", "_moving_mean": "zeros", "_moving_var": "ones",
                "_running_mean": "zeros", "_running_var": "ones"}


def fresh_values(symbol, names, image_shape, kind="xavier"):
    r"""New values of parameters of a network, drawn from ``mx.random`` in the order of their names.

    For n inputs of a unit (channels times the area of the kernel), weights and biases are

    .. math:: \text{xavier, normal, truncated:} \quad w \sim N\left(0, \tfrac{2}{n}\right), \; b = 0 \qquad
              \text{torch:} \quad w, b \sim U\left(-\tfrac{1}{\sqrt n}, \tfrac{1}{\sqrt n}\right)

    the first as in He et al. 2015, *Delving Deep into Rectifiers*, which MXNet calls Xavier; the second what PyTorch's
    ``Linear`` and ``Conv2d`` begin with. Of batch normalisation gamma and variance are 1, beta and mean 0.

    Parameters
    ----------
    symbol : Symbol
        The features of a network, with the input ``data``.
    names : sequence of str
        Of its parameters, auxiliary ones included.
    image_shape : (int, int, int)
        Channels, height, width of the images, in pixels.
    kind : "xavier", "torch", "normal" or "truncated", default "xavier"
        The last two differ in the classifier only: `classifier_initializers`.

    Returns: dict of str to NDArray. Raises: InputError for another kind, and for names of no parameter, or of one
    that is neither a weight, nor a bias, nor of batch normalisation.

    >>> dense = mx.sym.FullyConnected(mx.sym.var("data"), num_hidden=5, name="top")
    >>> values = fresh_values(dense, ["top_weight", "top_bias"], (3, 2, 2), "torch")
    >>> values["top_weight"].shape, values["top_bias"].abs().max().asscalar() <= 12**-0.5
    ((5, 12), True)
    """
    _check(kind)
    shapes, _, auxiliary = symbol.infer_shape(data=(1, *image_shape))
    shapes = dict(zip([*symbol.list_arguments(), *symbol.list_auxiliary_states()], [*shapes, *auxiliary]))
    values = {name: mx.nd.empty(shapes.get(name, (1,))) for name in names}
    for name, value in values.items():
        initializer = _initializer(name, shapes, kind)
        if name not in shapes or initializer is None:
            raise InputError(f"{name} cannot be drawn anew: expected the name of a weight, a bias or a parameter of "
                             "batch normalisation of the network.", "new_layers", name, "a parameter's name")
        initializer._init_weight(name, value)
    return values


def _initializer(name, shapes, kind):
    weight = shapes.get(name[:-len("bias")] + "weight") if name.endswith("_bias") else None
    if kind == "torch" and weight is not None:
        return mx.init.Uniform(1 / math.sqrt(math.prod(weight[1:])))
    constant = next((constant for suffix, constant in INITIALIZERS.items() if name.endswith(suffix)), None)
    if constant:
        return mx.init.create(constant)
    if len(shapes.get(name, ())) < 2:
        return None
    return _weight_initializer(kind)


def _weight_initializer(kind):
    return mx.init.Xavier("uniform", "in", 1) if kind == "torch" else mx.init.Xavier("gaussian", "in", 2)


def _truncated_normal(sigma):
    """An initializer that draws from the normal distribution within two standard deviations."""
    class Truncated(mx.init.Normal):
        def _init_weight(self, _, array):
            # By the quantile of a uniform number; |x| < 2 sigma where the error function is below erf(2 / sqrt 2).
            most = math.erf(math.sqrt(2))
            uniform = mx.nd.random.uniform(-most, most, array.shape, ctx=array.context)
            array[:] = mx.nd.erfinv(uniform) * math.sqrt(2) * self.sigma

        def dumps(self):        # for checkpoints, in the name of one that stock MXNet knows
            return mx.init.Normal(self.sigma).dumps()

    return Truncated(sigma)


def classifier_initializers(kind, num_features=None):
    """What draws weight and bias of a new classifier ``fc``; `fresh_values` has the formulas.

    Parameters
    ----------
    kind : "xavier", "torch", "normal" or "truncated"
        normal: the weight of standard deviation 0.005 around 0, the bias 0.1, as a baseline of Office-31 draws it.
        TLLib's bottleneck layers begin so too, but not its classifiers. truncated: the weight normal of deviation 0.1,
        but drawn again beyond two deviations, the bias 0, as a course with AlexNet on traffic signs does in TensorFlow.
    num_features : int or None
        d, which the bias of torch is drawn by; `num_features` of the network tells it. Others do without.

    Returns: two initializers of MXNet. Raises: InputError.

    >>> weight, bias = classifier_initializers("torch", num_features=100)
    >>> print(f"from -{bias.scale:.1f} to {bias.scale:.1f}")
    from -0.1 to 0.1
    """
    _check(kind)
    if kind == "normal":
        return mx.init.Normal(0.005), mx.init.Constant(0.1)
    if kind == "truncated":
        return _truncated_normal(0.1), mx.init.Zero()
    if kind == "xavier":
        return _weight_initializer(kind), mx.init.Zero()
    if not num_features:
        raise InputError.of("num_features", num_features, "the number of features that feed the classifier")
    return _weight_initializer(kind), mx.init.Uniform(1 / math.sqrt(num_features))


def num_features(symbol, image_shape):
    """How many numbers of an image the last output of a network has, for images of this size.

    >>> num_features(mx.sym.Flatten(mx.sym.var("data")), (3, 2, 2))
    12
    """
    return math.prod(symbol.infer_shape(data=(1, *image_shape))[1][-1][1:])


def _check(kind):
    if kind not in KINDS:
        raise InputError.of("new_init", kind, f"one of {', '.join(KINDS)}")
