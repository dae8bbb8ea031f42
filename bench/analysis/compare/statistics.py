"""Faster, slower, the same, or can't tell: two sides measured in rounds at many points. docs/method.md explains the statistics."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from math import exp, inf, log, pi, sqrt
from statistics import fmean, median
from typing import Any

from bench.intervals import t_quantile

CONFIDENCE = 0.95  # that all intervals of the points hold together
# With fewer quiet rounds than this, a difference may be the host's.
_QUIET_ROUNDS = 3
# Rounds that start this far apart are separate witnesses of a host's speed: docs/method.md.
APART_S = 60.0
# Var(median) / Var(mean) of many normal values; only used where one round has to speak for all.
_MEDIAN_PENALTY = pi / 2
# A round is left out when it lies above the median round of its point by this, and by this many times the usual scatter.
_BURST, _FAR = 0.1, 5
LOPSIDED = "left out on one side"


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
    left_out: tuple[int, int] = (0, 0)  # rounds of the base and of the new side, summed over points

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
    marked = [_taken_as_quiet(pair) for pair in pairs] if trust_noisy else _without_bursts(pairs)
    points = [_point(pair, interleaved) for pair in marked]
    several = [point for point in points if not point.single_round] or points
    trusted = [point for point in several if not point.noisy] or several
    spread = _pooled(trusted, round_s)
    # Whether its only round was a disturbed one, nobody can tell: such a point is judged by all rounds of the others.
    everything = [_point(_taken_as_quiet(pair), interleaved) for pair, point in zip(pairs, points, strict=True) if not point.single_round]
    spread_of_all = _pooled(everything, round_s) if 0 < len(everything) < len(points) else spread
    confidence = 1 - (1 - CONFIDENCE) / len(pairs)  # Bonferroni
    changes = [
        _named(_judged(point, spread_of_all if point.single_round else spread, confidence, min_effect), pair)
        for point, pair in zip(points, pairs, strict=True)
    ]
    left_out = [sum(point.left_out[side] for point in points) for side in (0, 1)]
    overall = _overall(trusted, several, spread, min_effect)
    return Comparison(tuple(changes), overall, min_effect, (left_out[0], left_out[1]))


def _taken_as_quiet(pair: Pair) -> Pair:
    return replace(pair, base=replace(pair.base, noisy=frozenset()), new=replace(pair.new, noisy=frozenset()))


def _without_bursts(pairs: Sequence[Pair]) -> list[Pair]:
    """With the rounds marked as noisy that took far longer than their like: a neighbour on the same core leaves no other trace.

    What is far depends on how the rounds of all points scatter (median absolute deviation), so that steady scatter is never cut off.
    """
    sides = [side for pair in pairs for side in (pair.base, pair.new)]
    distances = [abs(above) for side in sides if len(side.rounds) > 1 for above in side.above.values()]
    far = max(log(1 + _BURST), _FAR * 1.4826 * median(distances or [0.0]))
    return [replace(pair, base=pair.base.marked(far), new=pair.new.marked(far)) for pair in pairs]


@dataclass(frozen=True)
class _Point:
    """Logarithms of what counts at one point, by round, so that points can be seen to move together.

    Of interleaved sides `new` holds the ratios within each round, and `base` nothing. Of a single round, its repeats.
    """

    base: Mapping[int, float]
    new: Mapping[int, float]
    single_round: bool
    noisy: bool
    rounds: tuple[int, int]  # how many each side has
    left_out: tuple[int, int] = (0, 0)

    @property
    def difference(self) -> float:
        centre = median if self.single_round or self.noisy else fmean
        return centre(self.new.values()) - (centre(self.base.values()) if self.base else 0.0)

    @property
    def residuals(self) -> dict[tuple[str, int], float]:
        sides = {"base": self.base, "new": self.new}
        return {(name, key): value - fmean(side.values()) for name, side in sides.items() for key, value in side.items()}

    @property
    def df(self) -> int:
        return sum(len(side) - 1 for side in (self.base, self.new) if side)

    @property
    def variance(self) -> float:
        """Of one round (or repeat)."""
        return sum(value**2 for value in self.residuals.values()) / self.df if self.df else inf

    def weight(self, *, of_rounds: bool = True) -> float:
        """Variance of the difference, in units of the variance of one round, or of one repeat."""
        counts = self.rounds if self.single_round and of_rounds else [len(side) for side in (self.base, self.new) if side]
        return sum(1 / count for count in counts) * (_MEDIAN_PENALTY if self.noisy or (self.single_round and not of_rounds) else 1)


def _point(pair: Pair, interleaved: bool) -> _Point:
    counts = len(pair.base.rounds), len(pair.new.rounds)
    common = sorted(pair.base.rounds.keys() & pair.new.rounds.keys())
    if interleaved and len(common) >= 2:
        return _within_rounds(pair, common)
    single = min(counts) < 2
    used, noisy, left_out = [], False, []
    for side in (pair.base, pair.new):
        rounds, enough = _quiet(sorted(side.rounds), side.noisy)
        noisy = noisy or not enough
        repeats = dict(enumerate(log(value) for value in side.repeats or side.rounds.values()))
        used.append(repeats if single else {number: log(side.rounds[number]) for number in rounds})
        left_out.append(0 if single else len(side.rounds) - len(rounds))
    return _Point(used[0], used[1], single, noisy, counts, (left_out[0], left_out[1]))


def _within_rounds(pair: Pair, common: Sequence[int]) -> _Point:
    """A round in which either side was noisy is left out for both, and counts for the side that was."""
    rounds, enough = _quiet(common, pair.base.noisy | pair.new.noisy)
    ratios = {number: log(pair.new.rounds[number] / pair.base.rounds[number]) for number in rounds}
    gone = set(common) - set(rounds)
    return _Point({}, ratios, False, not enough, (len(common),) * 2, (len(gone & pair.base.noisy), len(gone & pair.new.noisy)))


def _quiet(rounds: Sequence[int], noisy: frozenset[int]) -> tuple[Sequence[int], bool]:
    """The rounds without the noisy ones, if enough are left; else all, and False."""
    quiet = [number for number in rounds if number not in noisy]
    enough = len(quiet) >= min(_QUIET_ROUNDS, len(rounds))
    return (quiet if enough else rounds), enough


@dataclass(frozen=True)
class _Spread:
    variance: float  # that a point has at least
    df: float
    variance_of_round_mean: float  # of the mean over all points in one round, times the number of points
    df_of_rounds: float
    lasting: float = 0.0  # variance of a difference by what lasts longer than a round: no number of rounds averages it out
    of_rounds: bool = True  # else of the repeats of single rounds


def _pooled(points: Sequence[_Point], round_s: float) -> _Spread:
    """What points of several rounds together tell about the spread of one. Where none has any, their repeats stand in.

    Points of a round are disturbed together, so that many points are not as many witnesses: the spread is
    split into what the points of a round share and the rest, and Satterthwaite's formula gives the degrees
    of freedom of the sum. What they share lasts, and if rounds follow each other fast, they are not as many
    witnesses either: of two sweeps, measured apart, one may have had all of a good minute.
    """
    total_df = sum(point.df for point in points)
    of_rounds = not points[0].single_round
    if not total_df:
        return _Spread(inf, 1, inf, 1, of_rounds=of_rounds)
    squares = sum(value**2 for point in points for value in point.residuals.values())
    by_round: dict[tuple[str, int], list[float]] = defaultdict(list)
    for point in points if of_rounds else ():  # repeats of different points have nothing in common
        for key, value in point.residuals.items():
            by_round[key].append(value)
    shared_df = max(1, len(by_round) - len({name for name, _ in by_round})) if of_rounds else total_df
    walks = [_walk(sorted(point.base), sorted(point.new)) for point in points if of_rounds and point.base]
    closeness = median(walks) * max(0.0, 1 - round_s / APART_S) if walks else 0.0
    if len(points) == 1 or shared_df >= total_df or squares == 0:
        variance = squares / total_df  # of one point nobody can tell which part of it lasts
        return _Spread(_typical(points), total_df, variance, total_df, closeness * variance, of_rounds)
    shared = sum(len(values) * fmean(values) ** 2 for values in by_round.values())
    rest, rest_df = max(0.0, squares - shared), total_df - shared_df
    lasting = closeness * max(0.0, shared / shared_df - rest / rest_df) / len(points)
    df = shared_df if lasting else squares**2 / (shared**2 / shared_df + rest**2 / rest_df)
    return _Spread(_typical(points), df, shared / shared_df, shared_df, lasting)


def _walk(base: Sequence[int], new: Sequence[int]) -> float:
    """How much more the means of two stretches of a random walk differ, one after the other, than the variance within them tells.

    Of five rounds each 3.4 times that variance, 2/5 of which is there for independent rounds, too; more where rounds between are lost.
    """
    times = [*base, *(base[-1] + 1 + number for number in new)]
    weights = [-1 / len(base)] * len(base) + [1 / len(new)] * len(new)
    between = -sum(a * b * abs(s - t) for a, s in zip(weights, times, strict=True) for b, t in zip(weights, times, strict=True)) / 2
    within = [sum(abs(s - t) for s in side for t in side) / (2 * len(side)) for side in (base, new)]
    return max(0.0, between / (sum(within) / (len(base) + len(new) - 2)) - 1 / len(base) - 1 / len(new))


def _typical(points: Sequence[_Point]) -> float:
    """The median point's variance, so that a few disturbed points don't blur all others; of few points their mean."""
    usable = [point for point in points if point.df]
    if len(usable) < 3:
        return fmean(point.variance for point in usable)
    # The median of a chi-squared value is below its mean: Wilson and Hilferty 1931.
    return median(point.variance / (1 - 2 / (9 * point.df)) ** 3 for point in usable)


def _judged(point: _Point, spread: _Spread, confidence: float, min_effect: float) -> Change:
    own = 0.0 if point.single_round and spread.of_rounds else point.variance
    half = t_quantile(confidence, spread.df) * sqrt(max(own, spread.variance) * point.weight(of_rounds=spread.of_rounds) + spread.lasting)
    notes = (("one round",) if point.single_round else ()) + (("noisy",) if point.noisy else ())
    return _change(point.difference, half, min_effect, notes + ((LOPSIDED,) if _lopsided(*point.left_out, least=2) else ()))


def _overall(trusted: Sequence[_Point], several: Sequence[_Point], spread: _Spread, min_effect: float) -> Change:
    """The geometric mean over all points of several rounds, with the rounds as units."""
    weight = fmean(point.weight(of_rounds=spread.of_rounds) for point in trusted) / len(trusted)
    half = t_quantile(CONFIDENCE, spread.df_of_rounds) * sqrt(spread.variance_of_round_mean * weight + spread.lasting)
    notes = (("one round",) if any(point.single_round for point in trusted) else ()) + (("noisy",) if all(p.noisy for p in trusted) else ())
    base, new = (fmean(point.left_out[side] for point in several) for side in (0, 1))
    many = fmean(_lopsided(*point.left_out, least=2) for point in several) >= 0.5
    told = (LOPSIDED,) if many or _lopsided(base, new, least=1) else ()
    return _change(fmean(point.difference for point in trusted), half, min_effect, notes + told)


def _lopsided(base: float, new: float, least: float) -> bool:
    """Whether one side lost more rounds than chance explains: McNemar's (b - n)^2 / (b + n), in rounds of a point or of all."""
    return abs(base - new) >= least and (base - new) ** 2 >= base + new


def _change(difference: float, half: float, min_effect: float, notes: tuple[str, ...]) -> Change:
    verdict = _verdict(difference, half, log(1 + min_effect), strict="one round" in notes)
    if ("noisy" in notes and verdict in (Verdict.faster, Verdict.slower)) or LOPSIDED in notes:
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
