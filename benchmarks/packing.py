#!/usr/bin/env python3
"""Packing: images a second with 1 and 2 threads beside OpenCV's decoder alone on the same files, and its memory.

Generates JPEG images of 640 × 480 pixels. All ways run in turn in one process, three times; medians. Memory is what
packing adds to the process at its height.
"""
import os
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from transfer_gluon.cli.exit_codes import CONTEXT, exit_codes

import click
import cv2
import numpy as np

from transfer_gluon.iters import read_list, write_list
from transfer_gluon.records import Options, pack
from transfer_gluon.records.check import check

REPETITIONS = 3


def make_images(folder, number):
    """A list of smooth random pictures, a hundred different ones over and over in files of their own."""
    rng = np.random.default_rng(0)
    pictures = []
    for _ in range(min(number, 100)):
        noise = cv2.GaussianBlur(rng.integers(0, 256, (480, 640, 3), dtype=np.uint8), (0, 0), 2)
        stretched = cv2.normalize(noise, None, 0, 255, cv2.NORM_MINMAX)
        pictures.append(cv2.imencode(".jpg", stretched, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes())
    files = [str(folder / f"{i:05d}.jpg") for i in range(number)]
    for i, file in enumerate(files):
        Path(file).write_bytes(pictures[i % len(pictures)])
    return read_list(write_list(folder / "images.lst", [0] * number, files))


def decode_only(images, threads):
    """Read and decode every file with OpenCV, and do nothing else."""
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(lambda file: cv2.imdecode(np.fromfile(file, np.uint8), cv2.IMREAD_COLOR).shape, images.files):
            pass


def packing(**options):
    def run(images, threads):
        pack(images, threads, Options(**options), progress=False)

    return run


def checking(images, threads):
    assert not list(check(images.record, threads))


def memory(what):
    """A line of the process's memory in MB: ``VmRSS`` now, ``VmHWM`` at its height."""
    line, = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(what))
    return int(line.split()[1]) / 1024


@click.command(context_settings=CONTEXT)
@click.option("--images", "number", type=click.IntRange(min=1), default=2000, help="Images to pack.")
def main(number):
    """Measure packing."""
    ways = {"decoder alone": decode_only, "pack": packing(), "check a record": checking,
            "pack --resize 256": packing(resize=256)}
    with tempfile.TemporaryDirectory() as folder:
        images = make_images(Path(folder), number)
        Path("/proc/self/clear_refs").write_text("5")      # the height counts from here
        before = memory("VmRSS")
        packing()(images, 2)
        added = memory("VmHWM") - before
        speeds = {}
        for _ in range(REPETITIONS):
            for name, run in ways.items():
                for threads in (1, 2):
                    started = time.perf_counter()
                    run(images, threads)
                    speeds.setdefault((name, threads), []).append(number / (time.perf_counter() - started))
    print(f"{number} images, {os.cpu_count()} cores; packing adds {added:.0f} MB of memory\n")
    print("| | 1 thread [images/s] | 2 threads | ratio | of the decoder, 2 threads |\n| --- | --- | --- | --- | --- |")
    for name in ways:
        one, two = (np.median(speeds[name, threads]) for threads in (1, 2))
        decoder = np.median(speeds["decoder alone", 2])
        print(f"| {name} | {one:.0f} | {two:.0f} | {two / one:.2f} | {two / decoder:.2f} |")


if __name__ == "__main__":
    exit_codes(main)()
