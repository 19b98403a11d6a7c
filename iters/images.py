"""An image file as a person sees it: upright, 8 bits a channel, red, green, blue, nothing transparent.

| file | becomes |
| --- | --- |
| JPEG: colour, grey, CMYK, progressive | upright by its EXIF orientation |
| PNG: colour, grey, palette, 1 to 16 bits | the upper 8 of 16 bits; upright by its EXIF orientation |
| transparent (PNG, WebP, GIF, …) | laid over white |
| TIFF, BMP, GIF, WebP, AVIF, JPEG 2000, PPM | the first picture of several |

JPEG and PNG files that OpenCV shows so are decoded by it, all others by Pillow: the pixels are those of MXNet's
reader, which holds an OpenCV of its own, wherever that one shows what is expected (see `is_plain`).
"""
import io
import warnings
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageOps

from base.errors import InputError

# Pillow warns of odd tags, and from MAX_IMAGE_PIXELS on; it refuses twice as many, and that is enough.
warnings.filterwarnings("ignore", module="PIL")
MOST_PIXELS = 2 * Image.MAX_IMAGE_PIXELS

_JPEG, _PNG = b"\xff\xd8", b"\x89PNG\r\n\x1a\n"
Image.init()
# Not all of Pillow's: it would start a program for EPS, and take any bytes for a TGA.
_FORMATS = [name for name in ("JPEG", "PNG", "BMP", "GIF", "WEBP", "AVIF", "TIFF", "JPEG2000", "PPM")
            if name in Image.OPEN]


def load_image(path):
    """The pixels of an image file.

    Returns: uint8 array (height, width, 3), channels red, green, blue.

    Raises: InputError that names the file and what is wrong with it.

    >>> _ = cv2.imwrite("/tmp/example.png", np.full((2, 3), 65535, np.uint16))
    >>> load_image("/tmp/example.png")[0, 0]
    array([255, 255, 255], dtype=uint8)
    """
    try:
        return decode(Path(path).read_bytes())
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}.") from None
    except InputError as error:
        raise InputError(f"{path}: {error}.") from None


def decode(data):
    """As `load_image`, from the bytes of a file. The message of the InputError says only what is wrong."""
    return decode_plain(data) if is_plain(data) else _decode_odd(data)


def is_plain(data):
    """Whether OpenCV, and with it MXNet's reader, shows these bytes of an image file as a person expects.

    True for JPEG; for PNG unless it is transparent or marked as turned, which MXNet's OpenCV ignores; for nothing else,
    since that OpenCV reads no GIF, WebP, JPEG 2000, …. Only the header is read.

    Raises: InputError for bytes that are no image, a JPEG or PNG that was cut off, and more than `MOST_PIXELS` pixels.
    """
    header = read_header(data)
    if data.startswith(_JPEG):
        return True
    # Pillow's getexif() of a PNG decodes it to the end, where the orientation may stand too.
    return data.startswith(_PNG) and not header.has_transparency_data and b"eXIf" not in data


def try_decoding(data):
    """Raise InputError if `decode_plain` would.

    Of a JPEG, an eighth of the pixels is computed, which looks at every byte as well and takes half the time.
    """
    decode_plain(data, cv2.IMREAD_REDUCED_COLOR_8 if data.startswith(_JPEG) else cv2.IMREAD_COLOR_RGB)


def decode_plain(data, flags=cv2.IMREAD_COLOR_RGB):
    """The pixels of a JPEG or PNG that `is_plain`, by OpenCV; `flags` are those of ``cv2.imdecode``."""
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:
        image = None
    if image is None:
        raise InputError("cannot be decoded as an image")
    return image


def read_header(data):
    """A Pillow image that knows size and kind, and has decoded nothing. Raises: as `is_plain`."""
    if not data:
        raise InputError("empty")
    # A JPEG ends with FFD9 behind its scan, FFDA; OpenCV decodes one that was cut off without a word.
    if data.startswith(_JPEG) and data.rfind(b"\xff\xd9") <= data.rfind(b"\xff\xda"):
        raise InputError("a JPEG that was cut off")
    if data.startswith(_PNG) and b"IEND" not in data:
        raise InputError("a PNG that was cut off")
    try:
        return Image.open(io.BytesIO(data), formats=_FORMATS)
    except Image.DecompressionBombError:
        raise InputError(f"more than {MOST_PIXELS // 10**6} million pixels") from None
    except Exception:       # Pillow's readers raise OSError, ValueError, SyntaxError, struct.error, …
        raise InputError("cannot be decoded as an image") from None


def _decode_odd(data):
    try:
        image = ImageOps.exif_transpose(read_header(data))
        if image.mode.startswith("I;16"):
            return np.repeat((np.asarray(image) >> 8).astype(np.uint8)[:, :, None], 3, axis=2)
        if image.mode in "IF":
            raise InputError("32 bits a pixel; expected 8 or 16 a channel")
        if image.has_transparency_data:
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        return np.asarray(image.convert("RGB"))
    except InputError:
        raise
    except Exception:       # see read_header
        raise InputError("cannot be decoded as an image") from None
