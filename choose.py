#!/usr/bin/env python3
"""Choose one of several networks for the target without its labels, or keep the source model."""
import math
from pathlib import Path

from transfer_gluon.cli.exit_codes import CONTEXT, Command, exit_codes
from transfer_gluon.cli.options import RUNNING, compared_options, computing_options, input_options
from transfer_gluon.cli.types import PATH

import click

from transfer_gluon.base.errors import InputError
from transfer_gluon.iters.image_list import MOST_LABEL, NULL_LABEL
from transfer_gluon.scores.registry import SCORES


@click.command(cls=Command, context_settings=CONTEXT, examples=[
    ("Which epoch of a run, if any, is better than the network it began with", "model/mmd1"),
    ("Of several runs and AdaBN's checkpoint, and keep what is chosen under a prefix of its own",
     "model/dan model/jan model/adabn:18 --save-prefix model/chosen"),
    ], sections={"What is compared": ("source_model", "data_dir", "source", "target", "val", "max_images", "seed"),
                 "The choice": ("by", "save_prefix"), **RUNNING})
@compared_options(
    ", which tells no labels. In a list, those of a few sharpen the choice, unless they were trained on.  "
    "[default: target.lst]",
    "what the choice has cost, and do not change it.", "the halves that tell how sure the choice is.")
@click.option("--by", type=click.Choice(list(SCORES)), default=None,
              help="Choose by this score alone.  [default: the recommended rule]")
@click.option("--save-prefix", type=PATH, default=None,
              help="Write the chosen checkpoint under this prefix, same epoch.")
@input_options("the longer side of the input")
@computing_options()
@click.option("--null-label", type=click.IntRange(0, MOST_LABEL), default=NULL_LABEL,
              help="The label that means 'unknown'.")
def main(runs, source_model, data_dir, source, target, val, max_images, seed, by, save_prefix, image_shape, val_resize,
         batch_size, dtype, force_dtype, null_label, gpus, threads):
    """Rank checkpoints without any target label: all epochs of each of RUNS, or PREFIX:EPOCH for one.

    The answer may be to keep the source model. It comes with how sure it is.
    """
    from transfer_gluon.base.devices import find_devices
    from transfer_gluon.base.files import writable_folder
    from transfer_gluon.base.log import log, log_to_stderr
    from transfer_gluon.checkpoints.checkpoint import refuse_to_replace, write_checkpoint
    from transfer_gluon.scores.candidates import look_at_all
    from transfer_gluon.scores.choice import choose, rule_by
    from transfer_gluon.symbols.precision import usable_dtype
    from transfer_gluon.trials.choosing import gather, true_accuracies

    log_to_stderr()
    devices = find_devices(gpus)
    dtype = usable_dtype(dtype, devices, force_dtype)
    if save_prefix:
        writable_folder(save_prefix, "save_prefix")
    found = gather(runs, source_model, data_dir=data_dir, source=source, target=target, val=val, null_label=null_label)
    if save_prefix and Path(save_prefix).resolve() in {Path(one.prefix).resolve() for one in found.candidates}:
        raise InputError(f"`save_prefix` is {save_prefix}, a candidate itself, which would be replaced; give another "
                         "prefix.")
    computing = dict(image_shape=image_shape, val_resize=val_resize, batch_size=batch_size, threads=threads, seed=seed,
                     dtype=dtype)
    if save_prefix:
        # Any may be chosen; that one is asked of again, when it is known.
        refused = []
        for one in {one.prefix: one for one in found.candidates}.values():
            try:
                refuse_to_replace(save_prefix, one.epoch, "save_prefix", one.load().symbol)
                break
            except InputError as error:
                refused.append(error)
        else:
            raise refused[0]
    for note in found.notes:
        log.info("%s", note)
    log.info("%d networks, %d target images", len(found.candidates), min(len(found.target), max_images))
    seen = look_at_all(found.candidates, found.target, devices, found.source, found.trained, most_target=max_images,
                       most_source=max_images // 2, **computing)
    choice = choose(found.candidates, seen, rule_by(by), seed=seed)
    print("\n".join([table(choice), "", *verdict(choice)]))
    known = true_accuracies(found, seen, devices, most=max_images, **computing)
    if known:
        print(cost(choice, found.val, *known))
    if save_prefix:
        one = choice.candidates[choice.chosen]
        checkpoint = one.load()
        refuse_to_replace(save_prefix, one.epoch, "save_prefix", checkpoint.symbol,
                          (checkpoint.arg_params, checkpoint.aux_params))
        log.info("saved %s", write_checkpoint(save_prefix, one.epoch, checkpoint.symbol, checkpoint.arg_params,
                                              checkpoint.aux_params))


def table(choice):
    """A line a candidate, the best first: what the rule says, its scores, the guards, and what is wrong with it."""
    from transfer_gluon.scores.choice import GUARDS

    names = [name for name in dict.fromkeys([*choice.rule.scores, *GUARDS])
             if not all(map(math.isnan, choice.scores[name]))]
    rows = [["", "network", "rule", *(name.replace("_", " ") for name in names), ""]]
    for rank, place in enumerate(choice.ranking, 1):
        one, value = choice.candidates[place], choice.values[place]
        out = choice.refused.get(place) or ("gives no numbers" if math.isnan(value) else "")
        note = "; ".join(filter(None, ["source model" if one.is_source else "", out and f"out: {out}"]))
        rows.append(["-" if out else f"{rank}", str(one), *(
            "" if math.isnan(number) else f"{number:.3f}" for number in (value, *(choice.scores[name][place]
                                                                                 for name in names))), note])
    widths = [max(map(len, column)) for column in zip(*rows)]
    return "\n".join("  ".join(cell.ljust(width) if place in (1, len(row) - 1) else cell.rjust(width)
                               for place, (cell, width) in enumerate(zip(row, widths))).rstrip() for row in rows)


def verdict(choice):
    """What to do, and how sure that is, in sentences."""
    one, better = choice.candidates[choice.chosen], "the source model"
    lines = [f"Keep the source model, {one}." if one.is_source else f"Use {one}."]
    if choice.adapted is not None and choice.source is not None:
        loser = choice.candidates[choice.adapted if one.is_source else choice.source]
        better = f"better than {loser}" + ("" if one.is_source else ", the source model")
        if not math.isnan(choice.sure):
            lines.append(f"On {choice.sure:.0%} of halves of the images, the rule takes it for {better}.")
        against, equal = ([name for name, agrees in choice.agreeing.items() if agrees is which]
                          for which in (False, None))
        if choice.no_difference:
            lines.append(f"No difference: it is as good as {loser} by each of {len(equal)} scores.")
        else:
            lines.append(f"{len(choice.agreeing) - len(against) - len(equal)} of {len(choice.agreeing)} scores take it "
                         f"for {better}" + (f"; not so {', '.join(against)}" if against else "")
                         + (f"; both are equal by {', '.join(equal)}." if equal else "."))
    elif choice.source is None:
        lines.append("There is no source model to compare it with.")
    else:
        lines.append("No other network is left to compare it with.")
    few = choice.labels
    if few:
        images = f"{few.number} target image{'s have labels' if few.number > 1 else ' has a label'}"
        without = choice.candidates[few.chosen_without]
        lines.append(f"{images}, which rule{'s' * (few.number == 1)} out {len(few.ruled_out)} of "
                     f"{len(choice.candidates)} networks. Without, the choice would be "
                     f"{'the same' if few.chosen_without == choice.chosen else without}"
                     + (f", on {few.sure_without:.0%} of halves." if not math.isnan(few.sure_without) else "."))
    return lines


def cost(choice, val, accuracies, number):
    """What the choice is worth, in the light of labels that it did not see."""
    best = max((place for place in range(len(accuracies)) if not math.isnan(accuracies[place])),
               key=lambda place: accuracies[place])
    mine = accuracies[choice.chosen]
    lines = [f"By the labels of {number} images of {val.path}, which the choice did not see: it is right on {mine:.2%}"]
    if choice.source is not None and choice.source != choice.chosen:
        lines.append(f", the source model on {accuracies[choice.source]:.2%}")
    lines.append(f", the best of all, {choice.candidates[best]}, on {accuracies[best]:.2%}. "
                 f"It has cost {100 * (accuracies[best] - mine):.1f} points.")
    return "".join(lines)


if __name__ == "__main__":
    exit_codes(main)()
