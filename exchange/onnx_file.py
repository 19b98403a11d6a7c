"""A checkpoint as an ONNX file, compared with MXNet where onnxruntime is installed.

The graph is translated by ``mxnet.onnx``, of 2022. Said here is what that lacks: today's onnx package, weights as bytes
(it writes them as lists of Python numbers, 2.5 GB for a ResNet-152), ``fix_gamma``, the softmax of training,
``normalize``, and average pooling to a given size.
"""
import ast
import json
from types import SimpleNamespace

import numpy as np

from base.errors import InputError
from base.files import replacing
from base.framework import mx

_OPSET = 13         # the newest that mxnet.onnx knows; every later runtime reads it
_IR_VERSION = 8
_TOLERANCE = 1e-4   # largest difference of probabilities


def export(checkpoint, path, image_shape):
    """Write a checkpoint's probabilities as an ONNX file: input ``data``, output ``softmax``, any batch size.

    Parameters
    ----------
    checkpoint : training.checkpoint.Checkpoint
    path : str or Path
    image_shape : (int, int, int)
        Channels, height, width, in pixels: fixed in the file.

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
    model = _model(onnx, checkpoint, image_shape)
    content = model.SerializeToString()
    onnx.checker.check_model(content, full_check=True)
    difference = _difference(checkpoint, content, image_shape)
    if difference is not None and not difference <= _TOLERANCE:
        raise ArithmeticError(f"{path}: not written: its probabilities differ from MXNet's by {difference:.2g}.")
    with replacing(path) as temporary:
        temporary.write_bytes(content)
    return difference


def _model(onnx, checkpoint, image_shape):
    from mxnet.onnx.mx2onnx._export_onnx import MXNetGraph

    symbol = _probabilities(checkpoint)
    shapes = _shapes(symbol, image_shape, checkpoint)
    classes = shapes[symbol.list_outputs()[0]][1]
    _fit(onnx, MXNetGraph, shapes)
    try:
        graph = MXNetGraph().create_onnx_graph_proto(
            symbol, _parameters(checkpoint, symbol), [(1, *image_shape)], [onnx.TensorProto.FLOAT], opset_version=_OPSET, dynamic=True,
            dynamic_input_shapes=[("batch", *image_shape)])
    except (AttributeError, NotImplementedError) as error:
        raise InputError(f"{checkpoint.name}: ONNX export does not know a layer of this network: {error}") from error
    weights = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in weights]
    del graph.input[:], graph.output[1:]
    graph.input.extend(inputs)
    graph.output[0].CopyFrom(onnx.helper.make_tensor_value_info(
        graph.output[0].name, onnx.TensorProto.FLOAT, ("batch", classes)))
    model = onnx.helper.make_model(
        graph, ir_version=_IR_VERSION, opset_imports=[onnx.helper.make_opsetid("", _OPSET)],
        producer_name="transfer-gluon", doc_string=f"{checkpoint.name}: images to probabilities of {classes} classes")
    onnx.helper.set_model_props(model, {"classes": str(classes), "input": "RGB images of 0 to 255, NCHW, not normalised"})
    return model


def _probabilities(checkpoint):
    """The output ``softmax``; the transfer loss that stage 1 of the original wrote beside it is left out."""
    outputs = checkpoint.symbol.list_outputs()
    if "softmax_output" in outputs:
        return checkpoint.symbol["softmax_output"]
    if len(outputs) > 1:
        raise InputError(f"{checkpoint.name}: has the outputs {', '.join(outputs)}, and none is softmax_output.")
    return checkpoint.symbol


def _shapes(symbol, image_shape, checkpoint):
    """Shapes of all layers' outputs for one image. Raises: InputError when the network cannot take such images."""
    internals = symbol.get_internals()
    known = {name: value.shape for name, value in {**checkpoint.arg_params, **checkpoint.aux_params}.items()
             if name in symbol.list_inputs()}
    try:
        _, found, _ = internals.infer_shape(data=(1, *image_shape), **known)
    except mx.MXNetError as error:
        raise InputError(f"{checkpoint.name}: does not take images of --image-shape {','.join(map(str, image_shape))}: "
                         f"{str(error).strip().splitlines()[-1]}") from None
    return dict(zip(internals.list_outputs(), found))


def _parameters(checkpoint, symbol):
    """The values that the symbol takes, and 1 for each gamma that MXNet holds at 1, whatever the file says."""
    nodes = json.loads(symbol.tojson())["nodes"]
    held = {nodes[node["inputs"][1][0]]["name"] for node in nodes
            if node["op"] == "BatchNorm" and node["attrs"].get("fix_gamma", "True") in ("True", "1")}
    values = {**checkpoint.arg_params, **checkpoint.aux_params}
    return {name: mx.nd.ones_like(values[name]) if name in held else values[name]
            for name in symbol.list_inputs() if name in values}


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

    images_and_weights, register = converter.registry_[12]["null"], converter.register

    @register("null", _OPSET)
    def weights(node, **kwargs):
        if kwargs["is_input"]:
            return images_and_weights(node, **kwargs)
        values = kwargs["weights"][node["name"]]
        constant(kwargs, node["name"], values)
        return [helper.make_tensor_value_info(node["name"], onnx.TensorProto.FLOAT, values.shape)], (values.dtype,)

    @register("SoftmaxOutput", _OPSET)
    def softmax(node, **kwargs):
        return [helper.make_node("Softmax", [entering(node, kwargs)], [node["name"]], axis=1, name=node["name"])]

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


def _difference(checkpoint, content, image_shape):
    try:
        import onnxruntime
    except ImportError:
        return None
    images = np.random.default_rng(0).uniform(0, 255, (2, *image_shape)).astype(np.float32)
    symbol = _probabilities(checkpoint)
    executor = symbol.simple_bind(mx.cpu(), grad_req="null", data=images.shape)
    executor.copy_params_from(checkpoint.arg_params, checkpoint.aux_params, allow_extra_params=True)
    wanted = executor.forward(is_train=False, data=mx.nd.array(images))[0].asnumpy()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return float(np.abs(session.run(None, {"data": images})[0] - wanted).max())
