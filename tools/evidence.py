#!/usr/bin/env python3
"""The evidence for a choice without labels: runs on pairs of domains, every score of every epoch, and the tables."""
from pathlib import Path

from transfer_gluon.cli.exit_codes import CONTEXT, Command, exit_codes
from transfer_gluon.cli.types import FOLDER, Names, refuse_idle

import click

from transfer_gluon.base.errors import InputError
from transfer_gluon.base.files import replacing, writable_folder


@click.command(cls=Command, context_settings=CONTEXT, examples=[
    ("All pairs, as recipes/evidence.sh has made their data", "--data-dir data/evidence --jobs 2"),
    ("Two pairs, two methods, a seed", "--pairs printed-handwritten,upright-slanted --methods jan,jan:2 --seeds 1"),
    ("The tables again, of what was measured", "--tables --output runs/evidence"),
    ], sections={"What is run": ("data_dir", "network", "pairs", "methods", "seeds"),
                 "Running": ("output", "jobs"), "Tables": ("rule", "tables")})
@click.option("--data-dir", type=FOLDER, default="data/evidence", help="Folder with a folder a pair.")
@click.option("--output", type=FOLDER, default="runs/evidence", help="Folder for runs, scores and tables.")
@click.option("--network", default="model/efficientnet-lite0",
              help="Prefix of the pretrained network of the emoji pairs, epoch 0.")
@click.option("--pairs", type=Names(), default=None, help="Names of folders in DATA_DIR.  [default: all six]")
@click.option("--methods", type=Names(), default=None,
              help="What is run beside the source model: adabn, dan, jan, jan-quadratic, dan-quadratic, and the names "
                   "of --transfer; with another relative weight as jan:0.25.  [default: all]")
@click.option("--seeds", type=click.IntRange(min=1), default=5, help="How often everything is repeated.")
@click.option("--jobs", type=click.IntRange(min=1), default=1, help="Commands that run at the same time.")
@click.option("--rule", default=None, help="The rule that is told of pair by pair, by its title in the tables.  "
                                           "[default: the best on the pairs that rules are chosen by]")
@click.option("--tables", is_flag=True, help="Run nothing; make the tables of evidence.csv in OUTPUT again.")
def main(data_dir, output, network, pairs, methods, seeds, jobs, rule, tables):
    """Run methods on pairs of domains, judge every epoch by every score, and tell what each rule would have cost.

    Target labels serve the verdict alone. What was finished is not done again: runs that more scores were asked of are
    looked at for these, and for runs of other commands or images all is done anew.
    """
    from transfer_gluon.trials import evidence
    from transfer_gluon.trials.decisions import read
    from transfer_gluon.trials.verdicts import report

    if tables:
        refuse_idle(dict.fromkeys(("data_dir", "network", "pairs", "methods", "seeds", "jobs"),
                                  "with `tables`, which runs nothing"))
    output, data_dir = Path(output), Path(data_dir)
    writable_folder(output / "evidence.csv", "output")
    if not tables:
        for name in pairs or ():
            if name not in evidence.PAIRS:
                raise InputError.of("pairs", name, f"one of {', '.join(evidence.PAIRS)}")
        runs = [evidence.plan(name, evidence.PAIRS[name], data_dir, output, seed, methods or evidence.METHODS, network)
                for name in pairs or evidence.PAIRS for seed in range(seeds)]
        evidence.make(runs, data_dir, jobs)
        evidence.write(output / "evidence.csv", [row for one in runs for row in evidence.rows(one)])
    text = report(read(output / "evidence.csv"), {name for name, pair in evidence.PAIRS.items() if pair.reported},
                  {name: pair.title for name, pair in evidence.PAIRS.items()}, rule)
    with replacing(output / "tables.md") as temporary:
        temporary.write_text(text, encoding="utf-8")
    print(f"{text}\n{output / 'evidence.csv'}, {output / 'tables.md'}")


if __name__ == "__main__":
    exit_codes(main)()
