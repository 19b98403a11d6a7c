"""Decisions that are made without target labels, and what a rule would have cost: from the table of `trials.evidence`
alone."""
import csv
import math
import re
import statistics
from dataclasses import dataclass, field

import numpy as np

from transfer_gluon.base.errors import InputError
from transfer_gluon.base.files import reading
from transfer_gluon.scores.basis import ranks
from transfer_gluon.scores.choice import GUARDS, Rule

# What is chosen among, by its name in columns, and whether the source model is among it.
DECISIONS = {"epochs": ("the epochs of a run", False), "run": ("the epochs of a run, and the source model", True),
             "weights": ("weights of JAN, last epoch", False), "methods": ("methods and weights, last epoch", True),
             "all": ("all epochs of all runs", True)}
_ABOUT = "pair", "seed", "method", "weight", "epoch", "is_source", "accuracy"


@dataclass(frozen=True)
class Group:
    """What one decision is made among.

    Attributes
    ----------
    decision : str
        Of `DECISIONS`.
    source : dict
        The row of the source model.
    adapted : list of dict
        The rows of others.
    beside : list of dict
        All rows of the same pair and seed.
    """

    decision: str
    source: dict
    adapted: list
    beside: list = field(repr=False)

    @property
    def candidates(self):
        """The rows that are compared with each other: the adapted ones, then the source model's where it takes part."""
        return [*self.adapted, *([self.source] if DECISIONS[self.decision][1] else [])]

    def values(self, name):
        """The score of the adapted ones, and then of the source model, whether or not it takes part: (k,)."""
        beside = self.adapted[0].get(source_column(name, self.decision))
        own = _value(self.source, name, self.decision) if beside is None else beside
        return np.array([*(_value(row, name, self.decision) for row in self.adapted), own])

    def noise(self, name):
        """How much a score changes from an epoch to the next in the second half of a run: the median over all runs; 0
        where no run has two epochs."""
        steps = []
        for run in by(self.beside, "method", "weight"):
            told = [_value(row, name, "all") for row in sorted(run, key=lambda row: row["epoch"])]
            steps += [abs(step) for step in np.diff(told[len(told) // 2:]) if step == step]
        return float(np.median(steps)) if steps else 0.0

    @property
    def oracle(self):
        """The best accuracy among the candidates, in percent."""
        return max(row["accuracy"] for row in self.candidates)


def _value(row, name, decision):
    return row[name] if name in row else row[f"{name}_{decision}"]


def source_column(name, decision):
    """Where an adapted row has what a score that compares says of the source model beside it: that differs from run to
    run.

    >>> source_column("ensemble", "run")
    'ensemble_run_source'
    """
    return f"{name}_{decision}_source"


def by(rows, *names):
    found = {}
    for row in rows:
        found.setdefault(tuple(row[name] for name in names), []).append(row)
    return list(found.values())


def groups(rows, decision):
    """The `Group` objects of a decision. Runs of one epoch, and methods of one weight, leave nothing to decide.

    Raises: InputError where a pair and seed has no source model.
    """
    found = []
    for one in by(rows, "pair", "seed"):
        sources = [row for row in one if row["is_source"]]
        if len(sources) != 1:
            raise InputError(f"{one[0]['pair']}, seed {one[0]['seed']}: {len(sources)} rows are the source model; "
                             "expected one.")
        adapted = [row for row in one if not row["is_source"]]
        runs = by(adapted, "method", "weight")
        last = [max(run, key=lambda row: row["epoch"]) for run in runs]
        among = {"epochs": runs, "run": runs, "weights": by(last, "method"), "methods": [last],
                 "all": [adapted]}[decision]
        least = 1 if DECISIONS[decision][1] else 2
        found += [Group(decision, sources[0], group, one) for group in among if len(group) >= least]
    return found


def read(path):
    """The rows of a CSV file of `trials.evidence.write`, with numbers; NaN where there is none.

    Raises: InputError for a file that cannot be read, or is none.
    """
    with reading(path), open(path, newline="", encoding="utf-8") as file:
        told = list(csv.DictReader(file))
    if not told or not {*_ABOUT} <= set(told[0]):
        raise InputError(f"{path}: not a table of evidence: expected the columns {', '.join(_ABOUT)}, and a line at "
                         "least.")
    try:
        return [{name: value if name in ("pair", "method") else float(value or "nan") if name != "weight" else value
                 for name, value in row.items()} for row in told]
    except (TypeError, ValueError) as error:
        raise InputError(f"{path}: not a table of evidence: {error}.") from None


def score_names(row):
    """The scores in a row: columns, and those that there are once a decision by their own name."""
    ending = re.compile(f"_({'|'.join(DECISIONS)})(_source)?$")
    return list(dict.fromkeys(ending.sub("", name) for name in row if name not in _ABOUT))


@dataclass(frozen=True)
class ByRule:
    """What `scores.choice.Rule` makes of a group: the best that its guards let pass; of none, the source model.

    Attributes
    ----------
    title : str
    rule : Rule
    margin : float or None
        The source model is kept, even where it is not among the candidates, unless the score of the best one is above
        its own by this many times the score's noise (`Group.noise`); of rules of one score. None: it takes part where
        it is among the candidates, as any other.
    """

    title: str
    rule: Rule
    margin: float = None

    def pick(self, group, num_source=200):
        rows = [*group.adapted, group.source]
        last = len(rows) - 1
        names = dict.fromkeys([*self.rule.scores, *GUARDS])
        table = {name: group.values(name) for name in names}
        takes_part = DECISIONS[group.decision][1]
        compared = table if takes_part else {name: values[:last] for name, values in table.items()}
        values = self.rule.values(compared)
        if not takes_part:
            values = np.append(values, np.nan)
        _, refused = self.rule(table, [last], num_source)
        able = [place for place in range(last) if place not in refused and values[place] == values[place]]
        if not able:
            return group.source, values
        best = max(able, key=lambda place: values[place])
        if self.margin is not None:
            name, = self.rule.scores
            gain = table[name][best] - table[name][last]
            keeps = not gain > self.margin * group.noise(name)
        else:
            keeps = values[last] >= values[best]        # NaN: it takes no part
        return (group.source if keeps else rows[best]), values


@dataclass(frozen=True)
class Always:
    """What needs no rule: the source model; or the last epoch, of JAN with its usual weight where it is there."""

    title: str
    adapted: bool

    def pick(self, group, num_source=200):
        rows = [row for row in group.adapted if is_jan(row)] or group.adapted
        row = max(rows, key=lambda row: row["epoch"]) if self.adapted else group.source
        return row, np.full(len(group.adapted) + 1, np.nan)


BASELINES = [Always("the source model", False), Always("JAN, last epoch", True)]


def is_jan(row):
    """Whether it is of JAN with its usual weight."""
    return row["method"] == "jan" and float(row["weight"] or "nan") == 0.5


_UNGUARDED = dict(source_loss=math.inf, share_loss=math.inf)


def plain(names):
    """A score alone, for each."""
    return [ByRule(name, Rule((name,), **_UNGUARDED)) for name in names]


def combined(names):
    """Rules of several scores, guards, and a margin for the source model: those of whose scores all are `names`."""
    rules = []
    for scores in (("infomax",), ("ensemble",), ("nuclear_norm",), ("mixval",), ("neighbourhood",),
                   ("infomax", "ensemble"), ("infomax", "neighbourhood"), ("ensemble", "mixval"),
                   ("infomax", "ensemble", "mixval"), ("infomax", "ensemble", "neighbourhood"),
                   ("infomax", "class_ami"), ("infomax", "class_ami", "ensemble"),
                   ("infomax", "nuclear_norm", "mixval", "ensemble")):
        title = " + ".join(scores)
        for loss in 0.02, 0.05, 0.1:
            rules.append(ByRule(f"{title}; guards {100 * loss:.0f} %, 0.2", Rule(scores, loss, 0.2)))
        rules.append(ByRule(f"{title}; guards 5 %, 0.1", Rule(scores, 0.05, 0.1)))
        if len(scores) > 1:
            rules.append(ByRule(title, Rule(scores, **_UNGUARDED)))
        elif title not in ("ensemble", "mixval"):      # which tell nothing of a source model that takes no part
            rules += [ByRule(f"{title}; guards 5 %, 0.2; source + {margin} × noise", Rule(scores, 0.05, 0.2), margin)
                      for margin in (0, 2, 5)]
    return [rule for rule in rules if set(rule.rule.scores) <= set(names)]


@dataclass(frozen=True)
class Verdict:
    """What a rule came to over groups: means of rank correlation with accuracy, of points lost against the oracle and
    the worst of these, the share of picks below the source model, from 0 to 1, and how many groups there were."""

    correlation: float
    lost: float
    worst: float
    below: float
    number: int


def judge(rule, found):
    """The `Verdict` on a rule over `Group` objects."""
    correlations, lost, below = [], [], []
    for group in found:
        row, values = rule.pick(group)
        correlations.append(correlation(values[:len(group.candidates)], group.candidates))
        lost.append(group.oracle - row["accuracy"])
        below.append(row["accuracy"] < group.source["accuracy"])
    known = [value for value in correlations if value == value]
    return Verdict(statistics.mean(known) if known else math.nan, statistics.mean(lost), max(lost),
                   statistics.mean(below), len(lost))


def correlation(values, rows):
    """Spearman's rank correlation of values with accuracies; NaN where either is all the same, or not known."""
    accuracies = np.array([row["accuracy"] for row in rows])
    known = ~np.isnan(values)
    if known.sum() < 3 or np.ptp(values[known]) == 0 or np.ptp(accuracies[known]) == 0:
        return math.nan
    return float(np.corrcoef(ranks(values[known]), ranks(accuracies[known]))[0, 1])


def best_rule(rules, rows):
    """The rule that loses least on average over the decisions; of equals the one fewer of whose picks lie below the
    source model, then the first."""
    return in_order(rules, rows)[0]


def in_order(rules, rows):
    """Rules, the best first, as `best_rule` has it."""
    found = [some for some in (groups(rows, decision) for decision in DECISIONS) if some]

    def cost(rule):
        verdicts = [judge(rule, some) for some in found]
        return round(statistics.mean(one.lost for one in verdicts), 9), statistics.mean(one.below for one in verdicts)

    return sorted(rules, key=cost)
