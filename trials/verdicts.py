"""The evidence as Markdown: what each score and rule would have cost, by decisions and pairs."""
from transfer_gluon.base.errors import InputError
from transfer_gluon.trials.decisions import (
    BASELINES,
    DECISIONS,
    best_rule,
    by,
    combined,
    groups,
    in_order,
    is_jan,
    judge,
    plain,
    score_names,
)
from transfer_gluon.trials.tables import mean_sd


def verdict_table(rules, rows, title):
    """A line a rule, a column a decision: rank correlation / points lost / share of picks below the source model."""
    found = {decision: groups(rows, decision) for decision in DECISIONS}
    found = {decision: some for decision, some in found.items() if some}
    heads = [f"{decision} ({len(some)})" for decision, some in found.items()]
    lines = [f"| {' | '.join([title, *heads])} |", f"|{' --- |' * (len(heads) + 1)}"]
    for rule in rules:
        cells = []
        for some in found.values():
            one = judge(rule, some)
            rho = f"{one.correlation:.2f}" if one.correlation == one.correlation else "–"
            cells.append(f"{rho} / {one.lost:.1f} / {100 * one.below:.0f} %")
        lines.append(f"| {' | '.join([rule.title, *cells])} |")
    return "\n".join(lines) + "\n"


def pair_table(rule, rows, titles):
    """What a rule lost in each pair: a line a pair, a column a decision: points lost, the worst / picks below the
    source model, of how many. `titles`: of pairs."""
    lines = [f"| pair | {' | '.join(DECISIONS)} |", f"|{' --- |' * (len(DECISIONS) + 1)}"]
    for some in by(rows, "pair"):
        cells = []
        for decision in DECISIONS:
            found = groups(some, decision)
            one = judge(rule, found) if found else None
            cells.append(f"{one.lost:.1f}, at most {one.worst:.1f}; {one.below * one.number:.0f} of {one.number}"
                         if one else "")
        lines.append(f"| {' | '.join([titles.get(some[0]['pair'], some[0]['pair']), *cells])} |")
    return "\n".join(lines) + "\n"


def method_table(rows, titles):
    """Accuracy on the target after the last epoch, a line a method and weight, a column a pair: mean ± standard
    deviation over the seeds."""
    pairs = by(rows, "pair")
    names = list(dict.fromkeys((row["method"], row["weight"]) for row in rows))
    lines = [f"| {' | '.join(['method', *(titles.get(one[0]['pair'], one[0]['pair']) for one in pairs)])} |",
             f"|{' --- |' * (len(pairs) + 1)}"]
    for method, weight in names:
        cells = []
        for some in pairs:
            own = [row for row in some if (row["method"], row["weight"]) == (method, weight)]
            last = [max(seed, key=lambda row: row["epoch"])["accuracy"] for seed in by(own, "seed")]
            cells.append(_percent(last))
        lines.append(f"| {' | '.join([method + (f', {float(weight):g}' if weight else ''), *cells])} |")
    return "\n".join(lines) + "\n"


def spread_table(rule, rows, titles):
    """Accuracy over the seeds of each pair, mean ± standard deviation: of the source model; of JAN at its last epoch;
    of what a rule chooses of JAN's epochs and the source model, among methods, and among all; of the oracle."""
    heads = ["pair", "seeds", "source", "JAN, last epoch", "chosen of JAN's run", "chosen of methods", "chosen of all",
             "best of all"]
    lines = [f"| {' | '.join(heads)} |", f"|{' --- |' * len(heads)}"]
    for some in by(rows, "pair"):
        seeds = by(some, "seed")
        cells = [titles.get(some[0]["pair"], some[0]["pair"]), str(len(seeds))]
        jan = [group for group in groups(some, "run") if is_jan(group.adapted[0])]
        everything = groups(some, "all")
        for values in ([group.source["accuracy"] for group in everything],
                       [max(group.adapted, key=lambda row: row["epoch"])["accuracy"] for group in jan],
                       [rule.pick(group)[0]["accuracy"] for group in jan],
                       [rule.pick(group)[0]["accuracy"] for group in groups(some, "methods")],
                       [rule.pick(group)[0]["accuracy"] for group in everything],
                       [group.oracle for group in everything]):
            cells.append(_percent(values))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _percent(values):
    return mean_sd(values, ".1f") if values else "–"


def report(rows, reported, titles, name=None):
    """All tables as Markdown.

    Parameters
    ----------
    rows : list of dict
        Of `read`.
    reported : set of str
        Pairs on which rules are reported; they are chosen by the others.
    titles : dict
        Of pairs.
    name : str or None
        The title of the rule that is recommended. None: `best_rule` on the pairs that rules are chosen by, or, where
        there are none, on all.

    Raises: InputError for a rule that there is not.
    """
    names = score_names(rows[0])
    scores, rules = plain(names), combined(names)
    parts = {"chosen by": [row for row in rows if row["pair"] not in reported],
             "reported on": [row for row in rows if row["pair"] in reported]}
    parts = {what: some for what, some in parts.items() if some}
    everything = [*BASELINES, *scores, *rules]
    if name is None:
        chosen = best_rule([*scores, *rules], parts.get("chosen by", rows))
    else:
        chosen = next((rule for rule in everything if rule.title == name), None)
        if chosen is None:
            raise InputError.of("rule", name, f"one of: {', '.join(rule.title for rule in everything)}")
    rules = in_order(rules, parts.get("chosen by", rows))
    text = ["## Accuracy on the target, last epoch, %\n", method_table(rows, titles)]
    for what, some in parts.items():
        pairs = ", ".join(dict.fromkeys(titles.get(row["pair"], row["pair"]) for row in some))
        text += [f"\n## Pairs that rules are {what}: {pairs}\n\nRank correlation with accuracy / points lost against "
                 "the oracle / share of picks below the source model; in brackets, how many decisions.\n",
                 verdict_table([*BASELINES, *scores], some, "score"), "\n", verdict_table(rules, some, "rule")]
    text += [f"\n## {chosen.title}\n\nPoints lost, mean and worst; picks below the source model.\n",
             pair_table(chosen, rows, titles), "\n", spread_table(chosen, rows, titles)]
    return "\n".join(text).replace("\n\n\n", "\n\n")
