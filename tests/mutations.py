"""Does the suite notice? Changes the code, a line at a time, and expects a test to fail: ``make test-mutations``.

Each row is a file, what stands there, what is put in its place, and the tests that must fail. A row whose text is not
found once is a mistake, too: the code has moved on.
"""
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WIRING = "tests/test_wiring.py"
STAGES, TRANSFORM = "training/stages.py", "iters/random_transform.py"

MUTATIONS = [
    (STAGES, "(MMDLoss(), 1.0) if use_dan else (JMMDLoss(), 2.0)", "(JMMDLoss(), 1.0) if use_dan else (MMDLoss(), 2.0)",
     WIRING),
    (STAGES, "weight = usual if transfer_weight is None else transfer_weight", "weight = usual", WIRING),
    (STAGES, "StepSchedule(lr, lr_factor, steps)", "StepSchedule(lr, 0.1, steps)", WIRING),
    (STAGES, "run=record, stop=stop, seed=seed,", "run=record, stop=stop,", WIRING),
    (STAGES, "augmentation, data_nthreads, seed\n", "augmentation, data_nthreads, 0\n", WIRING),
    (STAGES, "    mx.random.seed(seed)\n", "", WIRING),
    (STAGES, "overwrite=overwrite, keep=keep,", "overwrite=overwrite,", WIRING),
    (STAGES, "    return Augmentation(", "    others.pop('pad_size')\n    return Augmentation(", WIRING),
    (STAGES, "jitter=color_jitter, ", "", WIRING),
    (STAGES, "    return Augmentation(", "    others.pop('pca_noise')\n    return Augmentation(", WIRING),
    (STAGES, "Augmentation(bool(random_crop), bool(random_mirror)", "Augmentation(True, bool(random_mirror)", WIRING),
    (STAGES, "Augmentation(bool(random_crop), bool(random_mirror)", "Augmentation(bool(random_crop), True", WIRING),
    *[(STAGES, "    return Augmentation(", f"    others.pop('{name}')\n    return Augmentation(", WIRING)
      for name in ("max_random_h", "max_random_s", "max_random_l", "max_random_aspect_ratio",
                   "max_random_rotate_angle", "max_random_shear_ratio", "max_random_scale", "min_random_scale")],
    *[(TRANSFORM, *change, "tests/test_transforms.py") for change in (
        ("2 * given.pad_size", "0"), ("rng.uniform(-jitter, jitter)", "0"), ("rng.gauss(0, noise)", "0"),
        ("if not given.random_crop:", "if False:"), ("self._given.random_mirror and", "True and"),
        ("* given.max_random_rotate_angle)", "* 0)"), ("* given.max_random_shear_ratio\n", "* 0\n"),
        ("rng.uniform(given.min_random_scale, given.max_random_scale)", "1.0"))],
]


def survives(number):
    """Whether the tests pass in spite of the mutation; a sentence if so, or if it cannot be made."""
    file, before, after, tests = MUTATIONS[number]
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "project")
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".git", ".venv", "runs", "data", "model", "*.pyc"))
        text = (copy / file).read_text()
        if text.count(before) != 1:
            return f"{file}: {before!r} stands there {text.count(before)} times"
        (copy / file).write_text(text.replace(before, after))
        done = subprocess.run([sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests.split()],
                              cwd=copy, capture_output=True, text=True)
    return None if done.returncode == 1 else f"{file}: {before!r} became {after!r}, and {tests} ended with " \
        f"{done.returncode}: {done.stdout[-300:]}"


def main():
    """Try every mutation, two at a time."""
    with ThreadPoolExecutor(2) as pool:
        survivors = [said for said in pool.map(survives, range(len(MUTATIONS))) if said]
    print(*survivors, f"{len(MUTATIONS) - len(survivors)} of {len(MUTATIONS)} mutations were noticed", sep="\n")
    sys.exit(bool(survivors))


if __name__ == "__main__":
    main()
