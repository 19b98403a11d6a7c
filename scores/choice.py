"""The choice: which of several networks to use, by rules that see no label, and how sure that is."""
from dataclasses import dataclass
from typing import Optional

import numpy as np

from transfer_gluon.base.errors import InputError
from transfer_gluon.scores.basis import ranks
from transfer_gluon.scores.registry import SCORES, score

# What agreement is asked of, and shown: scores that take no time, and that say something of their own.
COMPARED = ("infomax", "entropy", "nuclear_norm", "mixval", "ensemble", "neighbourhood", "mmd", "jmmd")
GUARDS = ("source_accuracy", "class_shares")


@dataclass(frozen=True)
class Rule:
    """Which candidate is best: that of the highest mean rank by some scores, of those that pass two guards.

    The default is what came out best on the pairs of domains that rules were chosen by (docs/evidence.md), where guards
    cost more than they saved: 1 lets everybody pass.

    Another rule is any object with `scores`, `values` and called as this one.

    Attributes
    ----------
    scores : tuple of str
        Names in `SCORES`.
    source_loss : float
        Who classifies source images worse than the source model by more than this, and by more than two standard errors
        of the difference, is refused. From 0 to 1.
    share_loss : float
        Who is further than the source model from the source's class shares by more than this (`class_shares`), is
        refused. From 0 to 1.
    """

    scores: tuple = ("infomax", "ensemble", "mixval")
    source_loss: float = 1.0
    share_loss: float = 1.0

    def __post_init__(self):
        if not self.scores:
            raise InputError.of("scores", self.scores, "the name of one score at least")

    def __call__(self, table, sources, num_source):
        """Judge candidates.

        Parameters
        ----------
        table : dict of str to float64 array (k,)
            The scores of all candidates by name, those of the guards among them.
        sources : list of int
            Places of the source models; without any, the candidate that is best on source images is compared with.
        num_source : int
            How many source images there are, or 0.

        Returns: (values (k,), from 0 to 1, NaN for who cannot be judged; what the guards say, a dict from the place of
        who is refused to why).
        """
        return self.values(table), self._refused(table, sources, num_source)

    def values(self, table):
        """The mean ranks alone: what is asked of halves of the images. A score that tells of nobody does not count."""
        told = [ranks(table[name]) for name in self.scores if not np.isnan(table[name]).all()]
        return np.mean(told, axis=0) if told else np.full(len(table[self.scores[0]]), np.nan)

    def _refused(self, table, sources, num_source):
        right, shares = (table[name] for name in GUARDS)
        if np.isnan(right).all():
            return {}
        known = [place for place in sources if not np.isnan(right[place])]
        before = max(right[known]) if known else np.nanmax(right)
        shares_before = max(shares[known]) if known else -np.inf
        variances = (before * (1 - before) + right * (1 - right)) / num_source
        refused = {}
        for place in sorted(set(range(len(right))) - set(sources)):
            margin = max(self.source_loss, 2 * np.sqrt(variances[place]))
            if right[place] < before - margin:
                refused[place] = f"right on {right[place]:.1%} of the source images, and {before:.1%} " \
                                 f"{'before' if known else 'is the best'}"
            elif shares[place] < shares_before - self.share_loss:
                refused[place] = f"its predicted class shares are {-shares[place]:.0%} off the source's, " \
                                 f"{-shares_before:.0%} before"
        return refused


RECOMMENDED = Rule()


def rule_by(name=None):
    """The recommended `Rule`, or that of one score by its name.

    >>> rule_by("entropy").scores
    ('entropy',)
    """
    if name is not None and name not in SCORES:
        raise InputError.of("by", name, f"one of {', '.join(SCORES)}")
    return RECOMMENDED if name is None else Rule((name,))


@dataclass(frozen=True)
class FewLabels:
    """What labels of some target images do to a choice.

    Attributes
    ----------
    number : int
    accuracies : float64 array (k,)
        Of the candidates on these images, from 0 to 1.
    ruled_out : list of int
        Places of the candidates that are wrong on more of them than the best one, by more than one standard error.
    chosen_without : int
        The place of what would be chosen without these labels.
    sure_without : float
        How sure that would be.
    """

    number: int
    accuracies: np.ndarray
    ruled_out: list
    chosen_without: int
    sure_without: float


@dataclass(frozen=True)
class Choice:
    """What a rule makes of candidates.

    Attributes
    ----------
    candidates : list of Candidate
    rule : Rule
    scores : dict of str to float64 array (k,)
        By name; NaN where a score cannot tell.
    values : float64 array (k,)
        What the rule says, the higher the better; NaN: it cannot judge.
    refused : dict of int to str
        Why some candidates are out, by their place.
    ranking : list of int
        Places, the best first; then those that are refused; then those that cannot be judged.
    chosen : int
        A place.
    adapted, source : int or None
        The places of the best network that is no source model, and of the best source model.
    sure : float
        In which part of the halves of the images that are drawn the rule prefers `chosen`, of `adapted` and `source`; a
        half on which they are equal counts for either by one half. NaN where there are not both, or the rule's scores
        take too long.
    agreeing : dict of str to bool or None
        Which scores prefer `chosen`, of `adapted` and `source`, on all images; None: both are equal by it.
    labels : FewLabels or None
    """

    candidates: list
    rule: Rule
    scores: dict
    values: np.ndarray
    refused: dict
    ranking: list
    chosen: int
    adapted: Optional[int]
    source: Optional[int]
    sure: float
    agreeing: dict
    labels: Optional[FewLabels] = None

    @property
    def keeps_source(self):
        """Whether the answer is 'keep the source model'."""
        return self.candidates[self.chosen].is_source

    @property
    def no_difference(self):
        """Whether the best adapted network and the best source model are equal by every score."""
        return bool(self.agreeing) and all(agrees is None for agrees in self.agreeing.values())


def choose(candidates, seen, rule=RECOMMENDED, compared=COMPARED, resamples=100, seed=0):
    """Choose one of several networks without target labels, or with a few.

    The best adapted network is chosen, if the rule prefers it to the best source model: on all images, and on more than
    half of the halves of them that are drawn, `resamples` times. Halves without repetition scatter as bootstrap samples
    do (Politis & Romano 1994, *Large Sample Confidence Regions Based on Subsamples under Minimal Assumptions*), and no
    image becomes its own neighbour.

    Where some target images have labels, candidates that these rule out come after all others (`FewLabels`).

    Parameters
    ----------
    candidates : list of Candidate
    seen : list of Seen
        One a candidate, of the same images (`look_at_all`).
    rule : Rule
    compared : sequence of str
        Names of further scores, whose agreement is asked.
    resamples : int
    seed : int
        Of the halves.

    Returns: `Choice`.

    Raises: InputError where no candidate can be judged, for none at all, and for a `Seen` of other numbers of images.

    >>> from transfer_gluon.scores import Candidate, Seen
    >>> labels = np.arange(40) % 2
    >>> seen = [Seen(np.eye(2)[labels] * sure, np.zeros((40, 2)), np.eye(2)[labels], np.zeros((40, 2)), labels)
    ...         for sure in (1, 5)]
    >>> choice = choose([Candidate("source", 9, is_source=True), Candidate("adapted", 3)], seen)
    >>> str(choice.candidates[choice.chosen]), choice.sure
    ('adapted:3', 1.0)
    """
    _check(candidates, seen, resamples)
    names = dict.fromkeys([*rule.scores, *compared, *GUARDS])
    table = {name: score(name).of_all(seen) for name in names}
    question = _Question(rule, seen, [place for place, one in enumerate(candidates) if one.is_source], table)
    if np.isnan(question.values).all():
        missing = sorted({part for name in rule.scores for part in score(name).needs} - seen[0].parts)
        why = f"there are no {' and no '.join(missing)} images to look at" if missing else \
            "their outputs are no numbers, or too few"
        raise InputError(f"none of the {len(candidates)} candidates can be judged by {' and '.join(rule.scores)}: "
                         f"{why}.", "by", None, "scores that can be told")
    right = _right(seen)
    chosen, sure, ruled_out = question.answer(right, resamples, seed)
    labels = None
    if right.shape[1]:
        labels = FewLabels(right.shape[1], right.mean(axis=1), sorted(ruled_out),
                           *question.answer(right[:, :0], resamples, seed)[:2])
    refused = {**question.refused, **{place: f"right on {right[place].mean():.1%} of the {right.shape[1]} labels"
                                      for place in ruled_out}}
    adapted, source = question.best(ruled_out)
    agreeing = {} if adapted is None or source is None else {
        name: None if values[adapted] == values[source] else
        bool(values[adapted] > values[source]) == (chosen == adapted) for name, values in table.items()
        if name not in GUARDS and not np.isnan(values[[adapted, source]]).any()}
    ranking = sorted(range(len(seen)), key=lambda place: (
        np.isnan(question.values[place]), place != chosen, place in refused, -question.values[place]))
    return Choice(list(candidates), rule, table, question.values, refused, ranking, chosen, adapted, source, sure,
                  agreeing, labels)


def _check(candidates, seen, resamples):
    if not candidates or len(candidates) != len(seen):
        raise InputError(f"there are {len(candidates)} `candidates`, and `seen` tells of {len(seen)}; expected one "
                         "`Seen` of each, of one candidate at least.", "seen", len(seen), "as many as candidates")
    if resamples < 1:
        raise InputError.of("resamples", resamples, "a whole number from 1 up")
    for number, one in enumerate(seen):
        for images in "target_logits", "source_labels":
            here, first = (getattr(which, images) for which in (one, seen[0]))
            if here is not None and first is not None and len(here) != len(first):
                raise InputError(f"`seen` tells of {len(first)} images of the {images[:6]} by {candidates[0]}, and of "
                                 f"{len(here)} by {candidates[number]}; expected the same images (`look_at_all`).",
                                 "seen", len(here), f"{len(first)} images")


class _Question:
    """What a rule says of some networks on some images, and whether the best adapted one is better than the best source
    model."""

    def __init__(self, rule, seen, sources, table):
        self._rule, self._seen, self._sources = rule, seen, sources
        num_source = _num_source(seen)
        self.values, self.refused = rule(table, sources, num_source)

    def best(self, ruled_out):
        """The places of the best adapted network and of the best source model, each or None."""
        able = [place for place in range(len(self.values))
                if not np.isnan(self.values[place]) and place not in self.refused]
        return [max((place for place in able if (place in self._sources) == source), default=None,
                    key=lambda place: (place not in ruled_out, self.values[place])) for source in (False, True)]

    def answer(self, right, resamples, seed):
        """(chosen, how sure, who is ruled out) where it is known who is `right` on labelled target images (k, m)."""
        able = [place for place in range(len(self.values))
                if not np.isnan(self.values[place]) and place not in self.refused]
        ruled_out = _ruled_out(right, able, self.values)
        adapted, source = self.best(ruled_out)
        if adapted is None or source is None:
            return (source if adapted is None else adapted), np.nan, ruled_out

        def prefers(values, out):
            """1: the adapted network, 0: the source model, 1/2: neither."""
            one, other = ((place not in out, values[place]) for place in (adapted, source))
            return (1 + (one > other) - (other > one)) / 2

        better = prefers(self.values, ruled_out) > 0.5
        if not all(score(name).quick for name in self._rule.scores):
            return (adapted if better else source), np.nan, ruled_out
        rng, wins = np.random.default_rng(seed), []
        for _ in range(resamples):
            halves = _halves(self._seen, rng)
            table = {name: score(name).of_all(halves) for name in self._rule.scores}
            some = rng.permutation(right.shape[1])[:-(-right.shape[1] // 2)]
            wins.append(prefers(self._rule.values(table), _ruled_out(right[:, some], able, self.values)))
        share = float(np.mean(wins))
        chosen = adapted if better and share > 0.5 else source
        return chosen, share if chosen == adapted else 1 - share, ruled_out


def _num_source(seen):
    return max(0 if one.source_labels is None else len(one.source_labels) for one in seen)


def _halves(seen, rng):
    """The same half of the images of all."""
    target, source = (rng.permutation(number)[:-(-number // 2)] for number in (len(seen[0].target_logits),
                                                                               _num_source(seen)))
    return [one.take(target, None if one.source_labels is None else source) for one in seen]


def _right(seen):
    """Which networks are right on those target images whose label is known: boolean array (k, m)."""
    labels = next((one.target_labels for one in seen if one.target_labels is not None), np.full(0, -1))
    known = labels >= 0
    return np.array([one.target_logits[:len(labels)].argmax(axis=1)[known] == labels[known] for one in seen])


def _ruled_out(right, able, values):
    """Who is wrong where the best one is right on more images than the other way round, by more than one standard error
    of the difference: b - c > √(b + c), as McNemar 1947 compares two classifiers."""
    best = max(able, key=lambda place: (right[place].sum(), values[place]))
    found = set()
    for place in able:
        lost, gained = (right[best] & ~right[place]).sum(), (right[place] & ~right[best]).sum()
        if lost - gained > np.sqrt(lost + gained):
            found.add(place)
    return found
