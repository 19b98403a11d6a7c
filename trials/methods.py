"""The rows of the published table, and further ones: no transfer, AdaBN, and transfer losses on top of stage 0."""
import hashlib
import re
from pathlib import Path

from transfer_gluon.base.errors import InputError
from transfer_gluon.trials.trial import Trial, training_command

METHODS = {     # name in files: name in the table, published accuracy on cars in percent
    "cnn": ("CNN (no transfer)", 68.7),
    "adabn": ("AdaBN", 71.6),
    "dan": ("DAN (MMD)", 73.7),
    "jan": ("JAN (JMMD)", 78.9),
}
_TITLES = {"cnn": METHODS["cnn"][0], "bnm": "BNM", "cdan": "CDAN+E", "coral": "Deep CORAL", "dann": "DANN",
           "jmmd": "JAN", "mcc": "MCC", "mmd": "DAN", "shot": "SHOT", "shot_im": "SHOT-IM"}
_MOST = 60      # characters of flags in the name of a file


def further_rows(also):
    """The rows that were asked for beside those of the table, as a dict from the name of each in files to what it
    varies, its title and its flags.

    Parameters
    ----------
    also : sequence of (str, list of str)
        ``cnn`` or a transfer loss, and its flags, in words. The first row of a loss is called as the loss is, all
        others by their flags as well.

    Raises: InputError for a row that stands there twice.

    >>> further_rows([("jmmd", ["--ema", "0.99"]), ("jmmd", []), ("cnn", ["--mixup", "0.2"])])["cnn-mixup-0.2"]
    ('cnn', 'CNN (no transfer), --mixup 0.2', ['--mixup', '0.2'])
    """
    rows = {}
    for method, words in also:
        said = " ".join(words)
        if any((method, words) == (other, flags) for other, _, flags in rows.values()):
            raise InputError(f"`also` {method} was given twice with {said or 'no flags'}; give each row once.")
        if method == "cnn" and not words:
            raise InputError("`also` cnn was given without flags; that row is there already.")
        name = method if method != "cnn" and method not in rows else f"{method}-{_short(said)}"
        if name in rows:        # of other flags that a file's name cannot tell apart
            name = f"{name}-{_digest(said)}"
        rows[name] = method, ", ".join([_TITLES.get(method, method), *([said] if said else [])]), words
    return rows


def _short(flags):
    """Flags as a part of a file's name.

    >>> _short("--lr 0.1,0.01"), _short(""), _short("--lr 1 " * 20)
    ('lr-0.1-0.01', 'plain', 'lr-1-lr-1-lr-1-lr-1-lr-1-lr-1-lr-1-lr-1-lr-1-lr-1-lr-1-lr-1-c5a2c487')
    """
    name = re.sub(r"[^\w.]+", "-", flags, flags=re.ASCII).strip("-") or "plain"
    if len(name) > _MOST:
        name = f"{name[:_MOST].strip('-')}-{_digest(flags)}"
    return name


def _digest(flags):
    return hashlib.sha256(flags.encode()).hexdigest()[:8]


def plan(output, data_dir, lists, num_classes, gpus, seeds, stage0, stage1, common, adabn, also=()):
    """The commands of all seeds: those of stage 0, and those that go on from their checkpoints. Flags are words;
    `also` is as for `further_rows`.

    Raises: InputError where stage 0 need not reach the epoch that the rest goes on from.
    """
    first, second = [], []
    gpu = gpus.split(",")[0] if gpus else None
    rows = further_rows(also)
    for seed in range(seeds):
        folder = output / f"seed{seed}"

        def train(name, title, stage, flags, seed=seed, folder=folder):
            prefix = folder / name
            command = training_command(data_dir, num_classes, seed, prefix, gpus, [*common, *flags])
            epochs = last_epoch(command)
            # Flags of one's own may end a run early, or drop its last checkpoint, from which nothing goes on.
            done = Path(f"{prefix}-{epochs:04d}.params") if name in METHODS else Path(f"{prefix}-run", "summary.csv")
            return Trial(name, title, seed, command, prefix, done, lists, stage), epochs

        cnn, epochs = train("cnn", METHODS["cnn"][0], 0, ["--train-stage", 0, *stage0])
        if any(word.startswith("--early-stop") for word in cnn.command):
            raise InputError("`stage0` or `common` has --early-stop, and the other rows go on from the epoch that "
                             "--num-epochs of stage 0 names. Give it in `stage1`, or in `also`.")
        start = ["--train-stage", 1, "--pretrained-model", cnn.prefix, "--pretrained-epoch", epochs, *stage1]
        prefix = folder / "adabn"
        command = ["adabn.py", "--model", cnn.prefix, "--epoch", epochs, "--val", Path(data_dir) / "val.lst",
                   *(["--gpu", gpu] if gpu else []), *adabn]
        first.append(cnn)
        second += [Trial("adabn", METHODS["adabn"][0], seed, tuple(map(str, command)), prefix, Path(f"{prefix}.log"),
                         lists),
                   train("dan", METHODS["dan"][0], 1, ["--use-dan", *start])[0],
                   train("jan", METHODS["jan"][0], 1, start)[0]]
        for name, (method, title, words) in rows.items():
            if method == "cnn":
                first.append(train(name, title, 0, ["--train-stage", 0, *stage0, *words])[0])
            else:
                second.append(train(name, title, 1, ["--transfer", method, *start, *words])[0])
    return first, second


def last_epoch(command):
    """The value of --num-epochs in a command of fine_tune.py, where the last one counts.

    Raises: InputError when it has none.

    >>> last_epoch(["fine_tune.py", "--num-epochs", "18", "--num-epochs=5"])
    5
    """
    values = [value for word, following in zip(command, [*command[1:], None])
              for name, equals, value in [str(word).partition("=")]
              for value in [value if equals else following] if name == "--num-epochs" and value is not None]
    if not values:
        raise InputError("`stage0` and `stage1` need --num-epochs and a number.")
    value = values[-1]
    if not str(value).isdigit():
        raise InputError(f"--num-epochs is {value!r}; expected a number.")
    return int(value)
