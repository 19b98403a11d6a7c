"""Which devices a run computes on."""
import ctypes
import math

from transfer_gluon.base.errors import InputError
from transfer_gluon.base.framework import mx

# Compute capabilities that mxnet-cu112 1.9.1 has machine code for: 5.0, 6.0, 7.0, 8.0, 8.6, each good
# for later minor versions of the same major one. It holds no PTX to compile for others.
_MAJORS = range(5, 9)


# What the names of moving statistics of batch normalisation end with, of which every device has its own.
MOVING = "moving_mean", "moving_var", "running_mean", "running_var"


def find_devices(gpus=None, cpus=None):
    """The MXNet contexts to compute on.

    Parameters
    ----------
    gpus : sequence of int, or None
        Numbers of GPUs, such as ``[0, 2, 5]``.
    cpus : int or None
        Number of CPU devices; they share the cores, and behave like several GPUs. Default: one.

    Returns: list of Context.

    Raises: InputError for a GPU that does not exist or that this build of MXNet cannot drive, and for both.

    >>> find_devices(cpus=2)
    [cpu(0), cpu(1)]
    """
    if gpus is None:
        if cpus is not None and cpus < 1:
            raise InputError.of("cpus", cpus, "a number from 1 up")
        return [mx.cpu(i) for i in range(cpus or 1)]
    if cpus is not None:
        raise InputError("`gpus` and `cpus` were both given; a run takes one of them.", "cpus", cpus, "None")
    numbers = list(gpus)
    if isinstance(gpus, str) or not numbers or len(set(numbers)) < len(numbers) or min(numbers) < 0:
        raise InputError.of("gpus", gpus, "different numbers from 0 up")
    _check_gpus(numbers)
    return [mx.gpu(number) for number in numbers]


def to_devices(array, devices, even_split=True):
    """A batch (b, …) cut into one part a device, there as float32: images travel as the bytes that readers give.

    >>> [part.dtype.__name__ for part in to_devices(mx.nd.zeros((2, 3), dtype="uint8"), find_devices(cpus=2))]
    ['float32', 'float32']
    """
    parts = mx.gluon.utils.split_and_load(array, devices, even_split=even_split)
    return [part.astype("float32", copy=False) for part in parts]


def _check_gpus(numbers):
    if not mx.runtime.Features().is_enabled("CUDA"):
        raise InputError("`gpus` was given, and this MXNet is the CPU build. Install the GPU build with "
                         "`make gpu`, or leave it out to compute on the CPU.", "gpus", numbers, "None")
    try:
        count = mx.context.num_gpus()
    except mx.MXNetError:
        count = 0
    for number in numbers:
        if number >= count:
            there = f"0 to {count - 1}" if count else "none"
            raise InputError(f"`gpus` names GPU {number}; MXNet sees {there}. `nvidia-smi` lists the GPUs of "
                             "this machine and whether their driver is running.", "gpus", numbers, there)
        major, minor = compute_capability(number)
        if major not in _MAJORS:
            raise InputError(
                f"`gpus` names GPU {number}, of compute capability {major}.{minor}; mxnet-cu112 1.9.1 has machine "
                "code for 5.0 to 8.9 (Maxwell to Ada) and can run on no other. Leave it out to compute on the CPU.",
                "gpus", numbers, "GPUs of compute capability 5.0 to 8.9")


def memory_needed(net, batch_shape):
    """Bytes that training takes on a device at the least.

    .. math:: 4 \\, (3 \\, P + \\sum_{\\text{convolutions}} |\\text{output}|)

    for P parameters, their gradients and momentum, in float32, and for the outputs of convolutions, which the
    backward pass needs. Other layers, the workspace of cuDNN and CUDA itself take more, about as much again.

    Parameters
    ----------
    net : HybridBlock
        Made of a symbol, or called once: its shapes are known.
    batch_shape : (int, int, int, int)
        Images of a device, channels, height, width.
    """
    inside = net(mx.sym.var("data"))[1].get_internals()
    shapes, outputs, _ = inside.infer_shape(data=batch_shape)
    kept = sum(math.prod(shape) for name, shape in zip(inside.list_outputs(), outputs)
               if name.endswith("_output") and inside[name].attr("num_filter"))
    parameters = sum(math.prod(shape) for name, shape in zip(inside.list_arguments(), shapes) if name != "data")
    return 4 * (3 * parameters + kept)


def check_memory(devices, needed):
    """Raises: InputError for a GPU whose free memory is less than `needed` bytes."""
    for device in devices:
        if device.device_type != "gpu":
            continue
        free, total = mx.context.gpu_memory_info(device.device_id)
        if free < needed:
            raise InputError(
                f"`gpus` names GPU {device.device_id}, of whose {total / 2**30:.1f} GiB {free / 2**30:.1f} are free; "
                f"this network with these images takes {needed / 2**30:.1f} at the least. Give a smaller `batch_size` "
                "or more GPUs, or end what else runs there: `nvidia-smi` tells.", "gpus", device.device_id,
                f"a GPU with {needed / 2**30:.1f} GiB free")


def compute_capability(number):
    """(major, minor) of a GPU, asked of the CUDA driver."""
    driver = ctypes.CDLL("libcuda.so.1")
    driver.cuInit(0)
    device, value = ctypes.c_int(), ctypes.c_int()
    driver.cuDeviceGet(ctypes.byref(device), number)
    parts = []
    for attribute in (75, 76):      # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, _MINOR
        driver.cuDeviceGetAttribute(ctypes.byref(value), attribute, device)
        parts.append(value.value)
    return tuple(parts)


def mean_over_devices(parameter):
    """A parameter's value on the CPU, averaged over the devices that hold it: where it is equal on all, that very
    value."""
    first, *others = [value.as_in_context(mx.cpu()) for value in parameter.list_data()]
    return first + mx.nd.add_n(*(other - first for other in others)) / (1 + len(others)) if others else first
