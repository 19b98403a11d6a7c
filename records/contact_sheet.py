"""A picture of a list or record: some images of every class in a row."""
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from transfer_gluon.base.errors import InputError
from transfer_gluon.base.files import replacing
from transfer_gluon.iters.images import decode
from transfer_gluon.records.class_names import class_name
from transfer_gluon.records.contents import contents

_SIDE, _GAP, _CAPTION = 96, 4, 160      # pixels
_ROWS = 100                             # classes shown at most


def contact_sheet(path, picture, labels, null_label, names=None, columns=10):
    """Write a PNG with up to `columns` images a class of a ``.rec`` or ``.lst`` file, spread evenly over the class.

    Parameters
    ----------
    path : str, Path or ImageList
    picture : str or Path
    labels : dict
        From index to label, of the images to choose from; `records.check.examine` finds them.
    null_label : int
    names : list of str, optional
        Of the classes.
    columns : int

    Images that cannot be shown are a cross. Returns: the number of classes left out, beyond a hundred.
    """
    members = {}
    for index, label in labels.items():
        members.setdefault(label, []).append(index)
    shown = sorted(members)[:_ROWS]
    step = _SIDE + _GAP
    sheet = Image.new("RGB", (_CAPTION + columns * step, max(len(shown), 1) * step + _GAP), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
    place_of = {}
    for row, label in enumerate(shown):
        text = f"{class_name(label, null_label, names)[:20]}\n{len(members[label])} images"
        draw.text((_GAP, _GAP + row * step + _SIDE // 2), text, "black", font, anchor="lm")
        chosen = np.linspace(0, len(members[label]) - 1, min(columns, len(members[label]))).round().astype(int)
        place_of.update((members[label][i], (_CAPTION + column * step, _GAP + row * step))
                        for column, i in enumerate(chosen))
    for content in contents(path, null_label):
        if content.index in place_of and content.packed:
            sheet.paste(_thumbnail(content.packed.image), place_of[content.index])
    with replacing(picture) as temporary:
        sheet.save(temporary, "PNG")
    return len(members) - len(shown)


def _thumbnail(data):
    """An image of `_SIDE` × `_SIDE` pixels, the picture in its middle."""
    tile = Image.new("RGB", (_SIDE, _SIDE), "lightgrey")
    try:
        image = Image.fromarray(decode(data))
    except InputError:
        draw = ImageDraw.Draw(tile)
        draw.line((0, 0, _SIDE, _SIDE), "white", 4)
        draw.line((0, _SIDE, _SIDE, 0), "white", 4)
        return tile
    image.thumbnail((_SIDE, _SIDE))
    tile.paste(image, ((_SIDE - image.width) // 2, (_SIDE - image.height) // 2))
    return tile
