#!/usr/bin/env python3
"""The table of the original, CNN, AdaBN, DAN, JAN and other methods, on any data; or of all pairs of domains."""
from pathlib import Path

from transfer_gluon.cli.exit_codes import CONTEXT, Command, exit_codes
from transfer_gluon.cli.types import FOLDER, given, refuse_idle, words

import click

from transfer_gluon.base.errors import InputError
from transfer_gluon.base.files import replacing, writable_folder
from transfer_gluon.symbols.registry import TRANSFER_LOSSES

ORIGINAL_STAGE0 = "--lr 0.01 --lr-step-epochs 10,16 --num-epochs 18 --lr-factor 0.1 --batch-size 64"
ORIGINAL_STAGE1 = "--lr 0.0001 --lr-step-epochs 6,8,10,12 --num-epochs 14 --lr-factor 0.5 --batch-size 64"
# The later recipe for Office-31: docs/fine-tuning-office.md.
OFFICE_STAGE0 = ("--pretrained-model model/resnet50 --image-shape 3,224,224 --val-resize 224 --color-jitter 0 "
                 "--pca-noise 0 --new-init normal --lr 0.0001 --head-lr-mult 10 --num-epochs 100 --batch-size 64 "
                 "--source-validation 0.2 --keep best --early-stop 20")


@click.command(cls=Command, context_settings=CONTEXT, examples=[
    ("CNN, AdaBN, DAN and JAN on data/, as the published table was made",
     "--data-dir data --num-classes 263 --gpus 0,1,2,3"),
    ("The same, with a row for Deep CORAL and one for another rate",
     "--data-dir data --num-classes 31 --also coral '' --also jmmd '--lr 0.001'"),
    ("All pairs of the domains of Office-31", "--domains office31 --gpus 0"),
    ], sections={"Data": ("data_dir", "num_classes", "domains"),
                 "Flags of the commands that are run": ("stage0", "stage1", "common", "adabn", "also"),
                 "Running": ("gpus", "seeds", "jobs", "output")})
@click.option("--data-dir", type=FOLDER, default="./data", help="Folder with source.lst, target.lst and val.lst.")
@click.option("--num-classes", type=click.IntRange(min=1), default=None, show_default=False,
              help="Number of classes; must be given with --data-dir.")
@click.option("--domains", type=FOLDER, default=None,
              help="Instead of both: a folder with a folder a domain, in each a folder a class, such as Office-31's "
                   "amazon, webcam and dslr. Every ordered pair is run, stage 0 only: trained on the one, tested on "
                   "the other. The default of --stage0 is then the later recipe of docs/fine-tuning-office.md.")
@click.option("--gpus", default=None, help="Numbers of the GPUs to train on, such as 0,1,2,3.  [default: the CPU]")
@click.option("--seeds", type=click.IntRange(min=1), default=3, help="How often everything is repeated.")
@click.option("--jobs", type=click.IntRange(min=1), default=1, help="Commands that run at the same time.")
@click.option("--output", type=FOLDER, default=None,
              help="Folder for checkpoints, logs, table, CSV and picture.  [default: runs/ and the name of the data's]")
@click.option("--stage0", multiple=True, default=[ORIGINAL_STAGE0],
              help="Flags of fine_tune.py in stage 0. This and the next three may be given several times: flags that "
                   "come later are added, and win.")
@click.option("--stage1", multiple=True, default=[ORIGINAL_STAGE1], help="Flags of fine_tune.py in stage 1.")
@click.option("--common", multiple=True, help="Flags of fine_tune.py in both stages.")
@click.option("--adabn", multiple=True, help="Flags of adabn.py.")
@click.option("--published", is_flag=True, help="A column more: what the original published, on cars.")
@click.option("--also", type=(click.Choice(["cnn", *TRANSFER_LOSSES]), str), multiple=True, metavar="NAME FLAGS",
              help="One more row: the transfer loss NAME, and flags of its own behind those of --stage1, such as: dann "
                   "'--transfer-weight 8', or: coral ''; or cnn, and flags behind those of --stage0. May be given "
                   "several times, for one NAME too, with other flags.")
def main(data_dir, num_classes, domains, gpus, seeds, jobs, output, stage0, stage1, common, adabn, published, also):
    """Run the four rows of the published table on --data-dir, and more if you like, over several seeds; or every pair
    of --domains.

    The default flags are the original's. Finished commands are not run again: delete the output folder
    to start over. Accuracies are those of the last epoch, and with --domains also of the epoch that is best on
    a part of the source; none is chosen by looking at target labels.
    """
    if domains:
        refuse_idle(dict.fromkeys(("data_dir", "num_classes"), "with `domains`, whose folders tell it"))
        refuse_idle(dict.fromkeys(("stage1", "adabn", "published"), "with `domains`, which is stage 0 only"))
        stage0 = stage0 if given("stage0") else [OFFICE_STAGE0]
    elif num_classes is None:
        raise click.UsageError("Missing option '--num-classes'.")
    output = Path(output or Path("runs") / Path(domains or data_dir).resolve().name)
    writable_folder(output / "table.md", "output")
    flags = {name: words(name, texts) for name, texts in (("stage0", stage0), ("stage1", stage1), ("common", common),
                                                           ("adabn", adabn))}
    also = [(name, words("also", [text])) for name, text in also]
    if domains:
        _pairs(domains, output, jobs, gpus, seeds, flags["stage0"], flags["common"], also)
    else:
        _methods(data_dir, num_classes, output, jobs, gpus, seeds, flags, also, published)


def _methods(data_dir, num_classes, output, jobs, gpus, seeds, flags, also, published):
    """The rows of the published table, and those of --also, on one pair of domains."""
    from transfer_gluon.iters.image_list import read_list
    from transfer_gluon.trials.curves import draw
    from transfer_gluon.trials.methods import plan
    from transfer_gluon.trials.tables import table, write_csv
    from transfer_gluon.trials.trial import accuracy, execute_all

    lists = {name: read_list(Path(data_dir) / name, num_classes) for name in ("source.lst", "target.lst", "val.lst")}
    if not lists["val.lst"].labelled.any():
        raise InputError(f"{lists['val.lst'].path}: no image has a label, so there are no accuracies for a table.")
    lists = {name: images.digest for name, images in lists.items()}
    stages = plan(output, data_dir, lists, num_classes, gpus, seeds, also=also, **flags)
    execute_all(stages, jobs)
    runs = sum(stages, [])
    results, titles = {}, {}
    for run in runs:
        results.setdefault(run.method, []).append(accuracy(run))
        titles[run.method] = run.title
    text = table(results, Path(data_dir).resolve().name, titles, published)
    write_csv(output / "results.csv", runs)
    draw(output / "curves.png", runs, data_dir)
    _tell(output, text, "results.csv", "curves.png")


def _pairs(domains, output, jobs, gpus, seeds, stage0, common, also):
    """A table of all pairs of --domains, and one for each variant in --also."""
    from transfer_gluon.trials.domains import list_domains, plan_pairs
    from transfer_gluon.trials.tables import pair_accuracies, pair_table, write_pair_csv
    from transfer_gluon.trials.trial import execute_all

    for name, _ in also:
        if name != "cnn":
            raise InputError(f"`also` {name} was given with `domains`, which is stage 0 only; expected cnn.")
    lists, num_classes = list_domains(domains, output)
    runs = plan_pairs(output, lists, num_classes, gpus, seeds, stage0, common, also)
    execute_all([runs], jobs)
    results, titles = {}, {}
    for run in runs:
        results.setdefault(run.method, {}).setdefault(run.pair, []).append(pair_accuracies(run))
        titles[run.method] = run.title
    text = "\n".join(pair_table(pairs, f"{Path(domains).resolve().name}, {titles[method]}")
                     for method, pairs in results.items())
    write_pair_csv(output / "results.csv", runs)
    _tell(output, text, "results.csv")


def _tell(output, text, *others):
    with replacing(output / "table.md") as temporary:
        temporary.write_text(text, encoding="utf-8")
    print(f"{text}\n{', '.join(str(output / name) for name in ('table.md', *others))}")


if __name__ == "__main__":
    exit_codes(main)()
