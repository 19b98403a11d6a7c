#!/usr/bin/env python3
"""Run every recipe for a few updates, on stand-ins of its data set and of the network it starts from.

``make recipes-check`` calls this. In a temporary folder there are the folders, file names and numbers of classes of the
published data sets (`stand_in`), checkpoints of random weights under the names that recipes start from, and this
checkout's commands. Recipes run there as they stand, on the CPU, with flags behind theirs that make them short. Nothing
is downloaded. Names of recipes as arguments: only these.
"""
import csv
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import stand_in  # noqa: E402

MOST_IMAGES = 32        # of a list: every class has its images in the stand-in, and training takes some of them
SMALL = "--batch-size 16 --data-nthreads 2"
TABLE = ["--seeds", "1"]
OFFICE = [*TABLE, "--common", "--image-shape 3,64,64 --data-nthreads 2", "--stage0", "--num-epochs 2 --batch-size 16"]
NON_BINARY = f"--image-shape 3,75,75 --num-epochs 4 {SMALL}".split()       # of which the warm-up takes 3
CALTECH = f"--image-shape 3,64,64 --num-epochs 1 {SMALL}".split()
BRIEF = "--num-epochs 1 --batch-size 64"

# What makes a recipe short, and how many epochs all its runs then have. All six pairs of Office-31 are run once.
RECIPES = {
    "caltech-256.sh": (CALTECH, 1),
    "caltech-256-152.sh": (CALTECH, 1),
    "caltech-256-script.sh": (CALTECH, 1),
    "non-binary-caltech.sh": (NON_BINARY, 4),
    "non-binary-cars.sh": (NON_BINARY, 4),
    "non-binary-aircraft.sh": (NON_BINARY, 4),
    "non-binary-dtd.sh": (NON_BINARY, 4),
    "office-31.sh": (OFFICE, 24),
    "office-31-2018.sh": ([*OFFICE, "--domains", "data/two-domains"], 8),
    "cars.sh": ([*TABLE, "--common", "--image-shape 3,32,32 --data-nthreads 2", "--stage0", f"--lr 0.01 {BRIEF}",
                 "--stage1", f"--lr 0.0001 {BRIEF}"], 3),
    "flowers.sh": (["--epochs", "2", "--batches", "2"], 2),
    "gtsrb-alexnet.sh": (f"--num-epochs 1 {SMALL}".split(), 1),
    "cifar-10-bottleneck.sh": (["--epochs", "2", "--batch-size", "16"], 6),
    "gtsrb-bottleneck.sh": (["--epochs", "2", "--batch-size", "16"], 6),
}
ELSEWHERE = {"digits.sh": "make demo", "digits-methods.sh": "make demo-methods",
             "digits-fine-tuning.sh": "make demo-fine-tuning", "emoji.sh": "make demo-emoji",
             "emoji-packages.sh": "make demo-emoji", "emoji-data.sh": "make demo-emoji",
             "emoji-methods.sh": "make demo-emoji-methods", "evidence.sh": "make evidence",
             "non-binary.sh": "non-binary-*.sh", "bottleneck.sh": "*-bottleneck.sh"}
NETWORKS = "imagenet1k-resnet-50", "resnet-152", "inception_v4", "alexnet", "resnet50", \
    "vgg16_caffe", "bvlc_alexnet", "inceptionv3", "resnet50_v1"


def main(names):
    there = {path.name for path in (ROOT / "recipes").glob("*.sh")}
    unknown = there - RECIPES.keys() - ELSEWHERE.keys() | RECIPES.keys() - there | set(names) - RECIPES.keys()
    if unknown:
        sys.exit(f"recipes that are not in {Path(__file__).name}, or not in recipes/: {', '.join(sorted(unknown))}")
    with tempfile.TemporaryDirectory(prefix="recipes-") as folder:
        started = time.monotonic()
        folder = furnished(Path(folder))
        print(f"stand-ins of data sets and networks: {time.monotonic() - started:.0f} s", flush=True)
        failed = [name for name in names or RECIPES if not run(name, folder)]
    if failed:
        sys.exit(f"{len(failed)} recipes failed: {', '.join(failed)}")


def furnished(folder):
    """Put the checkout's commands, and stand-ins of all that recipes read, into `folder`."""
    for path in ROOT.iterdir():
        if path.name not in ("data", "model", "runs", "tools") and not path.name.startswith("."):
            (folder / path.name).symlink_to(path)
    (folder / "model").mkdir()
    (folder / "tools").mkdir()
    for path in (ROOT / "tools").iterdir():
        if path.name not in ("im2rec_helpers.py", "transfer_gluon", "__pycache__"):
            (folder / "tools" / path.name).symlink_to(path)
    (folder / "tools" / "im2rec_helpers.py").write_text(
        f"import sys\nsys.path.insert(0, {str(ROOT / 'tests')!r})\n"
        "from recipes_check import helpers\nsys.exit(helpers(sys.argv[1:]))\n")
    write = stand_in.Pictures().write
    stand_in.caltech256(folder / "data", images=61, write=write)
    stand_in.cars(folder / "data", write=write)
    stand_in.aircraft(folder / "data", write=write)
    stand_in.dtd(folder / "data", write=write)
    stand_in.flowers(folder / "data", write=write)
    stand_in.gtsrb(folder / "data", images=150)
    stand_in.cifar10(folder / "data", images=260)
    stand_in.office31(folder / "data" / "office-31", write=write)
    (folder / "data" / "two-domains").mkdir()
    for name in "amazon", "webcam":
        (folder / "data" / "two-domains" / name).symlink_to(folder / "data" / "office-31" / name)
    here = os.getcwd()
    os.chdir(folder)        # paths in lists are relative to where recipes run
    stand_in.compcars(Path("data"), write=write)
    for name in NETWORKS:
        stand_in.network(f"model/{name}")
    os.chdir(here)
    return folder


def helpers(arguments):
    """tools/im2rec_helpers.py, behind which the lists of a data set are thinned out: some images of all classes."""
    code = subprocess.run([sys.executable, ROOT / "tools" / "im2rec_helpers.py", *arguments]).returncode
    if not code and arguments[0] == "dataset":
        for path in Path(arguments[3]).glob("[stv]*.lst"):
            lines = path.read_text().splitlines(keepends=True)
            kept = range(len(lines) - 1, -1, -max(1, len(lines) // MOST_IMAGES))
            path.write_text("".join(lines[number] for number in sorted(list(kept)[:MOST_IMAGES])))
    return code


def run(name, folder):
    """Run a recipe, and say in a line how it went. Returns: whether it has trained and validated all its epochs."""
    flags, wanted = RECIPES[name]
    started = time.monotonic()
    log = folder / f"{name}.log"
    with open(log, "w") as said:
        code = subprocess.run(["sh", f"recipes/{name}", *flags], cwd=folder, stdin=subprocess.DEVNULL, stdout=said,
                              stderr=subprocess.STDOUT, env={**os.environ, "GPUS": "", "PYTHONPATH": str(ROOT)}
                              ).returncode
    summaries = list((folder / "runs").rglob("summary.csv")) if (folder / "runs").exists() else []
    rows = [row for path in summaries for row in csv.DictReader(open(path))]
    good = not code and len(rows) == wanted == sum(0 <= float(row["validation_accuracy"]) <= 1 for row in rows)
    took = f"{time.monotonic() - started:.0f} s"
    if good:
        print(f"{name}: {wanted} epoch{'s' * (wanted > 1)}, {took}", flush=True)
    else:
        print(f"{name}: FAILED with exit code {code}, {len(rows)} epochs of {wanted}, {took}. Its last words:\n"
              + "\n".join(log.read_text().splitlines()[-15:]), flush=True)
    for path in (folder / "runs").rglob("*.params"):
        path.unlink()
    if (folder / "runs").exists():
        (folder / "runs").rename(folder / f"runs-of-{name}")
    return good


if __name__ == "__main__":
    main(sys.argv[1:])
