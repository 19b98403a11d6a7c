"""Damaged records, indices and lists: every one is reported or read, none ends the process."""
import hashlib
import io
import json
import struct
import subprocess
import sys
import zlib

import cv2
import numpy as np
import pytest
from conftest import ROOT
from PIL import Image

from transfer_gluon.base.errors import InputError
from transfer_gluon.iters import read_list, write_list
from transfer_gluon.iters.images import decode
from transfer_gluon.iters.transforms import centre_crop
from transfer_gluon.records import ensure_checked, pack

DAMAGED = 300
# Reads what the check let pass with MXNet's reader and with ours, in a process of its own that may die.
READ = """
import hashlib, json, sys
from pathlib import Path
from transfer_gluon.base.errors import InputError
from transfer_gluon.iters import Augmentation, OrderedIter, RecordIter, ShuffledIter, read_list
from transfer_gluon.iters.transforms import centre_crop

def readers(images):
    yield lambda: RecordIter(images, 4, (3, 16, 16), Augmentation(), threads=2)
    yield lambda: ShuffledIter(images, 4, (3, 16, 16), Augmentation(), threads=2, packed=True)
    yield lambda: OrderedIter(images, 4, centre_crop(16, 16), threads=2, packed=True)

for folder in map(Path, json.loads(sys.stdin.read())):
    for number, opened in enumerate(readers(read_list(folder / "x.lst"))):
        print(folder.name, number, flush=True, end=" ")
        try:
            batches = [batch.data[0].asnumpy() for batch in opened()]
            print("read", sum(map(len, batches)), hashlib.sha256(b"".join(map(bytes, batches))).hexdigest())
        except InputError as error:
            print("refused:", str(error).splitlines()[0])
"""


def read_by_all(folders):
    """The lines that `READ` prints: three a folder, the last of them by the reader that changes nothing by chance."""
    done = subprocess.run([sys.executable, "-c", READ], input=json.dumps([*map(str, folders)]), cwd=ROOT, text=True,
                          capture_output=True, timeout=300)
    lines = done.stdout.splitlines()
    assert done.returncode == 0, f"after {lines[-1:]}: {done.stderr[-3000:]}"
    assert len(lines) == 3 * len(folders) and all(" read " in line or " refused: " in line for line in lines)
    return lines


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A list of 12 images, JPEG and PNG, colour and grey, as the bytes of its three files by suffix."""
    folder, rng = tmp_path_factory.mktemp("whole"), np.random.default_rng(0)
    files = []
    for i in range(12):
        noise = rng.integers(0, 256, (20, 24, 3) if i % 3 else (20, 24), dtype=np.uint8)
        files.append(str(folder / f"{i}{'.png' if i % 4 == 0 else '.jpg'}"))
        cv2.imwrite(files[-1], cv2.GaussianBlur(noise, (0, 0), 2))
    images = read_list(write_list(folder / "x.lst", range(12), files))
    pack(images, progress=False)
    return {suffix: images.path.with_suffix(suffix).read_bytes() for suffix in (".rec", ".idx", ".lst")}


def damage(content, rng, likely=()):
    """One to three of the things that happen to files; half of the times at one of the `likely` places."""
    content = bytearray(content)
    for _ in range(rng.integers(1, 4)):
        place = int(rng.choice(likely) + rng.integers(0, 40) if len(likely) and rng.random() < 0.5
                    else rng.integers(0, len(content) + 1)) % max(len(content), 1)
        length = int(2 ** rng.uniform(0, 8))
        other = int(rng.integers(0, len(content) + 1))
        kind = rng.integers(0, 8)
        if kind == 0 and content:
            content[place] ^= 1 << rng.integers(0, 8)
        elif kind == 1:
            content[place:place + length] = rng.bytes(length)
        elif kind == 2:
            del content[place:]
        elif kind == 3:
            del content[place:place + length]
        elif kind == 4:
            content[place:place] = content[other:other + length]
        elif kind == 5:
            content[place:place + 4] = rng.choice([b"\xff\xff\xff\xff", bytes(4), b"\x00\x00\x00\x80", b"9999"])
        elif kind == 6:
            content[place:place + length] = bytes(length)
        elif content:
            content[place] = rng.integers(48, 58)       # a digit, for the files that are text
    return bytes(content)


def test_damaged_files_are_reported_or_read(whole, tmp_path):
    rng = np.random.default_rng(1)
    beginnings = [int(line.split(b"\t")[1]) for line in whole[".idx"].splitlines()]
    passed, reported = [], 0
    for number in range(DAMAGED):
        suffix = (".rec", ".rec", ".idx", ".lst")[number % 4]
        folder = tmp_path / f"{number:03d}{suffix}"
        folder.mkdir()
        for name, content in whole.items():
            mutated = damage(content, rng, beginnings if suffix == ".rec" else ()) if name == suffix else content
            (folder / f"x{name}").write_bytes(mutated)
        try:
            ensure_checked(read_list(folder / "x.lst").record, threads=2)
            passed.append(str(folder))
        except InputError:
            reported += 1
    assert min(reported, len(passed)) > DAMAGED / 10       # both paths are tried
    read_by_all(passed)


# Valid containers with wrong insides

MAGIC = struct.pack("<I", 0xced7230a)
COUNT, SWAPPED = 12, 5      # images of a record, and the one that is changed


def small(kind="PNG", mode="RGB", **options):
    """A smooth picture of 24 × 20 pixels as the bytes of an image file."""
    pixels = cv2.GaussianBlur(np.random.default_rng(3).integers(0, 256, (20, 24, 3), dtype=np.uint8), (0, 0), 2)
    picture, buffer = Image.fromarray(pixels).convert(mode), io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def framed(*parts):
    """Parts of a record, (kind, bytes), as they stand in a file."""
    return b"".join(MAGIC + struct.pack("<I", kind << 29 | len(part)) + part + bytes(-len(part) % 4)
                    for kind, part in parts)


def content(image, count=0, label=float(SWAPPED), index=SWAPPED, unused=0, vector=b""):
    return struct.pack("<IfQQ", count, label, index, unused) + vector + image


def record_of(bodies):
    """The ``.rec`` and the ``.idx`` of records that are framed already."""
    offsets = np.cumsum([0, *map(len, bodies)])[:-1].tolist()
    return b"".join(bodies), "".join(f"{i}\t{offset}\n" for i, offset in enumerate(offsets)).encode()


def undamaged():
    return [small("JPEG" if i % 2 else "PNG", "L" if i % 3 else "RGB") for i in range(COUNT)]


def headers(good):
    """Insides of one record: its header and its parts."""
    whole = content(good)
    yield "as it is", framed((0, whole)), "same"
    yield "unused bytes", framed((0, content(good, unused=2**64 - 1))), "same"
    yield "vector of one", framed((0, content(good, 1, 0.0, vector=struct.pack("<f", SWAPPED)))), "same"
    for count in (1, 2, 3, 1000, 2**30, 2**32 - 1):
        yield f"count {count}", framed((0, content(good, count))), "refused"
    yield "vector of two", framed((0, content(good, 2, vector=bytes(8)))), "refused"
    for label in (-1.0, 2.5, float("nan"), float("inf"), -float("inf"), 1e30, 2.0**25):
        yield f"label {label}", framed((0, content(good, label=label))), "refused"
    for index in (SWAPPED + 1, 0, 2**53 + 1, 2**64 - 1):
        yield f"index {index}", framed((0, content(good, index=index))), "refused"
    for length in (0, 1, 4, 23, 24):
        yield f"{length} bytes", framed((0, whole[:length])), "refused"
    for kinds in ((1,), (2,), (3,), (4,), (7,), (1, 1), (1, 2), (2, 3), (3, 1), (0, 3), (1, 0), (1, 4), (1, 2, 1)):
        yield f"parts {kinds}", framed(*((kind, whole) for kind in kinds)), "refused"
    yield "two in one", framed((0, whole), (0, whole)), "refused"
    yield "empty parts", framed((1, b""), (2, b""), (3, b"")), "refused"
    yield "empty first part", framed((1, b""), (3, whole)), "refused"
    yield "header alone first", framed((1, whole[:24]), (3, whole[24:])), "refused"
    for wrong in (-4, -1, 1, 4, 2**20, 2**29 - 1 - len(whole)):
        longer = bytearray(framed((0, whole)))
        longer[4:8] = struct.pack("<I", len(whole) + wrong)
        # A byte less of what pads the record, or behind the end of the image, changes nothing.
        yield f"length {wrong:+}", bytes(longer), "same or refused"
    for padding in (b"\xff" * 8, MAGIC * 2):
        yield f"behind the record {padding[:1]}", framed((0, whole)) + padding, "refused"


def indices(idx):
    """Lines of the index."""
    lines = idx.splitlines()
    yield "as it is", lines, "same"
    yield "reversed", lines[::-1], "same"
    yield "rotated", lines[5:] + lines[:5], "same"
    yield "leading zeros", [b"000" + line for line in lines], "same"
    yield "blanks behind", [line + b"  " for line in lines], "same"
    yield "carriage returns", [line + b"\r" for line in lines], "same"
    yield "doubled", lines + lines[3:4], "refused"
    yield "doubled at the same place", lines[:4] + lines[3:], "refused"
    for gone in (0, 5, 11):
        yield f"without {gone}", lines[:gone] + lines[gone + 1:], "refused"
    yield "empty", [], "refused"
    yield "swapped", [b"0\t" + lines[1].split(b"\t")[1], b"1\t0", *lines[2:]], "refused"
    yield "all at the beginning", [b"%d\t0" % i for i in range(COUNT)], "refused"
    yield "one more", [*lines, b"12\t0"], "refused"
    for line in (b"5", b"5\t", b"\t5", b"", b"5\t-8", b"5\t+8", b"5\t0x10", b"5\t1_0", b"5\t8.0", b"5\t8\t9", b"5 8",
                 b"-5\t8", b"5\t\xd9\xa1", b"5\t8\0", b"5\t%d" % (2**63 - 1), b"5\t%d" % 2**62, b"5\t%d" % 2**64,
                 b"5\t1" + b"0" * 5000, b"%d\t8" % 2**64, b"5\t3"):
        yield f"line {line[:20]}", [*lines[:5], line, *lines[6:]], "refused"


def many_scans(image, count):
    """A progressive JPEG whose last scan is there `count` times more."""
    return image[:-2] + image[image.rindex(b"\xff\xda"):-2] * count + image[-2:]


def huge(kind):
    """An image whose header says that it has 60000 × 60000 pixels."""
    image = bytearray(small(kind))
    size = struct.pack("<HH", 60000, 60000)
    if kind == "PNG":
        image[16:24] = struct.pack(">II", 60000, 60000)
        image[29:33] = struct.pack(">I", zlib.crc32(image[12:29]))
    elif kind == "JPEG":
        frame = image.index(b"\xff\xc0")
        image[frame + 5:frame + 9] = size
    elif kind == "BMP":
        image[18:26] = struct.pack("<ii", 60000, 60000)
    else:
        image[6:10] = size
    return bytes(image)


def images_of_all_kinds():
    """(name, image file, "read" or "refused"); read by MXNet's reader, too, and as `decode` shows it."""
    progressive, plain, png = small("JPEG", progressive=True), small("JPEG"), small()
    for kind in ("JPEG", "PNG", "BMP"):
        for mode in {"JPEG": ("RGB", "L", "CMYK"), "PNG": ("1", "L", "P", "RGB")}.get(kind, ("1", "L", "P", "RGB")):
            yield f"{kind} {mode}", small(kind, mode), "read"
        yield f"huge {kind}", huge(kind), "refused"
    yield "progressive", progressive, "read"
    yield "trailing bytes", plain + b"\xff\xda film" * 500, "read"
    yield "trailing bytes, PNG", png + bytes(1000), "read"
    yield "twenty scans", many_scans(progressive, 10), "read"
    yield "many scans", many_scans(progressive, 100), "refused"
    yield "many segments", plain[:2] + b"\xff\xe5\0\2" * 10_000 + plain[2:], "refused"
    for part in range(1, 8):
        yield f"progressive, {part} eighths", progressive[:len(progressive) * part // 8], "refused"
    for part in (0.1, 0.5, 0.9):
        yield f"PNG, {part}", png[:int(len(png) * part)], "refused"
        yield f"JPEG, {part}", plain[:int(len(plain) * part)], "refused"
    yield "BMP, half", small("BMP")[:700], "refused"
    palette = small(mode="P")
    start = palette.index(b"PLTE") - 4
    yield "no palette", palette[:start] + palette[palette.index(b"IDAT") - 4:], "refused"
    yield "huge GIF", huge("GIF"), "refused"
    for kind in ("GIF", "WEBP", "JPEG2000", "PPM", "ICO"):
        yield kind, small(kind), "refused"
    # Not Zstandard: a Pillow that cannot write it writes beyond its memory instead.
    for compression in (None, "tiff_lzw", "tiff_deflate", "tiff_adobe_deflate", "jpeg", "packbits"):
        yield f"TIFF {compression}", small("TIFF", compression=compression), "refused"
    for other in (b"", b"\xff\xd8", b"\xff\xd8\xff\xd9", b"\x89PNG\r\n\x1a\nIEND", b"BM", b"text",
                  b"PK\3\4" + bytes(99), b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
                  framed((0, content(plain))), bytes(5000)):
        yield f"{other[:8]}", other, "refused"


def lists(lst):
    """Lines of the list."""
    lines = lst.decode().splitlines()
    yield "as it is", lst, "same"
    yield "byte order mark", b"\xef\xbb\xbf" + lst, "same"
    yield "carriage returns", lst.replace(b"\n", b"\r\n"), "same"
    yield "floats", "\n".join("{}.000000\t{}.000000\t{}".format(*line.split("\t")) for line in lines).encode(), "same"
    yield "blank lines", lst.replace(b"\n", b"\n\n \n"), "same"
    yield "blanks", "\n".join(line.replace("\t", " \t ") for line in lines).encode(), "same"
    for label in ("1_1", "\u0661", "1e3", "nan", "inf", "-1", "+1", "0x1", "1.5", "", "1,5", "1" * 40, "16777217",
                  "1.0.0", "True"):
        yield f"label {label}", "\n".join([*lines[:5], f"5\t{label}\ta.jpg", *lines[6:]]).encode(), "refused"
    for line in ("5\t1\ta\0b", "5\t1\t", "5\t1", "5\t1\ta\tb", "4\t1\ta", "5\t1\ta\udcff"):
        text = "\n".join([*lines[:5], line, *lines[6:]])
        yield f"line {line!r}", text.encode("utf-8", "surrogateescape"), "refused"


def mutants():
    """(name, .rec, .idx, .lst, expectation, image that was put in or None)."""
    images = undamaged()
    bodies = [framed((0, content(image, label=float(i), index=i))) for i, image in enumerate(images)]
    rec, idx = record_of(bodies)
    lst = "".join(f"{i}\t{i}\tgone/{i}.jpg\n" for i in range(COUNT)).encode()
    for name, body, expected in headers(images[SWAPPED]):
        yield f"record: {name}", *record_of([*bodies[:SWAPPED], body, *bodies[SWAPPED + 1:]]), lst, expected, None
    for name, lines, expected in indices(idx):
        yield f"index: {name}", rec, b"".join(line + b"\n" for line in lines), lst, expected, None
    for name, image, expected in images_of_all_kinds():
        body = framed((0, content(image)))
        yield f"image: {name}", *record_of([*bodies[:SWAPPED], body, *bodies[SWAPPED + 1:]]), lst, expected, image
    for name, text, expected in lists(lst):
        yield f"list: {name}", rec, idx, text, expected, None


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_valid_containers_with_wrong_insides(tmp_path):
    """Each is refused in one message, or read by all three readers as what it holds."""
    accepted, wrong = {}, []
    for number, (name, rec, idx, lst, expected, image) in enumerate(mutants()):
        folder = tmp_path / f"{number:03d}"
        folder.mkdir()
        for suffix, data in ((".rec", rec), (".idx", idx), (".lst", lst)):
            (folder / f"x{suffix}").write_bytes(data)
        try:
            ensure_checked(read_list(folder / "x.lst").record, threads=1)
            accepted[folder] = name, image
            if expected == "refused":
                wrong.append(f"{name}: accepted")
        except InputError as error:
            if "refused" not in expected or not str(error).startswith(str(folder / "x.")):
                wrong.append(f"{name}: {error}")
    assert not wrong
    assert number >= 150 and len(accepted) > 20
    prepare, good = centre_crop(16, 16), undamaged()
    for (name, image), line in zip(accepted.values(), read_by_all(accepted)[2::3]):
        shown = [image if image and i == SWAPPED else one for i, one in enumerate(good)]
        pixels = b"".join(bytes(prepare(decode(one)).transpose(2, 0, 1)) for one in shown)
        assert line.split()[2:] == ["read", str(COUNT), hashlib.sha256(pixels).hexdigest()], (name, line)
