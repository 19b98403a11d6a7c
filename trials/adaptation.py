"""The whole way from images to predictions, as commands, and what they came to."""
import shlex
from pathlib import Path

from transfer_gluon.base.errors import InputError
from transfer_gluon.checkpoints.checkpoint import saved_epochs, symbol_file
from transfer_gluon.training.summary import SOURCE_ACCURACY, read_summary
from transfer_gluon.trials.trial import Trial, accuracy

# Rows, by their names in files: title, and the transfer loss of those that train.
METHODS = {"source": ("source model (no transfer)", None), "adabn": ("AdaBN", None), "dan": ("DAN (MMD)", "mmd"),
           "jan": ("JAN (JMMD)", "jmmd"), "coral": ("Deep CORAL", "coral"), "dann": ("DANN", "dann")}


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


def plan(output, images, digests, start, advice, methods, gpus=None, stage0=(), stage1=(), common=(), labelled=False):
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
        Further flags, which win.
    labelled : bool
        Whether ``val`` has labels.

    Returns: list of lists of `Trial`.
    """
    val = ["--val", images["val"]] if "val" in images else []
    devices = ["--gpus", gpus] if gpus else []
    gpu = ["--gpu", gpus.split(",")[0]] if gpus else []
    domains = ["--source", images["source"], "--target", images["target"], *(val or ["--no-validation"])]
    both = [*domains, *advice.common, *devices, *common, "--resume"]

    def trial(name, script, flags, done, stage=None, judged=False):
        return Trial(name, METHODS.get(name, (name, None))[0], 0, (script, *map(str, flags)), output / name, done,
                     digests, stage, judged=judged)

    def train(name, stage, flags):
        prefix = output / name
        epochs = advice.epochs[stage]
        command = ["--train-stage", stage, "--model-prefix", prefix, *flags, *both]
        return trial(name, "fine_tune.py", command, Path(f"{prefix}-{epochs:04d}.params"), stage, labelled)

    source = train("source", 0, [*start, *advice.stage0, *stage0])
    of_source = ["--pretrained-model", source.prefix, "--pretrained-epoch", advice.epochs[0]]
    second = []
    for name in methods:
        if name == "adabn":
            prefix = output / name
            second.append(trial(name, "adabn.py", ["--model", source.prefix, "--epoch", advice.epochs[0], "--val",
                                                   images.get("val", images["target"]), "--save-prefix", prefix,
                                                   *advice.adabn, *gpu],
                                Path(f"{prefix}-{advice.epochs[0]:04d}.params"), judged=labelled))
        else:
            second.append(train(name, 1, ["--transfer", METHODS[name][1], *of_source, *advice.stage1, *stage1]))
    last = second[-1] if second else source
    model = ["--model", last.prefix, "--epoch", advice.epochs[last.stage or 0]]
    which = "--lst" if images["target"].endswith(".lst") else "--images"
    third = [trial("predictions", "predict.py", [*model, which, images["target"], "--out",
                                                 output / "predictions.csv", *gpu], output / "predictions.csv")]
    if labelled:
        third.append(trial("evaluation", "evaluate.py", [*model, "--lst", images["val"], "--output",
                                                         output / "evaluation", *gpu], output / "evaluation"))
    return [stage for stage in ([source], second, third) if stage]


def table(trials):
    """What models came to, as a Markdown table: accuracy on the source's held-out part and on ``val``, where there are
    such; nothing stands where nothing was measured."""
    lines = ["| model | source, held out | target | checkpoint |", "| --- | --- | --- | --- |"]
    for run in trials:
        last = read_summary(run.summary)[-1] if run.stage is not None else {}
        held = _percent(100 * float(last.get(SOURCE_ACCURACY, "nan")))
        lines.append(f"| {run.title} | {held} | {_percent(accuracy(run))} | `{run.done}` |")
    return "\n".join(lines) + "\n"


def _percent(value):
    return f"{value:.1f} %" if value == value else "–"


def script(stages, top=""):
    """The commands as the text of a shell script."""
    return "".join(f"python {top}{shlex.join(run.command)}\n" for stage in stages for run in stage)
