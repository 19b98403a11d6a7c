"""An image file as a person sees it: upright, 8 bits a channel, red, green, blue, nothing transparent.

| file | becomes |
| --- | --- |
| JPEG: colour, grey, CMYK, progressive | upright by its EXIF orientation |
| PNG: colour, grey, palette, 1 to 16 bits | the upper 8 of 16 bits; upright by its EXIF orientation |
| transparent (PNG, WebP, GIF, …) | laid over white |
| TIFF, BMP, GIF, WebP, AVIF, JPEG 2000, PPM | the first picture of several |

JPEG and PNG files that OpenCV shows so are decoded by it, all others by Pillow: the pixels are those of MXNet's
reader, which holds an OpenCV of its own, wherever that one shows what is expected (see `is_plain`).

A small file can ask for much. OpenCV takes up to 11 bytes a pixel (a progressive JPEG in CMYK), Pillow up to 25 (JPEG
2000), so that the latter decodes half as many pixels, and a thread takes at most 2.2 GB. Each scan of a JPEG goes
through the whole picture again; common encoders write 18 at most, libtiff stops at 100.
"""
import io
import re
import warnings

import cv2
import numpy as np
from PIL import Image, ImageOps

from transfer_gluon.base.errors import InputError
from transfer_gluon.base.regular import read_regular

# Pillow warns of odd tags, and from MAX_IMAGE_PIXELS on; it refuses twice as many, and that is enough.
warnings.filterwarnings("ignore", module="PIL")
MOST_PIXELS_BY_PILLOW = Image.MAX_IMAGE_PIXELS
MOST_PIXELS = 2 * MOST_PIXELS_BY_PILLOW
MOST_SCANS = 100
_MOST_SCANNED = 20 * MOST_PIXELS    # pixels × scans
_MOST_SEGMENTS = 10_000             # what comes before and between the scans; a long colour profile takes 255

_JPEG, _PNG = b"\xff\xd8", b"\x89PNG\r\n\x1a\n"
_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")      # not stuffed, no filling, no restart
_SCAN, _END = 0xda, 0xd9
_TOGETHER = 2**22                   # pixels that are converted at a time
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
        return decode(read_regular(path))
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}.") from None
    except InputError as error:
        raise InputError(f"{path}: {error}.") from None


def decode(data):
    """As `load_image`, from the bytes of a file. The message of the InputError says only what is wrong."""
    header = read_header(data)
    return decode_plain(data) if is_plain(data, header) else _decode_odd(header)


def is_plain(data, header=None):
    """Whether OpenCV, and with it MXNet's reader, shows these bytes of an image file as a person expects.

    True for JPEG; for PNG unless it is transparent or marked as turned, which MXNet's OpenCV ignores; for nothing else,
    since that OpenCV reads no GIF, WebP, JPEG 2000, …. Only the header is read, unless it is given.

    Raises: InputError for bytes that are no image, a JPEG or PNG that was cut off, more than `MOST_PIXELS` pixels, a
    JPEG of more than `MOST_SCANS` scans, or of 20 in the largest.
    """
    header = header or read_header(data)
    if data.startswith(_JPEG):
        return True
    # Pillow's getexif() of a PNG decodes it to the end, where the orientation may stand too.
    return data.startswith(_PNG) and not _is_transparent(header) and b"eXIf" not in data


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
    scans = _scans(data) if data.startswith(_JPEG) else 0
    if data.startswith(_PNG) and b"IEND" not in data:
        raise InputError("a PNG that was cut off")
    try:
        header = Image.open(io.BytesIO(data), formats=_FORMATS)
    except Image.DecompressionBombError:
        raise InputError(f"more than {MOST_PIXELS // 10**6} million pixels") from None
    except Exception:       # Pillow's readers raise OSError, ValueError, SyntaxError, struct.error, …
        raise InputError("cannot be decoded as an image") from None
    most = min(MOST_SCANS, _MOST_SCANNED // (header.width * header.height))
    if scans > most:
        raise InputError(f"a JPEG of {scans} scans, which would take long to decode; expected at most {most}")
    return header


def _scans(data):
    """How many scans a JPEG has. OpenCV decodes one that was cut off without a word; this raises InputError."""
    place, scans = len(_JPEG), 0
    for _ in range(_MOST_SEGMENTS):
        marker = _MARKER.search(data, place)    # behind a segment, or behind the data of a scan
        if marker is None:
            raise InputError("a JPEG that was cut off or damaged")
        kind = data[marker.end() - 1]
        if kind == _END:
            return scans
        scans += kind == _SCAN
        place = marker.end() + int.from_bytes(data[marker.end():marker.end() + 2], "big")
    raise InputError(f"a JPEG of more than {_MOST_SEGMENTS} segments")


def _is_transparent(image):
    try:
        return image.has_transparency_data
    except AssertionError:      # a palette that is missing
        raise InputError("cannot be decoded as an image") from None


def _decode_odd(header):
    width, height = header.size
    if width * height > MOST_PIXELS_BY_PILLOW:
        raise InputError(f"{width} × {height} pixels; of this kind of image, expected at most "
                         f"{MOST_PIXELS_BY_PILLOW // 10**6} million")
    try:
        ImageOps.exif_transpose(header, in_place=True)
        pixels = np.empty((header.height, header.width, 3), np.uint8)
        rows = max(1, _TOGETHER // header.width)
        for top in range(0, header.height, rows):
            bottom = min(top + rows, header.height)
            pixels[top:bottom] = _as_shown(header.crop((0, top, header.width, bottom)))
        return pixels
    except InputError:
        raise
    except Exception:       # see read_header
        raise InputError("cannot be decoded as an image") from None


def _as_shown(image):
    """A part of an image as a person sees it: an array (height, width, 3), or (height, width, 1) if grey."""
    if image.mode.startswith("I;16"):
        return (np.asarray(image) >> 8).astype(np.uint8)[:, :, None]
    if image.mode in "IF":
        raise InputError("32 bits a pixel; expected 8 or 16 a channel")
    if _is_transparent(image):
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.asarray(image.convert("RGB"))
