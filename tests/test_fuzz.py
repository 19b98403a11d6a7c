"""Damaged records, indices and lists: every one is reported or read, none ends the process."""
import json
import subprocess
import sys

import cv2
import numpy as np
import pytest
from conftest import ROOT

from base.errors import InputError
from iters import read_list, write_list
from records import ensure_checked, pack

DAMAGED = 300
# Reads what the check let pass with MXNet's reader and with ours, in a process of its own that may die.
READ = """
import json, sys
from pathlib import Path
from base.errors import InputError
from iters import Augmentation, ListedIter, RecordIter, ShuffledIter, read_list
from iters.transforms import centre_crop

def readers(images):
    yield lambda: RecordIter(images, 4, (3, 16, 16), Augmentation(), threads=2)
    yield lambda: ShuffledIter(images, 4, (3, 16, 16), Augmentation(), threads=2, packed=True)
    yield lambda: ListedIter(images, 4, centre_crop(16, 16), threads=2, packed=True)

for folder in map(Path, json.loads(sys.stdin.read())):
    for number, opened in enumerate(readers(read_list(folder / "x.lst"))):
        print(folder.name, number, flush=True, end=" ")
        try:
            print("read", sum(batch.data[0].asnumpy().shape[0] for batch in opened()))
        except InputError as error:
            print("refused:", str(error).splitlines()[0])
"""


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
    done = subprocess.run([sys.executable, "-c", READ], input=json.dumps(passed), cwd=ROOT, text=True,
                          capture_output=True, timeout=300)
    lines = done.stdout.splitlines()
    assert done.returncode == 0, f"after {lines[-1:]}: {done.stderr[-3000:]}"
    assert len(lines) == 3 * len(passed) and all(" read " in line or " refused: " in line for line in lines)
