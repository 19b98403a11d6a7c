"""The whole way from images to predictions, as commands, and what they came to."""
import hashlib
import json
import shlex
from pathlib import Path

from transfer_gluon.base.errors import InputError
from transfer_gluon.base.files import read_text, reading
from transfer_gluon.checkpoints.checkpoint import parameter_file, saved_epochs, symbol_file
from transfer_gluon.exchange.state_dict import find_weights
from transfer_gluon.symbols.registry import TRANSFER_LOSSES
from transfer_gluon.training.summary import SOURCE_ACCURACY, read_summary
from transfer_gluon.trials.advice import drop_after
from transfer_gluon.trials.methods import last_epoch
from transfer_gluon.trials.trial import Trial, accuracy

# Rows, by their names in files: title, and the transfer loss of those that train.
METHODS = {"source": ("source model (no transfer)", None), "adabn": ("AdaBN", None), "dan": ("DAN (MMD)", "mmd"),
           "jan": ("JAN (JMMD)", "jmmd"), "coral": ("Deep CORAL", "coral"), "dann": ("DANN", "dann"),
           "cdan": ("CDAN+E", "cdan"), "mcc": ("MCC", "mcc"), "bnm": ("BNM", "bnm"),
           "shot": ("SHOT", "shot"), "shot_im": ("SHOT-IM", "shot_im")}
METHODS.update({loss: (loss, loss) for loss in TRANSFER_LOSSES if loss not in {own for _, own in METHODS.values()}})
# What the commands need as it is, so that each finds what the one before it has left; and what to give instead.
_DECIDED = {"--source": "`source`", "--target": "`target`", "--val": "`val`", "--gpus": "`gpus`",
            "--network": "`network`", "--num-layers": "`num_layers`",
            "--pretrained-model": "`model`", "--pretrained-epoch": "`epoch`", "--model-prefix": "`output`",
            "--transfer": "`methods`", "--use-dan": "`methods`", "--read": "`how`",
            **dict.fromkeys(("--train-stage", "--data-dir", "--no-validation", "--resume", "--overwrite",
                             "--load-epoch", "--no-checkpoint", "--early-stop", "--keep", "--test-io", "--benchmark"))}

_LOOKED_AT = 400        # images of the target that the report looks at, and half as many of the source

# What cannot stand beside a flag, and goes where that is given.
_STEPS = "--lr-step-epochs", "--lr-step-unit"
_INSTEAD = {"--transfer-weight": ("--relative-transfer-weight",), "--lr-step-every": _STEPS, "--lr-schedule": _STEPS}


def find_network(folder="model"):
    """The only checkpoint prefix in a folder, and its last epoch.

    Raises: InputError where there is none, or where there are several, with their names.
    """
    ending = symbol_file("").name
    prefixes = sorted(str(file)[:-len(ending)] for file in Path(folder).glob(f"*{ending}"))
    prefixes = [prefix for prefix in prefixes if saved_epochs(prefix)]
    if len(prefixes) != 1:
        there = f"{folder}/ has several: {', '.join(prefixes)}. Say which by `model`" if prefixes else \
            f"no pretrained network is in {folder}/. tools/get_model.py fetches one; `weights` and `architecture` " \
            "take PyTorch's; `network` begins with random weights, which needs many labelled images"
        raise InputError(f"which network to start from was not said, and {there}.", "model", None,
                         "the prefix of a checkpoint")
    return prefixes[0], saved_epochs(prefixes[0])[-1]


def check_further(name, flags):
    """Raise InputError where words for fine_tune.py, given as the parameter `name`, hold a flag that `plan` decides."""
    for word in flags:
        flag = word.partition("=")[0]
        if flag in _DECIDED:
            instead = _DECIDED[flag]
            raise InputError(f"`{name}` has {flag}, " + (f"which {instead} says; give that." if instead else
                             "without which the commands would not find what the others write; leave it out, or copy "
                             "the commands, which `dry_run` prints, and change them."), name, flags,
                             f"flags without {flag}")


def unless_told(advised, further, epochs):
    """What is advised, without what `further` flags say themselves; the rate falls late in `epochs`.

    >>> unless_told(["--lr", "0.01", "--lr-step-epochs", "45", "--wd", "0"], ["--wd=0.1", "--num-epochs", "4"], 4)
    ['--lr', '0.01', '--lr-step-epochs', '3']
    """
    told = {word.partition("=")[0] for word in further}
    told.update(*(_INSTEAD.get(word, ()) for word in told))
    pairs = {**dict(zip(advised[::2], advised[1::2])), "--lr-step-epochs": str(drop_after(epochs))}
    return [word for flag, value in pairs.items() if flag not in told for word in (flag, value)]


def plan(output, images, digests, start, advice, methods, gpus=None, stage0=(), stage1=(), common=(), labelled=False,
         first=()):
    """The commands, as lists of trials one after the other.

    Parameters
    ----------
    output : Path
        Folder of all that they write.
    images : dict of str to str
        Paths of the lists or folders ``source``, ``target`` and, if there is one, ``val``.
    digests : dict
        Of what they hold: a command that was done with others is done again.
    start : list of str
        Flags of stage 0 that name the network.
    advice : Advice
    methods : sequence of str
        Of `METHODS`; the last one predicts.
    gpus : str or None
    stage0, stage1, common : sequences of str
        Further flags, which win; those of a stage over those of both.
    labelled : bool
        Whether ``val`` has labels.
    first : sequence of Trial
        What is done before all others.

    Returns: list of lists of `Trial`.

    Raises: InputError for further flags that would break the way from one command to the next.
    """
    for name, further in ("common", common), ("stage0", stage0), ("stage1", stage1):
        check_further(name, further)
    val = ["--val", images["val"]] if "val" in images else []
    domains = ["--source", images["source"], "--target", images["target"], *(val or ["--no-validation"])]
    kept = ["--data-dir", output] if "--read" in advice.common else []      # where computed features go
    both = [*domains, *kept, *(["--gpus", gpus] if gpus else []), "--resume"]
    gpu = ["--gpu", gpus.split(",")[0]] if gpus else []

    def trial(name, script, flags, done, after, stage=None, judged=False):
        return Trial(name, METHODS.get(name, (name, None))[0], None, (script, *map(str, flags)), output / name,
                     Path(done), digests, stage, judged=judged, after=tuple(after), anew=True)

    def train(name, stage, flags, advised, further, after):
        prefix, further = output / name, [*common, *further]
        epochs = last_epoch([*advised, *further])
        advised = unless_told([*advice.common, *advised], further, epochs)
        command = ["--train-stage", stage, "--model-prefix", prefix, *flags, *both, *advised, *further]
        return trial(name, "fine_tune.py", command, f"{prefix}-{epochs:04d}.params", after, stage, labelled), epochs

    source, epochs = train("source", 0, start, advice.stage0, stage0, first)
    of_source = ["--pretrained-model", source.prefix, "--pretrained-epoch", epochs]
    model = ["--model", source.prefix, "--epoch", epochs]
    second, last, models, named = [], source, {}, []
    for name in methods:
        prefix = output / name
        if name == "adabn":
            last = trial(name, "adabn.py", ["--model", source.prefix, "--epoch", epochs, "--val", images["target"],
                                            "--save-prefix", prefix, *advice.adabn, *gpu],
                         f"{prefix}-{epochs:04d}.params", [source])
            model = ["--model", prefix, "--epoch", epochs]
        else:
            loss = METHODS[name][1]
            last, of_last = train(name, 1, ["--transfer", loss, *of_source], advice.for_loss(loss), stage1, [source])
            model = ["--model", prefix, "--epoch", of_last]
        second.append(last)
        named.append(f"{model[1]}:{model[3]}")
        models[last.method] = model
    which = "--images" if Path(images["target"]).is_dir() else "--lst"
    predictions = output / "predictions.csv"
    third = [trial("predictions", "predict.py", [*model, which, images["target"], "--out", predictions, *gpu],
                   predictions, [last])]
    for run in second or [source]:
        if labelled and (run is last or run.stage is None):     # others tell their accuracy by themselves
            name = "evaluation" if run is last else f"evaluation-{run.method}"
            flags = ["--lst", images["val"], "--output", output / name, "--overwrite", *gpu]
            third.append(trial(name, "evaluate.py", [*models.get(run.method, model), *flags],
                               output / name / "evaluation.json", [run]))
    page = output / "report.html"
    flags = ["--source-model", f"{source.prefix}:{epochs}", *domains[:4], *val, "--max-images", _LOOKED_AT, *gpu]
    third.append(trial("report", "report.py", [*(named or [f"{source.prefix}:{epochs}"]), *flags, "--out", page], page,
                       second or [source]))
    return [stage for stage in (list(first), [source], second, third) if stage]


def import_command(output, weights, architecture):
    """The command that imports PyTorch's `weights`, as a `Trial` that ends in the prefix of a checkpoint, epoch 0."""
    prefix = output / architecture
    command = "tools/import_weights.py", str(weights), "--architecture", architecture, "--output", str(prefix)
    return Trial("network", f"{architecture}, imported", None, command, prefix, parameter_file(prefix, 0),
                 {"weights": file_digest(find_weights(weights))}, judged=False)


def file_digest(path):
    """Of what a file holds. Raises: InputError when it cannot be read."""
    digest = hashlib.sha256()
    with reading(path), open(path, "rb") as file:
        for piece in iter(lambda: file.read(2**20), b""):
            digest.update(piece)
    return digest.hexdigest()[:16]


def table(stages):
    """What the models of the `stages` of a plan came to, as a Markdown table: accuracy on the source's held-out part
    and on ``val``, where there are such; nothing stands where nothing was measured."""
    trials = sum(stages, [])
    evaluated = {run.after[0].method: run.done for run in trials if run.command[0] == "evaluate.py"}
    lines = ["| model | source, held out | target | checkpoint |", "| --- | --- | --- | --- |"]
    for run in trials:
        if run.method not in METHODS:
            continue
        last = read_summary(run.summary)[-1] if run.stage is not None else {}
        held = _percent(100 * float(last.get(SOURCE_ACCURACY, "nan")))
        target = 100 * json.loads(read_text(evaluated[run.method]))["accuracy"] if run.method in evaluated else \
            accuracy(run)
        lines.append(f"| {run.title} | {held} | {_percent(target)} | `{run.done}` |")
    return "\n".join(lines) + "\n"


def _percent(value):
    return f"{value:.1f} %" if value == value else "–"


def script(stages, called=lambda script: f"python {script}"):
    """The commands as lines of a shell; `called` says how one calls a script.

    >>> command = "predict.py", "--images", "my photos"
    >>> run = Trial("predictions", "predictions", None, command, Path("p"), Path("p.csv"), {})
    >>> print(script([[run]]), end="")
    python predict.py --images 'my photos'
    """
    return "".join(f"{called(run.command[0])} {shlex.join(run.command[1:])}\n" for stage in stages for run in stage)
