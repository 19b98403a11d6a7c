"""Packing, checking, describing and taking apart records."""
import errno
import fcntl
import importlib
import io
import json
import os
import random
import resource
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
import zlib
from concurrent.futures import ThreadPoolExecutor, TimeoutError

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from conftest import ROOT, call, make_domain
from filelock import FileLock
from PIL import Image

from transfer_gluon.base.errors import InputError
from transfer_gluon.base.framework import mx
from transfer_gluon.iters import read_list, write_list
from transfer_gluon.iters.image_source import open_source
from transfer_gluon.iters.images import MOST_PIXELS, decode, is_plain, load_image
from transfer_gluon.iters.recordio import open_record, read_at, read_index, to_bytes
from transfer_gluon.records import Options, ensure_checked, ensure_packed, ensure_ready, is_packed, pack
from transfer_gluon.records.check import Finding, check, check_files, examine
from transfer_gluon.records.class_names import read_classes
from transfer_gluon.records.contact_sheet import contact_sheet
from transfer_gluon.records.describe import describe, repeated
from transfer_gluon.records.make_list import list_folder, mask_list, split_list
from transfer_gluon.records.manifest import checked_before, manifest_path, read_manifest, stamps
from transfer_gluon.records.unpack import unpack
from transfer_gluon.tools import digits, im2rec_helpers

TOOL = "tools/im2rec_helpers.py"
MAGIC = struct.pack("<I", 0xced7230a)


@pytest.fixture
def images(tmp_path):
    """18 images whose labels are all different, to tell them apart."""
    return read_list(make_domain(tmp_path, "source", list(range(18))))


def names(folder):
    """What is in a folder, but for the locks of packing, which stay."""
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")


def opened(record):
    return mx.recordio.MXIndexedRecordIO(str(record.with_suffix(".idx")), str(record), "r")


def write_with_mxnet(record, contents, labels=None):
    """A record by MXNet's own writer, as from elsewhere."""
    writer = mx.recordio.MXIndexedRecordIO(str(record.with_suffix(".idx")), str(record), "w")
    for i, content in enumerate(contents):
        header = mx.recordio.IRHeader(0, labels[i] if labels else 0, i, 0)
        writer.write_idx(i, mx.recordio.pack(header, content))
    writer.close()
    return record


def picture(height=24, width=32, seed=0):
    """A smooth picture, red at the top left."""
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    image = cv2.GaussianBlur(image, (0, 0), 4)
    image[:height // 2, :width // 2] = [250, 10, 10]
    return image


def encoded(image, kind="PNG", **options):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, kind, **options)
    return buffer.getvalue()


# The format

def test_records_are_those_of_mxnet_byte_for_byte(tmp_path):
    rng = random.Random(0)
    contents = [b"", b"x", MAGIC, MAGIC * 2, b"abc" + MAGIC, b"abcd" + MAGIC + b"z"] + [
        b"".join(rng.choice([MAGIC, rng.randbytes(rng.randrange(6))]) for _ in range(9)) for _ in range(100)]
    record = write_with_mxnet(tmp_path / "x.rec", contents, range(len(contents)))
    assert record.read_bytes() == b"".join(to_bytes(i, i, content) for i, content in enumerate(contents))
    with open(record, "rb") as file:
        end = 0
        for (index, offset), content in zip(read_index(tmp_path / "x.idx"), contents):
            assert offset == end
            packed, end = read_at(file, offset)
            assert (packed.index, packed.label(), packed.image) == (index, index, content)
        with pytest.raises(EOFError):
            read_at(file, end)


def test_labels_are_one_number(tmp_path):
    image = encoded(picture())
    record = write_with_mxnet(tmp_path / "x.rec", [image] * 5, [[4.0], [1.0, 2.0], 2.5, -1, float("nan")])
    found = list(examine(record))
    assert found[0].label == 4 and found[0].problem is None
    whole = "expected a whole number from 0 up"
    assert [finding.problem for finding in found[1:]] == [
        "its label is a vector of 2 numbers; expected one number", f"its label is 2.5; {whole}",
        f"its label is -1; {whole}", f"its label is nan; {whole}"]
    with pytest.raises(InputError, match="4 of its records cannot be unpacked(?s:.*)vector of 2 numbers"):
        unpack(record, tmp_path / "out")
    assert names(tmp_path) == ["x.idx", "x.rec"]


# Images as a person sees them

KINDS = {
    "rgb.png": lambda image: encoded(image),
    "grey.png": lambda image: encoded(image[:, :, 0]),
    "16.png": lambda image: cv2.imencode(".png", image[:, :, ::-1].astype(np.uint16) * 257)[1].tobytes(),
    "16-grey.png": lambda image: cv2.imencode(".png", image[:, :, 0].astype(np.uint16) * 257)[1].tobytes(),
    "16-grey.tif": lambda image: encoded(image[:, :, 0].astype(np.uint16) * 257, "TIFF"),
    "turned.png": lambda image: encoded(np.rot90(image), exif=turned()),
    "turned.tif": lambda image: encoded(np.rot90(image), "TIFF", exif=turned()),
    "turned.jpg": lambda image: encoded(np.rot90(image), "JPEG", quality=100, subsampling=0, exif=turned()),
    "cmyk.jpg": lambda image: cmyk(image),
    "bmp.bmp": lambda image: encoded(image, "BMP"),
    "lossless.webp": lambda image: encoded(image, "WEBP", lossless=True),
    "transparent.png": lambda image: encoded(transparent(image)),
    "transparent.webp": lambda image: encoded(transparent(image), "WEBP", lossless=True, exact=True),
}


def turned():
    """EXIF data that says: turn this by 90 degrees clockwise."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


def cmyk(image):
    buffer = io.BytesIO()
    Image.fromarray(image).convert("CMYK").save(buffer, "JPEG", quality=100, subsampling=0)
    return buffer.getvalue()


def transparent(image):
    """`image`, with black where it is transparent: its right half."""
    alpha = np.full(image.shape[:2], 255, np.uint8)
    alpha[:, image.shape[1] // 2:] = 0
    return np.dstack([image * (alpha[:, :, None] > 0), alpha])


def expected(name, image):
    if "grey" in name:
        return np.repeat(image[:, :, :1], 3, axis=2)
    if "transparent" in name:
        return np.where(np.arange(image.shape[1])[None, :, None] < image.shape[1] // 2, image, 255)
    return image


@pytest.mark.parametrize("name", KINDS)
def test_images_are_upright_rgb_over_white(tmp_path, name):
    image = picture()
    (tmp_path / name).write_bytes(KINDS[name](image))
    loaded = load_image(tmp_path / name)
    assert loaded.shape == image.shape and loaded.dtype == np.uint8
    difference = np.abs(loaded.astype(int) - expected(name, image))
    assert difference.max() <= (0 if name.endswith(("png", "tif", "bmp", "webp")) else 12) and difference.mean() < 2


def test_mxnet_reads_the_pixels_that_we_show(tmp_path):
    """From a record that was packed, whatever the file was."""
    image, files = picture(), []
    for name, make in KINDS.items():
        files.append(str(tmp_path / name))
        (tmp_path / name).write_bytes(make(image))
    images = read_list(write_list(tmp_path / "x.lst", [0] * len(files), files))
    record = pack(images, progress=False)
    batch = mx.io.ImageRecordIter(path_imgrec=str(record), data_shape=(3, 24, 32), batch_size=len(files)).next()
    for name, file, pixels in zip(KINDS, files, batch.data[0].asnumpy()):
        np.testing.assert_array_equal(pixels.transpose(1, 2, 0), load_image(file), name)
    for index, (name, make) in enumerate(KINDS.items()):
        content = mx.recordio.unpack(opened(record).read_idx(index))[1]
        kept = name.endswith((".jpg", "16.png", "grey.png", "rgb.png"))
        assert (content == make(image)) == kept == is_plain(make(image)), name


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP"])
@pytest.mark.parametrize("height, width", [(1, 1), (5, 7), (3, 400)])
def test_the_smallest_images_are_packed_and_checked(tmp_path, kind, height, width):
    (tmp_path / "x").write_bytes(encoded(picture(height, width), kind))
    images = read_list(write_list(tmp_path / "x.lst", [0], [str(tmp_path / "x")]))
    record = pack(images, progress=False)
    assert not list(check(record, threads=1)) and not list(check(images.path, threads=1))
    write_with_mxnet(tmp_path / "theirs.rec", [encoded(picture(height, width), kind)])
    assert not list(check(tmp_path / "theirs.rec", threads=1))


def png_bomb(width, height):
    """A small PNG file of so many pixels, as far as its header goes."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return encoded(picture())[:12] + header + struct.pack(">I", zlib.crc32(header)) + encoded(picture())[33:]


def test_files_that_are_no_images_are_named(tmp_path):
    whole = {".jpg": encoded(picture(), "JPEG"), ".png": encoded(picture())}
    wrong = {"empty.jpg": (b"", "empty"), "text.jpg": (b"text" * 50, "cannot be decoded"),
             "cut.jpg": (whole[".jpg"][:-40], "a JPEG that was cut off"),
             "cut.png": (whole[".png"][:-40], "a PNG that was cut off"),
             "bomb.png": (png_bomb(50000, 50000),
                          f"more than {MOST_PIXELS // 10**6} million pixels")}
    for name, (content, problem) in wrong.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=f"{name}: {problem}"):
            load_image(tmp_path / name)
    with pytest.raises(InputError, match="gone.jpg: No such file"):
        load_image(tmp_path / "gone.jpg")


def test_a_bomb_takes_no_memory(tmp_path):
    """A JPEG that says it has 65500 × 65500 pixels: 12 GB, if one believed it."""
    data = bytearray(encoded(picture(), "JPEG"))
    frame = data.index(b"\xff\xc0")
    data[frame + 5:frame + 9] = struct.pack(">HH", 65500, 65500)
    write_with_mxnet(tmp_path / "x.rec", [bytes(data)])
    problem, = check(tmp_path / "x.rec")
    assert "million pixels" in problem.problem


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_small_file_does_not_ask_for_gigabytes(tmp_path):
    """21 kB of a transparent PNG were 2.8 GB of memory."""
    buffer = io.BytesIO()
    Image.new("1", (13_300, 13_300)).save(buffer, "PNG", transparency=0)
    with pytest.raises(InputError, match="13300 × 13300 pixels; of this kind of image, expected at most 89 million"):
        decode(buffer.getvalue())
    code = ("import resource, sys; from transfer_gluon.iters.images import load_image\n"
            "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
            "load_image(sys.argv[1])\n"
            "print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)")
    Image.new("1", (5_000, 5_000)).save(tmp_path / "x.png", transparency=0)
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "x.png"], cwd=ROOT, capture_output=True, text=True)
    assert int(done.stdout) < 11 * 5_000 ** 2, "3 bytes a pixel come out; converted as a whole it took 15"


@pytest.mark.parametrize("mode, options", [("P", {}), ("RGBA", {}), ("1", {"transparency": 0}), ("L", {}),
                                           ("I;16", {})])
def test_images_are_the_same_whole_and_in_strips(monkeypatch, mode, options):
    image = Image.fromarray(transparent(picture(61, 47)))
    image = Image.fromarray(picture(61, 47)[:, :, 0].astype(np.uint16) * 257) if mode == "I;16" else image.convert(mode)
    buffer = io.BytesIO()
    image.save(buffer, "TIFF" if mode in ("L", "I;16") else "PNG", exif=turned(), **options)
    whole = decode(buffer.getvalue())
    monkeypatch.setattr("transfer_gluon.iters.images._TOGETHER", 61 * 7)
    np.testing.assert_array_equal(decode(buffer.getvalue()), whole)
    assert whole.shape == (47, 61, 3)


def with_scans(count):
    """A progressive JPEG whose last scan is repeated, until there are so many."""
    image = encoded(picture(), "JPEG", progressive=True)
    return image[:-2] + image[image.rindex(b"\xff\xda"):-2] * (count - image.count(b"\xff\xda")) + image[-2:]


def test_scans_of_a_jpeg_are_counted(monkeypatch):
    assert decode(with_scans(100)).shape == (24, 32, 3)
    with pytest.raises(InputError, match="a JPEG of 101 scans, which would take long to decode; expected at most 100"):
        decode(with_scans(101))
    monkeypatch.setattr("transfer_gluon.iters.images._MOST_SCANNED", 24 * 32 * 20)
    with pytest.raises(InputError, match="a JPEG of 21 scans, .* at most 20"):
        decode(with_scans(21))
    with pytest.raises(InputError, match="a JPEG of more than 10000 segments"):
        decode(b"\xff\xd8" + b"\xff\xe5\0\2" * 10_001 + encoded(picture(), "JPEG")[2:])


def test_what_stands_behind_a_jpeg_does_not_matter():
    """The film of a 'motion photo', say."""
    image = encoded(picture(), "JPEG")
    np.testing.assert_array_equal(decode(image + b"\xff\xda and \xff\xd9 \xff\xda" * 200), decode(image))


@pytest.fixture(params=["pipe", "device", "socket", "folder"])
def no_file(request, tmp_path):
    """A path under which there is something, but no file."""
    path = tmp_path / "thing.jpg"
    if request.param == "pipe":
        os.mkfifo(path)
    elif request.param == "device":
        path.symlink_to("/dev/zero")
    elif request.param == "socket":
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(path))
    else:
        path.mkdir()
    return path


def test_only_files_are_opened(no_file, tmp_path):
    images = read_list(write_list(tmp_path / "x.lst", [0, 1, 2], [str(no_file)] * 3))
    for use in (lambda: load_image(no_file), lambda: pack(images, progress=False), lambda: check_files([images]),
                lambda: open_source(images, packed=False).content(0), lambda: read_list(no_file),
                lambda: read_classes(no_file), lambda: read_index(no_file), lambda: open_record(no_file)):
        with pytest.raises(InputError, match="thing.jpg"):
            use()
    record = tmp_path / "y.rec"
    for suffix in (".rec", ".idx"):
        write_with_mxnet(record, [encoded(picture())])
        record.with_suffix(suffix).unlink()
        record.with_suffix(suffix).symlink_to(no_file)
        for use in (lambda: [*examine(record)], lambda: ensure_checked(record), lambda: unpack(record, tmp_path / "o")):
            with pytest.raises(InputError, match=f"y{suffix}"):
                use()
        record.with_suffix(suffix).unlink()


# Packing

def test_packed_files_keep_their_bytes_labels_and_order(images):
    record = pack(images, progress=False)
    file = opened(record)
    assert file.keys == images.indices.tolist()
    for index, label, path in zip(images.indices.tolist(), images.labels, images.files):
        header, content = mx.recordio.unpack(file.read_idx(index))
        assert (header.id, header.label) == (index, label)
        with open(path, "rb") as original:
            assert content == original.read()
    assert names(record.parent) == ["source", "source.idx", "source.lst", "source.manifest.json", "source.rec"]


def test_images_that_cannot_be_encoded_are_named(tmp_path):
    cv2.imwrite(str(tmp_path / "long.png"), np.zeros((1, 70000), np.uint8))
    os.mkfifo(tmp_path / "pipe.png")
    files = [str(tmp_path / name) for name in ("long.png", "pipe.png", "")]
    images = read_list(write_list(tmp_path / "x.lst", [0] * 3, files))
    with pytest.raises(InputError, match="(?s)long.png: 70000 × 1 pixels cannot be encoded.*pipe.png: not a regular "
                                         "file.*: Is a directory"):
        pack(images, options=Options(encoding="jpg"), progress=False)


@pytest.mark.parametrize("options, start, size", [
    (Options(resize=64), b"\xff\xd8", (96, 64)), (Options(encoding="png"), b"\x89PNG", (192, 128)),
    (Options(resize=200), b"\xff\xd8", (192, 128)), (Options(64, "png"), b"\x89PNG", (96, 64)),
    (Options(encoding="jpg", quality=5), b"\xff\xd8", (192, 128))])
def test_packing_can_reduce_and_encode_images(tmp_path, options, start, size):
    (tmp_path / "x.jpg").write_bytes(encoded(picture(128, 192), "JPEG"))
    images = read_list(write_list(tmp_path / "x.lst", [0], [str(tmp_path / "x.jpg")]))
    content = mx.recordio.unpack(opened(pack(images, options=options, progress=False)).read_idx(0))[1]
    assert content.startswith(start) and Image.open(io.BytesIO(content)).size == size
    if options.quality == 5:
        assert len(content) < 0.6 * os.path.getsize(tmp_path / "x.jpg")
    assert np.abs(decode(content)[:5, :5].astype(int) - [250, 10, 10]).mean() < 20


def test_threads_do_not_change_a_byte(images):
    first = pack(images, 1, Options(resize=16), progress=False).read_bytes()
    assert pack(images, 7, Options(resize=16), progress=False).read_bytes() == first


def test_what_makes_a_record_out_of_date(images, tmp_path):
    assert not is_packed(images)
    record = pack(images, progress=False)
    assert is_packed(images) and is_packed(images, Options()) and not is_packed(images, Options(resize=5))
    os.utime(images.path, (record.stat().st_mtime + 100,) * 2)
    relabelled = read_list(write_list(images.path, images.labels + 1, images.files))
    assert is_packed(relabelled), "labels are read from the list"
    assert not is_packed(read_list(write_list(images.path, images.labels[:5], images.files[:5])))
    swapped = [images.files[1], images.files[0], *images.files[2:]]
    assert not is_packed(read_list(write_list(images.path, images.labels, swapped)))
    shutil.move(images.files[3], tmp_path / "away")
    assert is_packed(images), "a record lives on without its images"
    (tmp_path / "away").write_bytes(open(images.files[2], "rb").read())
    shutil.move(tmp_path / "away", images.files[3])
    assert not is_packed(images), "another image under the same name"


def test_packing_again_keeps_the_options(images):
    pack(images, options=Options(resize=8), progress=False)
    fewer = read_list(write_list(images.path, images.labels[:5], images.files[:5]))
    ensure_packed(fewer)
    assert read_manifest(images.record)["options"]["resize"] == 8
    assert decode(mx.recordio.unpack(opened(fewer.record).read_idx(4))[1]).shape == (8, 8, 3)


def test_records_from_elsewhere_are_taken_and_not_overwritten(images):
    contents = [open(file, "rb").read() for file in images.files]
    written = write_with_mxnet(images.record, contents).read_bytes()
    assert is_packed(images)
    ensure_packed(images)
    ensure_checked(images.record)
    fewer = read_list(write_list(images.path, images.labels[:5], images.files[:5]))
    for attempt in (ensure_packed, pack):
        with pytest.raises(InputError, match="not known to be packed from"):
            attempt(fewer)
    assert images.record.read_bytes() == written
    pack(fewer, progress=False, overwrite=True)
    assert opened(fewer.record).keys == [0, 1, 2, 3, 4]


def test_paths_that_lead_out_of_the_root_are_refused(tmp_path):
    make_domain(tmp_path, "in", [0, 1])
    images = read_list(write_list(tmp_path / "x.lst", [0, 1], ["in/000.jpg", "in/../in/001.jpg"]))
    assert pack(images, options=Options(root=str(tmp_path)), progress=False).exists() and is_packed(images)
    for file in ("../x.jpg", "in/../../x.jpg", "/etc/passwd"):
        images = read_list(write_list(tmp_path / "y.lst", [0], [file]))
        with pytest.raises(InputError, match="1 paths lead out of"):
            pack(images, options=Options(root=str(tmp_path)), progress=False)


def test_processes_that_pack_at_once_wait_for_each_other(tmp_path):
    images = read_list(make_domain(tmp_path, "x", [0] * 200))
    code = ("import sys; from transfer_gluon.iters.image_list import read_list; "
            "from transfer_gluon.records.packing import ensure_packed\n"
            "ensure_packed(read_list(sys.argv[1]))\n"
            "print(open(sys.argv[1][:-3] + 'rec', 'rb').read().__len__(), "
            "__import__('os').stat(sys.argv[1][:-3] + 'rec').st_ino)")
    running = [subprocess.Popen([sys.executable, "-c", code, images.path], cwd=ROOT, stdout=subprocess.PIPE, text=True)
               for _ in range(2)]
    said = {process.communicate()[0] for process in running}
    assert len(said) == 1 and [process.returncode for process in running] == [0] * 2


def test_a_list_is_packed_under_a_lock_that_any_disk_gives(images, monkeypatch):
    """NFS refuses an exclusive lock on a file that was opened to be read."""
    locks, flock = [], fcntl.flock

    def as_on_nfs(file, operation):
        descriptor = file if isinstance(file, int) else file.fileno()
        if operation & fcntl.LOCK_EX:
            if fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
                raise OSError(errno.EBADF, os.strerror(errno.EBADF))
            locks.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", as_on_nfs)
    lock = images.path.with_name(".source.lock")
    lock.write_text("left by a process that was killed")
    pack(images, progress=False)
    assert set(locks) == {str(lock)}


def test_who_packs_is_waited_for(images):
    held = FileLock(images.path.with_name(".source.lock"))
    with ThreadPoolExecutor(1) as pool:
        with held:
            packed = pool.submit(pack, images, progress=False)
            with pytest.raises(TimeoutError):
                packed.result(timeout=0.2)
            assert not images.record.exists()
        assert packed.result(timeout=60).exists()


def test_a_folder_that_cannot_be_written_is_said_and_need_not_be(images):
    lock = images.path.with_name(".source.lock")
    lock.mkdir()
    with pytest.raises(InputError, match=r"source.rec: cannot be packed, since .*\.source.lock cannot be locked: Is a"):
        pack(images, progress=False)
    lock.rmdir()
    pack(images, progress=False)
    lock.unlink()
    lock.mkdir()
    ensure_packed(images)       # it is up to date: nothing is locked


@pytest.mark.parametrize("suffix", [".rec", ".idx", ".manifest.json", ".rec.partial", ".rec.journal"])
@pytest.mark.parametrize("kind", ["folder", "pipe"])
def test_folders_and_pipes_under_the_names_that_packing_writes(images, suffix, kind):
    hidden = "." * suffix.startswith(".rec.")
    path = images.path.with_name(f"{hidden}source{suffix}")
    path.mkdir() if kind == "folder" else os.mkfifo(path)
    for how in ({}, {"overwrite": True}, {"resume": True}):
        with pytest.raises(InputError, match=f"source{suffix}: there already, and no file"):
            pack(images, progress=False, **how)
    with pytest.raises(InputError):
        ensure_packed(images)
    assert names(images.path.parent) == sorted(["source", "source.lst", path.name])


def test_a_report_that_cannot_be_written_hides_nothing(images):
    images.path.with_suffix(".bad.txt").mkdir()
    open(images.files[3], "w").close()
    with pytest.raises(InputError, match="(?s)source.bad.txt: cannot be written: Is a directory.*003.jpg: empty"):
        pack(images, progress=False)


@pytest.mark.parametrize("text", [b"[" * 100_000, b"\xff", b"[1]", b"{}", b'{"a": 1}\n', b'[0, {"resize": "x"}]\n',
                                  b'[0, {"root": "\\u0000"}]\n', b'[0, {"encoding": []}]\n', b"null\n", b"5\n"])
def test_notes_that_are_not_ours_are_no_notes(images, text):
    """Whatever stands in the manifest or the journal, images are packed as if there was none."""
    whole = pack(images, progress=False).read_bytes()
    images.record.unlink()
    for path in (manifest_path(images.record), images.path.with_name(".source.rec.journal")):
        path.write_bytes(text)
    assert read_manifest(images.record) == {}
    ensure_packed(images)
    assert images.record.read_bytes() == whole


@pytest.mark.parametrize("place, value", [(1, "x"), (1, {}), (2, 10**30), (2, 10**15), (2, -1), (2, 1e400), (2, None),
                                          (5, 0), (6, "x"), (0, [[]])])
def test_entries_that_are_not_ours_are_packed_again(images, monkeypatch, place, value):
    import transfer_gluon.records.packing as packing
    monkeypatch.setattr(packing._Partial, "finish", lambda self: self._flush() or os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        pack(images, progress=False)
    monkeypatch.undo()
    journal = images.path.with_name(".source.rec.journal")
    title, *lines = journal.read_text().splitlines()
    entry = json.loads(lines[4])
    entry[place] = value
    journal.write_text("\n".join([title, *lines[:4], json.dumps(entry), *lines[5:], ""]))
    assert len(packing._Partial(images, images.files, Options(), resume=True).entries) == 4
    ensure_packed(images)
    assert len(read_index(images.record.with_suffix(".idx"))) == 18


@pytest.mark.parametrize("given", [{"resize": -1}, {"resize": 10**400}, {"encoding": "gif"}, {"quality": 0},
                                   {"root": None}])
def test_options_say_what_they_expect(given):
    (name, value), = given.items()
    with pytest.raises(InputError, match=f"`{name}` is .*; expected") as refused:
        Options(**given)
    assert (refused.value.parameter, refused.value.value) == (name, value) and refused.value.expected


def test_all_unusable_images_are_listed_and_the_first_ten_shown(tmp_path):
    images = read_list(make_domain(tmp_path, "x", [0] * 30))
    for i in range(5):
        open(images.files[i], "wb").close()
    for i in range(5, 8):
        content = open(images.files[i], "rb").read()
        open(images.files[i], "wb").write(content[:-40])
    for i in range(8, 12):
        open(images.files[i], "w").write("text")
    for i in range(12, 15):
        (tmp_path / "x" / f"{i:03d}.jpg").unlink()
    with pytest.raises(InputError, match=r"(?s)15 of 30 images.*x.bad.txt.*and 5 more") as caught:
        pack(images, progress=False)
    assert str(caught.value).count(".jpg") == 10
    report = (tmp_path / "x.bad.txt").read_text().splitlines()
    assert len(report) == 15 and "empty" in report[0] and "cut off" in report[5] and "decoded" in report[8]
    assert "No such file" in report[14]
    assert names(tmp_path) == ["x", "x.bad.txt", "x.lst"]


def test_an_image_that_changes_while_it_is_packed_is_named(images, monkeypatch):
    import transfer_gluon.records.packing as packing

    def slow(data, *others):
        with open(images.files[4], "ab") as file:
            file.write(b"more")
        return data, (24, 24)

    monkeypatch.setattr(packing, "_encoded", slow)
    with pytest.raises(InputError, match="004.jpg: changed while it was read"):
        pack(images, progress=False)


def test_a_full_disk_is_said_and_leaves_nothing(tmp_path):
    images = read_list(make_domain(tmp_path, "x", [0] * 40, side=64, suffix=".png"))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
    try:
        with pytest.raises(InputError, match="x.rec: cannot be written: File too large"):
            pack(images, progress=False)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert names(tmp_path) == ["x", "x.lst"]


# Packing that is killed

PACK = ("import sys; from transfer_gluon.iters.image_list import read_list; "
            "from transfer_gluon.records.packing import pack\n"
        "pack(read_list(sys.argv[1]), threads=2, resume=True)")


def killed_while_packing(path, *, after):
    """Pack in a process of its own, and kill it when so many bytes are written. True if it was in time."""
    partial = path.with_name(".x.rec.partial")
    process = subprocess.Popen([sys.executable, "-c", PACK, path], cwd=ROOT, stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)
    while process.poll() is None and not (partial.exists() and partial.stat().st_size >= after):
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    return process.wait() == -signal.SIGKILL


def test_packing_that_is_killed_goes_on_and_ends_with_the_same_bytes(tmp_path, caplog):
    path = make_domain(tmp_path, "x", [i % 3 for i in range(1200)], side=64)
    images = read_list(path)
    pack(images, progress=False)
    whole = {suffix: images.record.with_suffix(suffix).read_bytes() for suffix in (".rec", ".idx")}
    for suffix in (".rec", ".idx", ".manifest.json"):
        images.record.with_suffix(suffix).unlink()
    size, rng, in_time = len(whole[".rec"]), random.Random(0), 0
    for part in range(3):
        in_time += killed_while_packing(path, after=(part + rng.random()) / 4 * size)
        assert not images.record.exists() and not is_packed(images)
    assert in_time == 3
    journal = (tmp_path / ".x.rec.journal").read_text().splitlines()
    assert len(journal) > 300, "what was packed is kept"
    caplog.set_level("INFO", "transfer-gluon")
    pack(images, progress=False, resume=True)
    assert f"{len(journal) - 1} of 1200 images were packed before" in caplog.text
    assert {suffix: images.record.with_suffix(suffix).read_bytes() for suffix in whole} == whole
    assert is_packed(images) and names(tmp_path) == ["x", "x.idx", "x.lst", "x.manifest.json", "x.rec"]


@pytest.mark.parametrize("damage", ["torn line", "torn record", "changed image", "other options", "no journal"])
def test_only_what_is_still_good_is_gone_on_with(tmp_path, monkeypatch, damage):
    import transfer_gluon.records.packing as packing
    images = read_list(make_domain(tmp_path, "x", [0] * 12))
    monkeypatch.setattr(packing, "_TOGETHER", 2)
    monkeypatch.setattr(packing._Partial, "finish", lambda self: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        pack(images, progress=False)
    monkeypatch.undo()
    partial, journal = (tmp_path / f".x.rec.{name}" for name in ("partial", "journal"))
    lines = journal.read_text().splitlines()
    assert len(lines) == 13 and not images.record.exists()
    kept = 11
    if damage == "torn line":
        journal.write_text("\n".join(lines)[:-3])
    elif damage == "torn record":
        os.truncate(partial, partial.stat().st_size - 1)
    elif damage == "changed image":
        with open(images.files[11], "wb") as file:
            file.write(encoded(picture(), "JPEG"))
    elif damage == "no journal":
        journal.unlink()
        kept = 0
    else:
        kept = 0
    options = Options(encoding="png" if damage == "other options" else "as-is")
    assert len(packing._Partial(images, images.files, options, resume=True).entries) == kept
    resumed = pack(images, options=options, progress=False, resume=True).read_bytes()
    images.record.unlink()
    assert pack(images, options=options, progress=False).read_bytes() == resumed


def test_an_old_record_never_stands_beside_a_new_index(images, monkeypatch):
    pack(images, progress=False)
    replace = os.replace

    def dies(source, target):
        if str(target).endswith(".rec"):
            raise KeyboardInterrupt
        replace(source, target)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(os, "replace", dies)
        pack(images, options=Options(encoding="png"), progress=False)
    assert not images.record.exists() and not is_packed(images)
    ensure_packed(images)
    assert read_manifest(images.record)["options"]["encoding"] == "png"


def test_training_goes_on_with_the_options_of_a_killed_run(tmp_path, monkeypatch):
    import transfer_gluon.records.packing as packing
    images = read_list(make_domain(tmp_path, "x", [0] * 12))
    monkeypatch.setattr(packing._Partial, "finish", lambda self: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        pack(images, options=Options(resize=8), progress=False)
    monkeypatch.undo()
    ensure_packed(images)
    assert read_manifest(images.record)["options"]["resize"] == 8


# Checking

def test_a_good_record_is_checked_once(images, monkeypatch):
    pack(images, progress=False)
    written = write_with_mxnet(images.record, [open(file, "rb").read() for file in images.files])
    manifest_path(written).unlink()
    ensure_checked(written, threads=2)
    monkeypatch.setattr("transfer_gluon.records.check.examine", lambda *_: pytest.fail("checked again"))
    ensure_checked(written, threads=2)
    os.utime(written, (1, 1))
    with pytest.raises(pytest.fail.Exception):
        ensure_checked(written)


def test_what_we_pack_need_not_be_checked(images, monkeypatch):
    monkeypatch.setattr("transfer_gluon.records.check.examine", lambda *_: pytest.fail("checked again"))
    ensure_checked(pack(images, progress=False))


def test_bad_records_are_named_with_index_byte_and_reason(tmp_path):
    image = encoded(picture(), "JPEG")
    bad = [b"", b"no image at all" * 9, image[:-40], encoded(picture(), "WEBP"), encoded(picture())[:-30]]
    record = write_with_mxnet(tmp_path / "x.rec", [image, *bad, image])
    with pytest.raises(InputError, match=r"(?s)x.rec: 5 of its records.*index 1, byte \d+: empty.*index 2.*decoded"
                                         r".*index 3.*cut off.*index 4.*WEBP.*index 5.*cut off"):
        ensure_checked(record)
    assert names(tmp_path) == ["x.idx", "x.rec"]


def test_an_index_of_another_record_is_noticed(tmp_path):
    contents = [encoded(picture(seed=seed)) for seed in range(6)]
    write_with_mxnet(tmp_path / "y.rec", contents[::-1])
    record = write_with_mxnet(tmp_path / "x.rec", contents)
    right = read_index(tmp_path / "x.idx")

    def problems(lines):
        (tmp_path / "x.idx").write_text("".join(f"{index}\t{offset}\n" for index, offset in lines))
        return [finding.problem for finding in check(record)]

    assert problems(right) == []
    assert problems([(index + 1, offset) for index, offset in right])[0] == "the record says that its index is 0"
    assert "no record begins here" in problems([(index, offset + 4) for index, offset in right])
    assert "the record before ends at byte" in problems(right[:2] + right[3:])[0]
    assert "bytes behind the index's last record" in problems(right[:5])[0]
    assert "behind the end of the file" in problems([*right, (6, 10**9)])
    shutil.copy(tmp_path / "y.idx", tmp_path / "x.idx")
    assert list(check(record))
    for text, problem in (("", "empty"), ("0\t0\n0\t4\n", "an index stands in several"), ("0 0\n", "line 1 is '0 0'"),
                          ("0\t-4\n", "line 1"), (f"0\t{9 ** 99}\n", "line 1"), (f"0\t{2 ** 63}\n", "line 1"),
                          ("\xe4\t0\n", "not an index")):
        (tmp_path / "x.idx").write_text(text)
        with pytest.raises(InputError, match=f"x.idx: {problem}"):
            ensure_checked(record)
    (tmp_path / "x.idx").unlink()
    with pytest.raises(InputError, match="x.idx: cannot be read"):
        ensure_checked(record)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_damaged_records_are_reported_or_read(tmp_path):
    """300 records with some bytes changed, taken away or put in. MXNet reads all that are found good, and lives."""
    rng = random.Random(1)
    whole = [encoded(picture(seed=seed), kind, **options) for seed, (kind, options) in enumerate(
        [("JPEG", {}), ("JPEG", {"progressive": True}), ("PNG", {}), ("BMP", {}), ("BMP", {})])]
    good = []
    for turn in range(300):
        data = bytearray(to_bytes(turn, 0, whole[turn % 5]))
        for _ in range(rng.randrange(1, 5)):
            place = rng.randrange(min(len(data), 700))
            data[place:place + rng.randrange(3)] = rng.randbytes(rng.randrange(3))
        (tmp_path / "x.rec").write_bytes(data)
        (tmp_path / "x.idx").write_text(f"{turn}\t0\n")
        if not list(check(tmp_path / "x.rec", threads=1)):
            with open(tmp_path / "x.rec", "rb") as file:
                good.append(read_at(file, 0)[0].image)
    assert 30 < len(good) < 270
    write_with_mxnet(tmp_path / "good.rec", good)
    code = ("import sys; from transfer_gluon.base.framework import mx; from transfer_gluon.iters import Augmentation\n"
            "from transfer_gluon.iters.record_iter import record_iter_arguments\n"
            "print(sum(batch.data[0].shape[0] for batch in mx.io.ImageRecordIter(path_imgrec=sys.argv[1],\n"
            "    data_shape=(3, 16, 16), batch_size=1, verbose=False, **record_iter_arguments(Augmentation(), 16))))")
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "good.rec"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and int(done.stdout) == len(good), done.stderr


def test_strips_are_named_before_training_not_within_it(tmp_path, caplog):
    files = [str(tmp_path / name) for name in ("photo.png", "strip.png", "line.jpg")]
    for file, size in zip(files, ((20, 30), (2, 300), (300, 3))):
        cv2.imwrite(file, np.zeros((*size, 3), np.uint8))
    images = read_list(write_list(tmp_path / "x.lst", [0, 1, 2], files))
    ready, = ensure_ready([images], crop=32)
    for packed in (True, False):
        for _ in range(2):      # from what packing has seen, and again
            with pytest.raises(InputError, match="300 × 2 pixels, which would be 76800 × 512 when resized"):
                ensure_ready([images], packed=packed, crop=320)
    manifest_path(ready.record).unlink()
    with pytest.raises(InputError, match="x.rec: the image of index 1 has 300 × 2 pixels"):     # as the check sees
        ensure_checked(ready.record, crop=320)
    assert [finding.index for finding in check(ready.record, crop=320)] == [1, 2]
    assert not list(check(ready.record, crop=32)) and not list(check(ready.record))


def test_a_record_that_was_checked_less_strictly_is_checked_again(tmp_path):
    record = write_with_mxnet(tmp_path / "x.rec", [encoded(picture(), "TIFF", compression="jpeg")])
    manifest_path(record).write_text(json.dumps(dict(bytes=record.stat().st_size, checked=stamps(record))))
    with pytest.raises(InputError, match="(?s)x.rec: 1 of its records.*a TIFF image; a record holds what MXNet reads"):
        ensure_checked(record)


def test_a_record_that_changes_while_it_is_checked_is_not_good(tmp_path, monkeypatch):
    record = write_with_mxnet(tmp_path / "x.rec", [encoded(picture())])

    def slow(*arguments):
        yield from examine(*arguments)
        os.utime(record, (1, 1))

    monkeypatch.setattr("transfer_gluon.records.check.examine", slow)
    ensure_checked(record)
    assert checked_before(record) is None


# Lists

def make_folder(folder, classes):
    """Some images in a folder a class; `classes` maps names to numbers of images."""
    for number, (name, count) in enumerate(classes.items()):
        (folder / name).mkdir(parents=True)
        for i in range(count):
            (folder / name / f"{i:02d}.png").write_bytes(encoded(picture(8, 8, seed=100 * number + i)))
    return folder


def test_a_folder_becomes_a_list(tmp_path):
    folder = make_folder(tmp_path / "photos", {"vw": 2, "audi/front": 1, "audi/back": 1})
    for name in (".hidden.png", "notes.txt"):
        (folder / "vw" / name).write_text("")
    list_folder(folder, tmp_path / "s.lst")
    images = read_list(tmp_path / "s.lst")
    assert [file.removeprefix(f"{folder}/") for file in images.files] == [
        "audi/back/00.png", "audi/front/00.png", "vw/00.png", "vw/01.png"]
    assert images.labels.tolist() == [0, 0, 1, 1] and read_classes(tmp_path / "classes.txt") == ["audi", "vw"]
    (tmp_path / "classes.txt").write_text("vw\nbmw\naudi\n")
    with pytest.raises(InputError, match="classes.txt: there already, with other classes"):
        list_folder(folder, tmp_path / "s.lst")
    labels, _ = list_folder(folder, tmp_path / "s.lst", classes=tmp_path / "classes.txt")
    assert labels == [2, 2, 0, 0]
    (tmp_path / "classes.txt").write_text("vw\n")
    with pytest.raises(InputError, match="1 folder is no class of .*classes.txt:\n  audi"):
        list_folder(folder, tmp_path / "s.lst", classes=tmp_path / "classes.txt")
    (folder / "loose.png").write_bytes(encoded(picture()))
    with pytest.raises(InputError, match="1 of its images lies in no class folder"):
        list_folder(folder, tmp_path / "t" / "s.lst")
    assert list_folder(folder, tmp_path / "t.lst", null_label=9999)[0] == [9999] * 5


def test_names_that_do_not_fit_in_a_list_are_refused(tmp_path):
    folder = make_folder(tmp_path / "photos", {"a": 1})
    for name in ("tab\t.png", "line\n.png", "\udcff.png"):
        shutil.copy(folder / "a" / "00.png", folder / "a" / name)
    with pytest.raises(InputError, match="3 names do not fit in a list"):
        list_folder(folder, tmp_path / "s.lst")
    (folder / "a" / "up").symlink_to(folder)
    with pytest.raises(InputError, match="a/up: links to a folder that it lies in"):
        list_folder(folder, tmp_path / "s.lst")
    (tmp_path / "none").mkdir()
    with pytest.raises(InputError, match="no images in it"):
        list_folder(tmp_path / "none", tmp_path / "s.lst")


@pytest.mark.parametrize("text", ["", "a\na\n", "a\n\nb\n", "../etc\n", "a\n..\n"])
def test_classes_are_names_of_folders(tmp_path, text):
    (tmp_path / "classes.txt").write_text(text)
    with pytest.raises(InputError, match="classes.txt: expected a line a class"):
        read_classes(tmp_path / "classes.txt")


@pytest.fixture
def listed(tmp_path):
    """A list of 10 + 20 + 6 images in 3 classes."""
    list_folder(make_folder(tmp_path / "photos", {"a": 10, "b": 20, "c": 6}), tmp_path / "all.lst")
    return read_list(tmp_path / "all.lst")


@pytest.mark.parametrize("how, counts", [({"fraction": 0.5}, [5, 10, 3]), ({"fraction": 0.7}, [7, 14, 4]),
                                         ({"fraction": 0.28}, [3, 6, 2]),
                                         ({"per_class": 6}, [6, 6, 6])])
def test_splits_are_stratified_disjoint_and_seeded(listed, tmp_path, how, counts):
    def split(seed):
        split_list(listed, tmp_path / "1.lst", tmp_path / "2.lst", seed=seed, **how)
        return [read_list(tmp_path / name) for name in ("1.lst", "2.lst")]

    first, second = split(0)
    assert np.bincount(first.labels).tolist() == counts
    assert sorted(first.files + second.files) == sorted(listed.files)
    label_of = dict(zip(listed.files, listed.labels))
    assert all(label_of[file] == label for part in (first, second) for file, label in zip(part.files, part.labels))
    assert split(0)[0].files == first.files and split(1)[0].files != first.files


def test_the_same_image_never_ends_in_both_parts(listed, tmp_path):
    link, copy = tmp_path / "photos" / "link.png", tmp_path / "photos" / "copy.png"
    link.symlink_to(listed.files[0])
    shutil.copy(listed.files[0], copy)
    same = {listed.files[0], str(link), str(copy), f"{tmp_path}/photos/../photos/a/00.png", "gone.png", "./gone.png"}
    files = [*listed.files, *sorted(same - set(listed.files))]
    images = read_list(write_list(tmp_path / "more.lst", [*listed.labels, *[0] * 5], files))
    for seed in range(10):
        split_list(images, tmp_path / "1.lst", tmp_path / "2.lst", fraction=0.5, seed=seed)
        first = set(read_list(tmp_path / "1.lst").files)
        for group in ({file for file in same if "gone" in file}, {file for file in same if "gone" not in file}):
            assert group <= first or not group & first


def test_splits_that_cannot_be_are_refused(listed, tmp_path):
    with pytest.raises(InputError, match="1 classes have fewer than 8 images:\n  label 2: 6 images"):
        split_list(listed, tmp_path / "1.lst", tmp_path / "2.lst", per_class=8)
    with pytest.raises(InputError, match="0 would go to"):
        split_list(listed, tmp_path / "1.lst", tmp_path / "2.lst", fraction=0.01)
    assert not (tmp_path / "1.lst").exists()
    before = listed.path.read_text()
    for first, second in ((listed.path, "2.lst"), ("2.lst", "./2.lst")):
        with pytest.raises(InputError, match="would be overwritten"):
            split_list(listed, first, second, fraction=0.5)
    with pytest.raises(InputError, match="would be overwritten"):
        mask_list(listed, listed.path)
    assert listed.path.read_text() == before


def test_numbers_and_names_that_no_list_holds(listed, tmp_path):
    for use in (lambda: read_list(listed.path, null_label=-5), lambda: list_folder(tmp_path / "photos", "x", None, -5)):
        with pytest.raises(InputError, match="the null label is -5; expected a whole number from 0 to 16777216"):
            use()
    with pytest.raises(InputError, match="`fraction` is nan; expected a number from 0 to 1"):
        split_list(listed, tmp_path / "1.lst", tmp_path / "2.lst", fraction=float("nan"))
    for name in ("tab\t.jpg", "line\n.jpg", "\udcff.jpg", "nul\0.jpg", " blank.jpg", ""):
        with pytest.raises(InputError, match="x.lst: 1 names do not fit in a list"):
            write_list(tmp_path / "x.lst", [0, 1], ["a.jpg", name])
    with pytest.raises(InputError, match="1 names do not fit in a list"):
        unpack(pack(listed, progress=False), tmp_path / "tab\tulator")
    with pytest.raises(InputError, match="all.lst/y.lst: cannot be written: Not a directory"):
        mask_list(listed, listed.path / "y.lst")
    assert names(tmp_path) == ["all.idx", "all.lst", "all.manifest.json", "all.rec", "classes.txt", "photos"]


@pytest.mark.parametrize("flags", [
    ["mask", "all.lst", ""], ["mask", "all.lst", "\udcff.lst"], ["mask", "all.lst", "t.lst", "--null-label", "-5"],
    ["list", "photos", "t.lst", "--unlabelled", "--null-label", 2**24 + 1], ["pack", "photos"],
    ["pack", "all.lst", "--resize", 10**400], ["unpack", "all.lst", "\udcff"],
    ["info", "all.lst", "--sheet", "photos"]])
def test_flags_that_no_file_or_list_can_have(listed, tmp_path, monkeypatch, flags):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(im2rec_helpers.commands, [*map(str, flags)])
    assert done.exit_code == 2 and "Invalid value" in done.output
    assert names(tmp_path) == ["all.lst", "classes.txt", "photos"]


def test_digits_that_cannot_be_written_are_named(tmp_path):
    (tmp_path / "source" / "00003.png").mkdir(parents=True)
    with pytest.raises(InputError, match="00003.png: cannot be written"):
        digits.make(tmp_path, num_source=10)
    assert not list(tmp_path.glob("*.lst"))


def test_labels_are_masked_but_for_some(listed, tmp_path):
    assert mask_list(listed, tmp_path / "t.lst") == 0
    assert not read_list(tmp_path / "t.lst").labelled.any()
    indexed = read_list(write_list(tmp_path / "i.lst", listed.labels, listed.files, listed.indices[::-1] + 7))
    assert mask_list(indexed, tmp_path / "t.lst", keep=5) == 5
    masked = read_list(tmp_path / "t.lst")
    assert masked.files == listed.files and masked.indices.tolist() == indexed.indices.tolist()
    assert (masked.labels == listed.labels)[masked.labelled].all() and masked.labelled.sum() == 5
    assert mask_list(listed, tmp_path / "t.lst", keep_per_class=4) == 12
    masked = read_list(tmp_path / "t.lst")
    assert np.bincount(masked.labels[masked.labelled]).tolist() == [4, 4, 4]
    with pytest.raises(InputError, match="37 labels were to be kept(?s:.*)36 in all"):
        mask_list(listed, tmp_path / "t.lst", keep=37)
    with pytest.raises(InputError, match="label 2: 6"):
        mask_list(listed, tmp_path / "t.lst", keep_per_class=7)


# Taking apart, looking at, and MXNet's own tool

def test_unpacking_gives_back_what_was_packed(listed, tmp_path):
    record = pack(listed, progress=False)
    unpacked = read_list(unpack(record, tmp_path / "out", tmp_path / "classes.txt"))
    assert unpacked.labels.tolist() == listed.labels.tolist()
    assert unpacked.files[10] == str(tmp_path / "out" / "b" / "00000010.png")
    for before, after in zip(listed.files, unpacked.files):
        with open(before, "rb") as one, open(after, "rb") as other:
            assert one.read() == other.read()
    with pytest.raises(InputError, match="out: there already"):
        unpack(record, tmp_path / "out")
    (tmp_path / "classes.txt").write_text("a\nb\n")
    with pytest.raises(InputError, match="6 of its records(?s:.*)its label is 2, and there are 2 classes"):
        unpack(record, tmp_path / "again", tmp_path / "classes.txt")
    assert not any("again" in name for name in names(tmp_path))


def test_the_null_label_is_what_it_is_said_to_be(listed, tmp_path):
    record = pack(listed, progress=False)
    assert len(list(check(record, num_classes=2))) == 6 and not list(check(record, num_classes=2, null_label=2))
    unpacked = read_list(unpack(record, tmp_path / "out", null_label=2))
    assert [os.path.dirname(file).rpartition("/")[2] for file in unpacked.files[9::10]] == ["0", "1", "1"]
    assert os.path.dirname(unpacked.files[-1]) == str(tmp_path / "out" / "unknown")


def test_a_contact_sheet_shows_every_class(tmp_path):
    path = make_domain(tmp_path, "x", [0, 1, 2, 9999], side=96)
    with open(read_list(path).files[3], "w") as file:
        file.write("no image")
    assert contact_sheet(path, tmp_path / "sheet.png", {0: 0, 1: 1, 2: 2, 3: 9999}, 9999, ["red", "green", "blue"]) == 0
    sheet = load_image(tmp_path / "sheet.png")
    assert [sheet[50 + 100 * row, 200].argmax() for row in range(3)] == [0, 1, 2]
    assert sheet[352, 208].tolist() == [255] * 3 and sheet[320, 208].tolist() == [211] * 3, "a cross"
    assert (sheet[:100, :150].min() < 50) and (sheet[300:, :150].min() < 50), "captions"


def test_repeated_images_are_found_by_their_bytes(listed, tmp_path):
    record = pack(listed, progress=False)
    write_list(tmp_path / "some.lst", [1, 1], [listed.files[3], listed.files[3]])
    found = {path: list(examine(path)) for path in (record, tmp_path / "some.lst")}
    assert repeated(found) == {(record, tmp_path / "some.lst"): [(3, 0), (3, 1)]}
    assert repeated({"x.rec": [Finding(i, "", "cut off") for i in range(2)]}) == {}


def im2rec(*calls, cwd):
    """MXNet's own tool, called again and again. It imports mxnet by itself and so needs our NumPy names first."""
    script = os.path.join(os.path.dirname(mx.__file__), "tools", "im2rec.py")
    code = ("import json, runpy, sys; from transfer_gluon.base.framework import mx\n"
            "_, script, calls = sys.argv\n"
            "for flags in json.loads(calls):\n"
            "    sys.argv = [script, *flags]\n"
            "    runpy.run_path(script, {}, '__main__')")
    subprocess.run([sys.executable, "-c", code, script, json.dumps([[*map(str, flags)] for flags in calls])], cwd=cwd,
                   check=True, capture_output=True, env={**os.environ, "PYTHONPATH": str(ROOT)})


def test_lists_and_records_are_interchangeable_with_im2rec(listed, tmp_path):
    ours = pack(listed, progress=False)
    (tmp_path / "theirs").mkdir()
    shutil.copy(listed.path, tmp_path / "theirs" / "all.lst")
    im2rec(["all", tmp_path, "--pass-through"],
           ["new", tmp_path / "photos", "--list", "--recursive", "--no-shuffle"],
           ["new", tmp_path / "photos", "--resize", 6], cwd=tmp_path / "theirs")
    theirs = tmp_path / "theirs" / "all.rec"
    assert theirs.read_bytes() == ours.read_bytes()
    assert theirs.with_suffix(".idx").read_bytes() == ours.with_suffix(".idx").read_bytes()
    ensure_checked(theirs)

    images = read_list(tmp_path / "theirs" / "new.lst")
    assert images.labels.tolist() == listed.labels.tolist() and is_packed(images)
    ensure_checked(images.record)
    images.record.unlink()
    pack(images, options=Options(root=str(tmp_path / "photos")), progress=False)
    assert [finding.label for finding in examine(images.record)] == listed.labels.tolist()


# The tool

def test_the_tool_from_photos_to_record_and_back(tmp_path, monkeypatch):
    make_folder(tmp_path / "photos", {"audi": 4, "bmw": 6})
    monkeypatch.chdir(tmp_path)

    def tool(*flags):
        return CliRunner().invoke(im2rec_helpers.commands, list(map(str, flags)), catch_exceptions=False)

    assert tool("list", "photos", "all.lst").stdout == "all.lst: 10 images, 2 classes\n"
    assert tool("split", "all.lst", "1.lst", "2.lst", "--per-class", 3).stdout == "1.lst: 6 images\n2.lst: 4 images\n"
    assert tool("mask", "all.lst", "t.lst", "--keep", 2).stdout == "t.lst: 10 images, 2 with a label\n"
    assert tool("pack", "all.lst", "1.lst").stdout == "all.rec\n1.rec\n"
    said = tool("verify", "all.rec", "1.rec", "--num-classes", 2).stdout
    assert "all.rec: 10 images, 0 bad\n" in said and "6 images are in both all.rec and 1.rec" in said
    with pytest.raises(InputError, match="6 images cannot be used"):
        tool("verify", "1.rec", "2.lst", "--num-classes", 1)
    said = tool("info", "all.rec", "--sheet", "sheet.png", "--classes", "classes.txt").stdout
    assert "| bmw | 6 |" in said and "largest 8 × 8" in said and (tmp_path / "sheet.png").exists()
    assert tool("unpack", "1.rec", "out").stdout == "out.lst\n"
    with pytest.raises(InputError, match="--fraction or --per-class"):
        tool("split", "all.lst", "1.lst", "2.lst")
    with pytest.raises(InputError, match="none.lst: no such file"):
        tool("pack", "none.lst")


def test_flags_of_the_tool_reach_what_they_name(listed, tmp_path, monkeypatch):
    seen = {}

    def note(name, answer):
        def noted(*arguments, **others):
            seen[name] = [str(one) if isinstance(one, (str, os.PathLike)) else one for one in arguments], others
            return answer
        place = {"is_packed": "packing", "pack": "packing", "examine": "check"}.get(name, name)
        module = im2rec_helpers if hasattr(im2rec_helpers, name) else importlib.import_module(
            f"transfer_gluon.records.{place}")      # from which the command imports it when it needs it
        monkeypatch.setattr(module, name, noted)

    monkeypatch.chdir(tmp_path)
    for name, answer in (("list_folder", ([], [])), ("split_list", (1, 2)), ("mask_list", 3), ("is_packed", False),
                         ("pack", "all.rec"), ("examine", []), ("describe", ""), ("contact_sheet", 0), ("unpack", "")):
        note(name, answer)

    def told(name, *flags):
        seen.clear()
        CliRunner().invoke(im2rec_helpers.commands, [*map(str, flags)], catch_exceptions=False)
        arguments, others = seen[name]
        return [one for one in arguments if not hasattr(one, "labelled")], others

    (tmp_path / "c.txt").write_text("a\nb\nc\n")
    assert told("list_folder", "list", "photos", "x.lst", "--classes", "c.txt") == (["photos", "x.lst", "c.txt", None],
                                                                                  {})
    assert told("list_folder", "list", "photos", "x.lst", "--unlabelled", "--null-label", 5) == (
        ["photos", "x.lst", None, 5], {})
    assert told("split_list", "split", "all.lst", "a", "b", "--fraction", 0.25, "--seed", 4)[0] == [
        "a", "b", 0.25, None, 4]
    assert told("split_list", "split", "all.lst", "a", "b", "--per-class", 2)[0] == ["a", "b", None, 2, 0]
    assert told("mask_list", "mask", "all.lst", "a", "--keep", 2, "--seed", 4)[0] == ["a", 2, None, 4]
    assert told("mask_list", "mask", "all.lst", "a", "--keep-per-class", 2)[0] == ["a", 0, 2, 0]
    packing = ["pack", "all.lst", "--threads", 3, "--resize", 9, "--encoding", "jpg", "--quality", 8, "--root",
               "photos"]
    options = Options(9, "jpg", 8, "photos")
    assert told("pack", *packing) == ([3, options], dict(resume=False, overwrite=False))
    assert told("is_packed", *packing) == ([options], {})
    assert told("pack", "pack", "all.lst", "--resume")[1] == dict(resume=True, overwrite=False)
    assert told("pack", "pack", "all.lst", "--overwrite")[1] == dict(resume=False, overwrite=True)
    flags = ["--threads", 3, "--null-label", 5]
    assert told("examine", "verify", "all.lst", "--num-classes", 6, "--crop", 7, *flags)[0] == ["all.lst", 3, 6, 5, 7]
    flags += ["--classes", "c.txt", "--sheet", "s.png"]
    assert told("describe", "info", "all.lst", *flags) == ([[], 5, ["a", "b", "c"]], {})
    assert told("contact_sheet", "info", "all.lst", *flags) == (["all.lst", "s.png", {}, 5, ["a", "b", "c"]], {})
    assert told("unpack", "unpack", "all.rec", "o", "--classes", "c.txt", "--null-label", 5)[0] == [
        "all.rec", "o", "c.txt", 5]


def test_lists_are_masked_and_described_by_their_seed_and_null_label(listed, tmp_path):
    kept = []
    for seed in 0, 0, 1:
        mask_list(listed, tmp_path / "t.lst", keep=5, seed=seed)
        kept.append(read_list(tmp_path / "t.lst").labelled.tolist())
    assert kept[0] == kept[1] != kept[2] and not all(kept[0][:5])
    sizes = [(7, 8), (30, 20), (9, 9), (0, 0)]
    labels = [2, 0, 9, None]
    text = describe([Finding(i, "", "bad" * (not w) or None, label, w, h)
                     for i, (label, (w, h)) in enumerate(zip(labels, sizes))], null_label=2)
    assert text.startswith("4 images, 2 classes, 1 of unknown label, 1 bad")
    assert "smallest 7 × 8, median 9 × 9, largest 30 × 20" in text


def test_mxnet_reads_what_the_tool_packs(data):
    done = call(TOOL, "pack", data / "source.lst", data / "val.lst", "--resize", 20)
    assert done.stdout.split() == [str(data / "source.rec"), str(data / "val.rec")]
    assert json.loads((data / "val.manifest.json").read_text())["count"] == 16
    batch = mx.io.ImageRecordIter(path_imgrec=str(data / "source.rec"), data_shape=(3, 20, 20), batch_size=24).next()
    assert batch.label[0].asnumpy().tolist() == [i % 3 for i in range(24)]
