"""What a network's images are, and what its classes are called: attributes of its variable ``data``.

They stand in the symbol's JSON under names with underscores, which mean nothing to MXNet (it would insist on
``__shape__``), and so go wherever the network goes. The rest is the same for all networks: images are upright, RGB,
0 to 255; they are resized by cubic interpolation, and the centre is cut out (`iters.transforms.prepared`).
"""
import json
import re
from dataclasses import dataclass
from typing import Optional, Union

from transfer_gluon.base.framework import mx

_IMAGE_SHAPE, _RESIZE, _CLASSES = "__image_shape__", "__resize__", "__classes__"


@dataclass(frozen=True)
class ImageInput:
    """What a network says of its images and classes; None where it says nothing.

    Attributes
    ----------
    shape : (int, int, int) or None
        Channels, height, width, in pixels.
    resize : int, "squeeze" or None
        How images are made that size for validation: the shorter side in pixels, or all of it to the input.
    classes : tuple of str or None
        Names, that of class 0 first.

    >>> said = ImageInput((3, 224, 224), 256, ("cat", "dog"))
    >>> ImageInput.of(mx.sym.Flatten(said.variable())) == said
    True
    """

    shape: Optional[tuple] = None
    resize: Union[int, str, None] = None
    classes: Optional[tuple] = None

    @classmethod
    def of(cls, symbol):
        """What the variable ``data`` of a symbol was told; what cannot be read counts as not told."""
        told = symbol.attr_dict().get("data", {})
        return cls(parse_image_shape(told.get(_IMAGE_SHAPE)), parse_resize(told.get(_RESIZE)),
                   parse_classes(told.get(_CLASSES)))

    def variable(self):
        """The variable ``data`` of a network, told this."""
        said = {_IMAGE_SHAPE: self.shape and ",".join(map(str, self.shape)), _RESIZE: self.resize and str(self.resize),
                _CLASSES: self.classes and json.dumps(list(self.classes))}
        return mx.sym.var("data", attr={name: text for name, text in said.items() if text} or None)

    def resize_for(self, image_shape):
        """`resize` for images of this shape: a side in pixels belongs to the size that it was told with, and is None
        for another."""
        return self.resize if self.resize == "squeeze" or tuple(image_shape) == self.shape else None


def image_variable(image_shape=None, resize=None):
    """The variable ``data`` of a network, told the attributes of `ImageInput`.

    >>> image_shape_of(mx.sym.Flatten(image_variable((3, 224, 224))))
    (3, 224, 224)
    >>> resize_of(mx.sym.Flatten(image_variable((3, 224, 224), 256)))
    256
    """
    return ImageInput(image_shape, resize).variable()


def image_shape_of(symbol):
    """Channels, height, width that a network says, in pixels; None where it says nothing."""
    return ImageInput.of(symbol).shape


def resize_of(symbol, image_shape=None):
    """The `resize` that a network says: int, ``squeeze``, or None where it says nothing, or, with an `image_shape`,
    nothing for images of this shape (`ImageInput.resize_for`)."""
    said = ImageInput.of(symbol)
    return said.resize if image_shape is None else said.resize_for(image_shape)


def parse_resize(text):
    """A shorter side in pixels, or ``squeeze``, in a text; None for anything else.

    >>> parse_resize("256"), parse_resize("squeeze"), parse_resize("-1")
    (256, 'squeeze', None)
    """
    text = str(text)
    return "squeeze" if text == "squeeze" else int(text) if re.fullmatch("[1-9][0-9]{0,3}|10000", text) else None


def parse_image_shape(text):
    """Channels, height, width in a text such as ``3,224,224``; None for anything else.

    >>> parse_image_shape("3,224,224"), parse_image_shape("3,224"), parse_image_shape(None)
    ((3, 224, 224), None, None)
    """
    numbers = re.fullmatch(",".join([r"([1-9][0-9]{0,3}|10000)"] * 3), str(text))
    return tuple(map(int, numbers.groups())) if numbers else None


def parse_classes(text):
    """The names in a text of JSON; None for anything but a list of different ones.

    >>> parse_classes('["cat", "dog"]'), parse_classes('["cat", "cat"]'), parse_classes("[1]"), parse_classes(None)
    (('cat', 'dog'), None, None, None)
    """
    try:
        names = json.loads(text)
        return tuple(names) if names and len(set(names)) == len(names) and all(
            isinstance(name, str) and name for name in names) and isinstance(names, list) else None
    except (TypeError, ValueError, RecursionError):
        return None
