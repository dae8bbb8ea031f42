"""Faster, slower, the same, or can't tell: two sides measured in rounds at many points. docs/method.md explains the statistics."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from math import exp, inf, log, pi, sqrt
from statistics import fmean, median
from typing import Any

from bench.measure.stats import t_quantile

CONFIDENCE = 0.95  # that all intervals of the points hold together
# With fewer quiet rounds than this, a difference may be the host's.
_QUIET_ROUNDS = 3
# Rounds that start this far apart are separate witnesses of a host's speed: docs/method.md.
APART_S = 60.0
# Of two stretches of a random walk, one after the other and seen n = 5 times each, the means differ with 2 (2 n^2 + 1) / (n (n + 1)) = 3.4
# times the variance that is seen within one. 2/n of it is there for independent rounds, too; this is the rest.
_WALK = 3.0
# Var(median) / Var(mean) of many normal values; only used where one round has to speak for all.
_MEDIAN_PENALTY = pi / 2
# A round is left out when it lies above the median round of its point by this, and by this many times the usual scatter.
_BURST, _FAR = 0.1, 5


class Verdict(StrEnum):
    faster = "faster"
    slower = "slower"
    same = "same"  # the whole interval is within the smallest effect that matters
    undecided = "undecided"


@dataclass(frozen=True)
class Side:
    """What one side measured at one point: the median latency of each round, and which rounds were noisy."""

    rounds: Mapping[int, float]
    noisy: frozenset[int] = frozenset()
    repeats: Sequence[float] = ()  # all of them, for the case of a single round

    @property
    def above(self) -> dict[int, float]:
        """How far each round lies above the median one, as a logarithm."""
        middle = median(self.rounds.values())
        return {number: log(latency_s / middle) for number, latency_s in self.rounds.items()}

    def marked(self, far: float) -> Side:
        """With the rounds marked as noisy that lie further above the median one."""
        return replace(self, noisy=self.noisy | {number for number, above in self.above.items() if above > far})


@dataclass(frozen=True)
class Pair:
    point: Mapping[str, Any]
    base: Side
    new: Side


@dataclass(frozen=True)
class Change:
    """new / base, with its interval. `notes` say what keeps a difference from counting."""

    ratio: float
    low: float
    high: float
    verdict: Verdict
    notes: tuple[str, ...] = ()
    point: Mapping[str, Any] = field(default_factory=dict)
    base_s: float | None = None
    new_s: float | None = None


@dataclass(frozen=True)
class Comparison:
    points: tuple[Change, ...]
    overall: Change
    min_effect: float
    left_out: int = 0  # rounds, summed over points and sides, that were noisy

    @property
    def exit_code(self) -> int:
        """For a gate: 0 same or faster, 1 slower at a point or overall, 2 undecided."""
        verdicts = [change.verdict for change in (*self.points, self.overall)]
        return 1 if Verdict.slower in verdicts else 2 if self.overall.verdict is Verdict.undecided else 0


def compare(
    pairs: Sequence[Pair], min_effect: float = 0.03, trust_noisy: bool = False, interleaved: bool = False, round_s: float = 0.0
) -> Comparison:
    """At least one pair. `min_effect`: the smallest relative change that matters, 0.03 for 3 %.

    `interleaved`: both sides were measured in the same rounds of one sweep, so that what a round does to both cancels out.
    Otherwise `round_s` is the time from one round to the next: what lasts longer, rounds cannot average away.
    """
    samples = [_sample(pair, interleaved) for pair in (map(_taken_as_quiet, pairs) if trust_noisy else _without_bursts(pairs))]
    trusted = [sample for sample in samples if not sample.noisy] or samples
    spread = _pooled(trusted, round_s)
    confidence = 1 - (1 - CONFIDENCE) / len(pairs)  # Bonferroni
    points = []
    for pair, sample in zip(pairs, samples, strict=True):
        half = t_quantile(confidence, spread.df) * sqrt(max(sample.variance, spread.variance) * sample.weight + spread.lasting)
        change = _change(sample.difference, half, min_effect, sample.single_round, sample.noisy)
        points.append(_named(change, pair))
    left_out = sum(_left_out(pair, sample) for pair, sample in zip(pairs, samples, strict=True))
    return Comparison(tuple(points), _overall(trusted, spread, min_effect), min_effect, left_out)


def _taken_as_quiet(pair: Pair) -> Pair:
    return replace(pair, base=replace(pair.base, noisy=frozenset()), new=replace(pair.new, noisy=frozenset()))


def _without_bursts(pairs: Sequence[Pair]) -> list[Pair]:
    """With the rounds marked as noisy that took far longer than their like: a neighbour on the same core leaves no other trace.

    What is far depends on how the rounds of all points scatter (median absolute deviation), so that steady scatter is never cut off.
    """
    distances = [abs(above) for pair in pairs for side in (pair.base, pair.new) for above in side.above.values()]
    far = max(log(1 + _BURST), _FAR * 1.4826 * median(distances))
    return [replace(pair, base=pair.base.marked(far), new=pair.new.marked(far)) for pair in pairs]


@dataclass(frozen=True)
class _Sample:
    """Logarithms of what counts at one point. Keys tell the rounds apart, so that points can be seen to move together.

    Of interleaved sides `new` holds the ratios within each round, and `base` nothing.
    """

    base: Mapping[Any, float]
    new: Mapping[Any, float]
    single_round: bool
    noisy: bool

    @property
    def difference(self) -> float:
        centre = median if self.single_round or self.noisy else fmean
        return centre(self.new.values()) - (centre(self.base.values()) if self.base else 0.0)

    @property
    def sides(self) -> dict[str, Mapping[Any, float]]:
        return {name: side for name, side in (("base", self.base), ("new", self.new)) if side}

    @property
    def residuals(self) -> dict[Any, float]:
        return {(name, key): value - fmean(side.values()) for name, side in self.sides.items() for key, value in side.items()}

    @property
    def df(self) -> int:
        return sum(len(side) - 1 for side in self.sides.values())

    @property
    def variance(self) -> float:
        """Of one round (or repeat)."""
        return sum(value**2 for value in self.residuals.values()) / self.df if self.df else inf

    @property
    def weight(self) -> float:
        """Variance of the difference, in units of the variance of one round."""
        return sum(1 / len(side) for side in self.sides.values()) * (_MEDIAN_PENALTY if self.single_round else 1)


def _sample(pair: Pair, interleaved: bool) -> _Sample:
    common = pair.base.rounds.keys() & pair.new.rounds.keys()
    if interleaved and len(common) >= 2:
        return _within_rounds(pair, sorted(common))
    single = min(len(pair.base.rounds), len(pair.new.rounds)) < 2
    used, noisy = [], False
    for side in (pair.base, pair.new):
        rounds, enough = _quiet(list(side.rounds), side.noisy)
        noisy = noisy or not enough
        used.append(_logs(side, rounds, single))
    return _Sample(used[0], used[1], single, noisy)


def _within_rounds(pair: Pair, rounds: Sequence[int]) -> _Sample:
    rounds, enough = _quiet(rounds, pair.base.noisy | pair.new.noisy)
    ratios = {number: log(pair.new.rounds[number] / pair.base.rounds[number]) for number in rounds}
    return _Sample({}, ratios, single_round=False, noisy=not enough)


def _quiet(rounds: Sequence[int], noisy: frozenset[int]) -> tuple[Sequence[int], bool]:
    """The rounds without the noisy ones, if enough are left; else all, and False."""
    quiet = [number for number in rounds if number not in noisy]
    enough = len(quiet) >= min(_QUIET_ROUNDS, len(rounds))
    return (quiet if enough else rounds), enough


def _left_out(pair: Pair, sample: _Sample) -> int:
    if sample.single_round:
        return 0
    return len(pair.base.rounds) + len(pair.new.rounds) - len(sample.new) - len(sample.base or sample.new)


def _logs(side: Side, rounds: Sequence[int], single: bool) -> dict[Any, float]:
    if single:
        return {object(): log(value) for value in side.repeats}  # repeats of different points have nothing in common
    return {number: log(side.rounds[number]) for number in rounds}


@dataclass(frozen=True)
class _Spread:
    variance: float  # that a point has at least
    df: float
    variance_of_round_mean: float  # of the mean over all points in one round, times the number of points
    df_of_rounds: float
    lasting: float = 0.0  # variance of a difference by what lasts longer than a round: no number of rounds averages it out


def _pooled(samples: Sequence[_Sample], round_s: float) -> _Spread:
    """What all points together tell about the spread of one.

    Points of a round are disturbed together, so that many points are not as many witnesses: the spread is
    split into what the points of a round share and the rest, and Satterthwaite's formula gives the degrees
    of freedom of the sum. What they share lasts, and if rounds follow each other fast, they are not as many
    witnesses either: of two sweeps, measured apart, one may have had all of a good minute.
    """
    total_df = sum(sample.df for sample in samples)
    if not total_df:
        return _Spread(inf, 1, inf, 1)
    squares = sum(value**2 for sample in samples for value in sample.residuals.values())
    by_round: dict[Any, list[float]] = defaultdict(list)
    for sample in samples:
        for key, value in sample.residuals.items():
            by_round[key].append(value)
    shared_df = max(1, len(by_round) - len({name for name, _ in by_round}))
    apart = samples[0].base and not samples[0].single_round
    closeness = _WALK * max(0.0, 1 - round_s / APART_S) if apart else 0.0
    if len(samples) == 1 or shared_df >= total_df or squares == 0:
        variance = squares / total_df  # of one point nobody can tell which part of it lasts
        return _Spread(_typical(samples), total_df, variance, total_df, closeness * variance)
    shared = sum(len(values) * fmean(values) ** 2 for values in by_round.values())
    rest, rest_df = max(0.0, squares - shared), total_df - shared_df
    lasting = closeness * max(0.0, shared / shared_df - rest / rest_df) / len(samples)
    if lasting:
        return _Spread(_typical(samples), shared_df, shared / shared_df, shared_df, lasting)
    df = squares**2 / (shared**2 / shared_df + rest**2 / rest_df)
    return _Spread(_typical(samples), df, shared / shared_df, shared_df)


def _typical(samples: Sequence[_Sample]) -> float:
    """The median point's variance, so that a few disturbed points don't blur all others; of few points their mean."""
    usable = [sample for sample in samples if sample.df]
    if len(usable) < 3:
        return fmean(sample.variance for sample in usable)
    # The median of a chi-squared value is below its mean: Wilson and Hilferty 1931.
    return median(sample.variance / (1 - 2 / (9 * sample.df)) ** 3 for sample in usable)


def _overall(samples: Sequence[_Sample], spread: _Spread, min_effect: float) -> Change:
    """The geometric mean over all points, with the rounds as units."""
    weight = fmean(sample.weight for sample in samples) / len(samples)
    half = t_quantile(CONFIDENCE, spread.df_of_rounds) * sqrt(spread.variance_of_round_mean * weight + spread.lasting)
    difference = fmean(sample.difference for sample in samples)
    return _change(difference, half, min_effect, any(sample.single_round for sample in samples), all(s.noisy for s in samples))


def _change(difference: float, half: float, min_effect: float, single_round: bool, noisy: bool) -> Change:
    notes = (("one round",) if single_round else ()) + (("noisy",) if noisy else ())
    verdict = _verdict(difference, half, log(1 + min_effect), strict=single_round)
    if noisy and verdict in (Verdict.faster, Verdict.slower):
        verdict = Verdict.undecided  # the host's doing cannot be told from the program's
    return Change(exp(difference), _exp(difference - half), _exp(difference + half), verdict, notes)


def _verdict(difference: float, half: float, smallest: float, strict: bool) -> Verdict:
    """A difference counts when it is large enough and its interval excludes 1; from a single round, when all of the interval is large."""
    beyond = smallest if strict else 0.0
    if abs(difference) >= smallest and abs(difference) - half > beyond:
        return Verdict.slower if difference > 0 else Verdict.faster
    return Verdict.same if abs(difference) + half <= smallest else Verdict.undecided


def _named(change: Change, pair: Pair) -> Change:
    base_s, new_s = (median(side.rounds.values()) for side in (pair.base, pair.new))
    return Change(change.ratio, change.low, change.high, change.verdict, change.notes, pair.point, base_s, new_s)


def _exp(value: float) -> float:
    return exp(value) if value < 700 else inf
