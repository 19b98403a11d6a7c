"""A checkpoint as an ONNX file, compared with MXNet where onnxruntime is installed.

The graph is translated by ``mxnet.onnx``, of 2022. Said here is what that lacks: today's onnx package, weights as bytes
(it writes them as lists of Python numbers, 2.5 GB for a ResNet-152), ``fix_gamma``, the flattening of a fully connected
layer that does not mention it, ``normalize``, and average pooling to a given size.
"""
import ast
import json
from types import SimpleNamespace

import numpy as np

from transfer_gluon.base.errors import InputError
from transfer_gluon.base.files import replacing
from transfer_gluon.base.framework import mx
from transfer_gluon.iters.augmentation import validation_size
from transfer_gluon.symbols import features_block, resize_of
from transfer_gluon.symbols.graph import Graph

_OPSET = 13         # the newest that mxnet.onnx knows; every later runtime reads it
_IR_VERSION = 8
_TOLERANCE = 1e-4   # largest difference of probabilities


def export(checkpoint, path, image_shape):
    """Write a checkpoint's probabilities as an ONNX file: input ``data``, output ``softmax``, any batch size.

    Parameters
    ----------
    checkpoint : Checkpoint
    path : str or Path
    image_shape : (int, int, int)
        Channels, height, width, in pixels: fixed in the file, whose metadata tell it, beside how images are made that
        size and what the classes are called.

    Returns: the largest difference between probabilities of MXNet and of onnxruntime for two random images; None
    where onnxruntime is not installed.

    Raises: InputError when onnx is not installed, or the network cannot be expressed; ArithmeticError when the
    difference is larger than 1e-4. No file is written then.
    """
    try:
        import onnx
    except ImportError:
        raise InputError("exporting takes the package onnx, and onnxruntime to check the result: "
                         "pip install onnx onnxruntime.") from None
    symbol = _probabilities(checkpoint)
    network = features_block(symbol, checkpoint.arg_params, checkpoint.aux_params, checkpoint.name, image_shape)
    network.initialize()
    model = _model(onnx, checkpoint, symbol, image_shape)
    content = model.SerializeToString()
    onnx.checker.check_model(content, full_check=True)
    difference = _difference(content, network, image_shape)
    if difference is not None and not difference <= _TOLERANCE:
        raise ArithmeticError(f"{path}: not written: its probabilities differ from MXNet's by {difference:.2g}.")
    with replacing(path) as temporary:
        temporary.write_bytes(content)
    return difference


def _model(onnx, checkpoint, symbol, image_shape):
    from mxnet.onnx.mx2onnx._export_onnx import MXNetGraph

    internals = symbol.get_internals()
    shapes = dict(zip(internals.list_outputs(), internals.infer_shape(data=(1, *image_shape))[1]))
    _fit(onnx, MXNetGraph, shapes)
    try:
        graph = MXNetGraph().create_onnx_graph_proto(
            symbol, _parameters(checkpoint, symbol), [(1, *image_shape)], [onnx.TensorProto.FLOAT],
            opset_version=_OPSET, dynamic=True, dynamic_input_shapes=[("batch", *image_shape)])
    except (AttributeError, NotImplementedError) as error:
        raise InputError(f"{checkpoint.name}: mxnet.onnx cannot express a layer of this network: {error}") from error
    classes = shapes[symbol.list_outputs()[0]][1]
    graph.output[0].CopyFrom(onnx.helper.make_tensor_value_info(
        graph.output[0].name, onnx.TensorProto.FLOAT, ("batch", classes)))
    _keep(graph.input, {"data"})
    _keep(graph.initializer, {name for node in graph.node for name in node.input})
    model = onnx.helper.make_model(
        graph, ir_version=_IR_VERSION, opset_imports=[onnx.helper.make_opsetid("", _OPSET)],
        producer_name="transfer-gluon", doc_string=f"{checkpoint.name}: images to probabilities of {classes} classes")
    onnx.helper.set_model_props(model, _told(checkpoint, image_shape, classes))
    return model


def _told(checkpoint, image_shape, num_classes):
    """What whoever runs the file must know of its images and classes, as texts; docs/onnx.md shows how it is used."""
    _, height, width = image_shape
    told = dict(image_shape=",".join(map(str, image_shape)), layout="NCHW", channels="RGB", value_range="0,255",
                normalisation="none: the network does its own",
                resize=str(resize_of(checkpoint.symbol, image_shape) or validation_size(max(height, width))),
                interpolation="cubic, a = -0.75, without antialiasing", crop="centre", num_classes=str(num_classes))
    if checkpoint.classes:
        told["classes"] = json.dumps(checkpoint.classes)
    return told


def _keep(entries, names):
    for i in reversed(range(len(entries))):
        if entries[i].name not in names:
            del entries[i]


def _probabilities(checkpoint):
    """The output ``softmax`` of images alone: no labels, and no transfer loss beside it, as the original wrote."""
    symbol = checkpoint.symbol
    if "softmax_output" in symbol.list_outputs():
        symbol = symbol["softmax_output"]
    graph = Graph.of(symbol)
    operators = [graph.nodes[number]["op"] for number, *_ in graph.heads]
    if operators not in (["SoftmaxOutput"], ["softmax"]):
        raise InputError(f"{checkpoint.name}: ends in {', '.join(operators)}; expected a classifier that ends in "
                         "softmax, as trained networks are saved.")
    return mx.sym.softmax(*graph.outputs([graph.logits()]), name="softmax")


def _parameters(checkpoint, symbol):
    """The values that the symbol takes. A gamma that MXNet holds at 1 is 1, whatever the file says."""
    held = {norm.gamma for norm in Graph.of(symbol).batch_norms() if norm.fix_gamma}
    values = {**checkpoint.arg_params, **checkpoint.aux_params}
    return {name: mx.nd.ones_like(values[name]) if name in held else values[name]
            for name in symbol.list_inputs() if name != "data"}


def _fit(onnx, converter, shapes):
    """Make mxnet.onnx fit today's onnx, and replace or add what it lacks, for a network with these shapes."""
    helper = onnx.helper
    if not hasattr(onnx, "mapping"):    # gone since 1.20
        types = {kind: helper.tensor_dtype_to_np_dtype(kind) for kind in helper.get_all_tensor_dtypes()}
        onnx.mapping = SimpleNamespace(TENSOR_TYPE_TO_NP_TYPE=types, NP_TYPE_TO_TENSOR_TYPE={
            np_type: kind for kind, np_type in types.items() if kind != onnx.TensorProto.BFLOAT16})

    def constant(kwargs, name, values):
        kwargs["initializer"].append(onnx.numpy_helper.from_array(np.asarray(values, np.float32), name))
        return name

    def entering(node, kwargs):
        return kwargs["outputs_lookup"][node["inputs"][0][0]][node["inputs"][0][1]].name

    register = converter.register
    images_and_weights, fully_connected_of_mxnet = (converter.registry_[12][op] for op in ("null", "FullyConnected"))

    @register("null", _OPSET)
    def weights(node, **kwargs):
        if kwargs["is_input"]:
            return images_and_weights(node, **kwargs)
        values = kwargs["weights"][node["name"]]
        constant(kwargs, node["name"], values)
        return [helper.make_tensor_value_info(node["name"], onnx.TensorProto.FLOAT, values.shape)], (values.dtype,)

    @register("FullyConnected", _OPSET)
    def fully_connected(node, **kwargs):
        node["attrs"].setdefault("flatten", "True")     # as MXNet does
        return fully_connected_of_mxnet(node, **kwargs)

    @register("_image_normalize", _OPSET)
    def normalize(node, **kwargs):
        name = node["name"]
        mean, std = (constant(kwargs, f"{name}_{key}", np.reshape(ast.literal_eval(node["attrs"][key]), (-1, 1, 1)))
                     for key in ("mean", "std"))
        return [helper.make_node("Sub", [entering(node, kwargs), mean], [f"{name}_centred"]),
                helper.make_node("Div", [f"{name}_centred", std], [name], name=name)]

    @register("_contrib_AdaptiveAvgPooling2D", _OPSET)
    def average_to_size(node, **kwargs):
        """Averages over rows and over columns, each a product with a matrix."""
        name, data = node["name"], entering(node, kwargs)
        (_, _, rows, columns), (_, _, *size) = shapes[f"{data}_output"], shapes[f"{name}_output"]
        left = constant(kwargs, f"{name}_rows", _averages(size[0], rows))
        right = constant(kwargs, f"{name}_columns", _averages(size[1], columns).T)
        return [helper.make_node("MatMul", [left, data], [f"{name}_averaged"]),
                helper.make_node("MatMul", [f"{name}_averaged", right], [name], name=name)]


def _averages(parts, length):
    """The matrix (parts, length) that averages `length` numbers over `parts` stretches, which may overlap.

    >>> _averages(2, 3)
    array([[0.5, 0.5, 0. ],
           [0. , 0.5, 0.5]])
    """
    matrix = np.zeros((parts, length))
    for i in range(parts):
        begin, end = i * length // parts, -(-(i + 1) * length // parts)
        matrix[i, begin:end] = 1 / (end - begin)
    return matrix


def _difference(content, network, image_shape):
    try:
        import onnxruntime
    except ImportError:
        return None
    images = np.random.default_rng(0).uniform(0, 255, (2, *image_shape)).astype(np.float32)
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return float(np.abs(session.run(None, {"data": images})[0] - network(mx.nd.array(images)).asnumpy()).max())
