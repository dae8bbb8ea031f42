"""Faster, slower, the same, or can't tell: two sides measured in rounds at many points. docs/method.md explains the statistics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import exp, inf, log, pi, sqrt
from statistics import median

import numpy as np
from numpy.typing import NDArray

from bench.intervals import t_quantile

CONFIDENCE = 0.95  # that all intervals of the points hold together
# With fewer quiet rounds than this, a difference may be the host's.
_QUIET_ROUNDS = 3
# Rounds that start this far apart are separate witnesses of a host's speed: docs/method.md.
APART_S = 60.0
# Var(median) / Var(mean) of many normal values.
_MEDIAN_PENALTY = pi / 2
# A round is left out when it lies above the median round of its point by this, and by this many times the usual scatter.
_BURST, _FAR = 0.1, 5
ONE_ROUND, NOISY, LOPSIDED = "one round", "noisy", "left out on one side"

# Logarithms of latencies by (side, point, round), NaN where there is none. Of interleaved sides the ratios within each round, as one side.
_Logs = NDArray[np.float64]
_ByPoint = NDArray[np.float64]
_Flags = NDArray[np.bool_]


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
    def latency_s(self) -> float:
        return median(self.rounds.values())


@dataclass(frozen=True)
class Change:
    """new / base, with its interval. `notes` say what keeps a difference from counting."""

    ratio: float
    low: float
    high: float
    verdict: Verdict
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Comparison:
    points: tuple[Change, ...]
    overall: Change
    min_effect: float
    left_out: tuple[int, int]  # rounds of the base and of the new side, summed over points

    @property
    def exit_code(self) -> int:
        """For a gate: 0 same or faster, 1 slower at a point or overall, 2 undecided."""
        verdicts = [change.verdict for change in (*self.points, self.overall)]
        return 1 if Verdict.slower in verdicts else 2 if self.overall.verdict is Verdict.undecided else 0


def compare(
    pairs: Sequence[tuple[Side, Side]], min_effect: float = 0.03, trust_noisy: bool = False, interleaved: bool = False, round_s: float = 0.0
) -> Comparison:
    """At least one pair. `min_effect`: the smallest relative change that matters, 0.03 for 3 %.

    `interleaved`: both sides were measured in the same rounds of one sweep, so that what a round does to both cancels out.
    Otherwise `round_s` is the time from one round to the next: what lasts longer, rounds cannot average away.
    """
    if not interleaved:
        return _compared(pairs, min_effect, trust_noisy, max(0.0, 1 - round_s / APART_S))
    # Within rounds, what a round does to both sides cancels out; where bursts hit but one of them, that loses more than it gains.
    ways = [_compared(pairs, min_effect, trust_noisy, 0.0, within_rounds) for within_rounds in (True, False)]
    return min(ways, key=lambda found: found.overall.high - found.overall.low)


def _compared(
    pairs: Sequence[tuple[Side, Side]], min_effect: float, trust_noisy: bool, closeness: float, within_rounds: bool = False
) -> Comparison:
    rounds = _logs([[side.rounds for side in pair] for pair in pairs])
    everything = rounds[1:] - rounds[:1] if within_rounds else rounds
    far = np.zeros(rounds.shape, bool) if trust_noisy else _disturbed(pairs, rounds) & np.isfinite(everything)
    kept = np.where(far.any(axis=0) if within_rounds else far, np.nan, everything)
    enough = _count(kept) >= np.minimum(_QUIET_ROUNDS, _count(everything))
    noisy, single = np.logical_not(enough.all(axis=0)), _count(everything).min(axis=0) < 2
    lost = np.where(single, 0, far.sum(axis=2))

    # A single round is told by its repeats. Where no point has several, they have to do for the spread, too.
    values = _logs([[dict(enumerate(side.repeats or side.rounds.values())) for side in pair] for pair in pairs])
    difference, weight, own = _estimates(values, np.ones_like(noisy))
    telling = ~single if not single.all() else single
    if not single.all():
        values, weight, own = np.where(enough[..., None], kept, everything), _weight(rounds), np.zeros_like(own)
        difference[telling], weight[telling], own[telling] = _estimates(values[:, telling], noisy[telling])
    trusted = telling & ~noisy if (telling & ~noisy).any() else telling
    half, half_of_all = _half_widths(values[:, trusted], own, weight, weight[trusted].mean(), None if single.all() else closeness)
    if not telling.all():
        # Whether its only round was a disturbed one, nobody can tell: such a point is judged by all rounds of the others.
        half[single] = _half_widths(everything[:, telling], own, weight, 1.0, closeness)[0][single]

    lopsided, slanted = _lopsided(lost, telling)
    points = [_change(*told, min_effect) for told in zip(difference, half, single, noisy, lopsided & ~noisy, strict=True)]
    overall = _change(difference[trusted].mean(), half_of_all, single[trusted].any(), noisy[trusted].all(), slanted, min_effect)
    base, new = (int(count) for count in np.where(enough, lost, 0).sum(axis=1))  # where too few are left, all are used
    return Comparison(tuple(points), overall, min_effect, (base, new))


def _logs(sides: Sequence[Sequence[Mapping[int, float]]]) -> _Logs:
    """Of sides by (point, side)."""
    keys = sorted({key for pair in sides for side in pair for key in side})
    return np.asarray(np.log([[[pair[side].get(key, np.nan) for key in keys] for pair in sides] for side in (0, 1)]))


def _disturbed(pairs: Sequence[tuple[Side, Side]], rounds: _Logs) -> NDArray[np.bool_]:
    """Rounds that were noisy, or took far longer than their like: a neighbour on the same core leaves no other trace.

    What is far depends on how the rounds of all points scatter (median absolute deviation), so that steady scatter is never cut off.
    """
    numbers = sorted({number for pair in pairs for side in pair for number in side.rounds})
    noisy = np.array([[[number in pair[side].noisy for number in numbers] for pair in pairs] for side in (0, 1)])
    above = rounds - np.nanmedian(rounds, axis=2, keepdims=True)
    scatter = np.abs(above[_count(rounds) > 1])
    typical = float(np.nanmedian(scatter)) if scatter.size else 0.0
    return np.asarray(noisy | (above > max(log(1 + _BURST), _FAR * 1.4826 * typical)))


def _count(values: _Logs) -> NDArray[np.int_]:
    return np.asarray(np.isfinite(values).sum(axis=2))


def _estimates(values: _Logs, by_median: _Flags) -> tuple[_ByPoint, _ByPoint, _ByPoint]:
    """Of each point: the difference between its sides, its variance in units of that of one value, and the variance of one value."""
    middles = np.where(by_median, np.nanmedian(values, axis=2), np.nanmean(values, axis=2))
    difference = middles[-1] - middles[0] if len(middles) == 2 else middles[0]
    return difference, _weight(values) * np.where(by_median, _MEDIAN_PENALTY, 1), _variance(values)


def _weight(values: _Logs) -> _ByPoint:
    return np.asarray((1 / _count(values)).sum(axis=0))


def _residuals(values: _Logs) -> _Logs:
    return np.asarray(values - np.nanmean(values, axis=2, keepdims=True))


def _variance(values: _Logs) -> _ByPoint:
    """Infinite where nothing is known of it."""
    squares, df = np.nansum(_residuals(values) ** 2, axis=(0, 2)), (_count(values) - 1).sum(axis=0)
    return np.where(df > 0, squares / np.maximum(df, 1), inf)


def _half_widths(values: _Logs, own: _ByPoint, weight: _ByPoint, mean_weight: float, closeness: float | None) -> tuple[_ByPoint, float]:
    """Of the intervals of all points, and of that of the mean over the points with these values, from what these tell of the spread.

    Points of a round are disturbed together, so that many points are not as many witnesses: the spread is
    split into what the points of a round share and the rest, and Satterthwaite's formula gives the degrees
    of freedom of the sum. What they share lasts, and if rounds follow each other fast, they are not as many
    witnesses either: of two sweeps, measured apart, one may have had all of a good minute. How much lasts is known
    from few witnesses, too (`_walk_df`).
    `closeness` is None for repeats, which share nothing.
    """
    dfs, squares = (_count(values) - 1).sum(axis=0), float(np.nansum(_residuals(values) ** 2))
    points, total_df, variances = len(dfs), int(dfs.sum()), _variance(values)[dfs > 0]
    if not total_df:
        return np.full(len(own), inf), inf
    # The median point's, so that a few disturbed points don't blur all others: of few points the mean.
    # The median of a chi-squared value is below its mean: Wilson and Hilferty 1931.
    typical = float(np.median(variances / (1 - 2 / (9 * dfs[dfs > 0])) ** 3) if len(variances) > 2 else variances.mean())
    lasts = closeness * median(_walk(*map(np.flatnonzero, np.isfinite(values[:, i]))) for i in range(points)) if closeness else 0.0
    witnesses = np.isfinite(values).sum(axis=1)
    shared_df = max(1, int((witnesses > 0).sum()) - len(values)) if closeness is not None else total_df
    if points == 1 or shared_df >= total_df or not squares:  # of one point nobody can tell which part of it lasts
        shared_df, df, of_round = total_df, float(total_df), squares / total_df
        lasting = lasts * of_round
    else:
        shared = float((np.nansum(_residuals(values), axis=1) ** 2 / np.maximum(witnesses, 1)).sum())
        rest, rest_df, of_round = max(0.0, squares - shared), total_df - shared_df, shared / shared_df
        lasting = lasts * max(0.0, of_round - rest / rest_df) / points
        df = shared_df if lasting else squares**2 / (shared**2 / shared_df + rest**2 / rest_df)
    lasting_df = _walk_df([np.flatnonzero(side) for side in witnesses]) if lasting else 1.0
    confidence = 1 - (1 - CONFIDENCE) / len(own)  # Bonferroni
    of_points = [_half_width(confidence, (spread, df), (lasting, lasting_df)) for spread in np.maximum(own, typical) * weight]
    return np.array(of_points), _half_width(CONFIDENCE, (of_round * mean_weight / points, shared_df), (lasting, lasting_df))


def _half_width(confidence: float, *parts: tuple[float, float]) -> float:
    """Of the interval of a mean whose variance is the sum of parts that are right or wrong together, each with its degrees of freedom."""
    variance, error = sum(part for part, _ in parts), sum(part / sqrt(df) for part, df in parts)
    if not 0 < variance < inf:  # nothing varied, or nothing is known
        return variance
    return t_quantile(confidence, (variance / error) ** 2) * sqrt(variance)


def _walk(base: NDArray[np.int_], new: NDArray[np.int_]) -> float:
    """How much more the means of two stretches of a random walk differ, one after the other, than the variance within them tells.

    Of five rounds each 3.4 times that variance, 2/5 of which is there for independent rounds, too; more where rounds between are lost.
    """
    times = np.concatenate([base, base[-1] + 1 + new])
    weights = np.repeat([-1 / len(base), 1 / len(new)], [len(base), len(new)])
    between = -weights @ np.abs(np.subtract.outer(times, times)) @ weights / 2
    within = sum(np.abs(np.subtract.outer(side, side)).sum() / (2 * len(side)) for side in (base, new))
    return max(0.0, float(between / (within / (len(times) - 2))) - 1 / len(base) - 1 / len(new))


def _walk_df(sides: Sequence[NDArray[np.int_]]) -> float:
    """Degrees of freedom of the variance within two stretches of a random walk, of which neighbours resemble each other.

    Satterthwaite's (sum of a)^2 / (sum of a^2) over the eigenvalues a of the residuals' covariance: 4.2 where two times
    five independent rounds have 8.
    """
    total = squares = 0.0
    for times in sides:
        center = np.eye(len(times)) - 1 / len(times)
        walk = -center @ np.abs(np.subtract.outer(times, times)) @ center / 2
        total, squares = total + np.trace(walk), squares + (walk**2).sum()
    return max(1.0, total**2 / squares) if squares else 1.0


def _lopsided(lost: NDArray[np.int_], telling: _Flags) -> tuple[_Flags, bool]:
    """Where one side of a point lost two rounds more, and more than chance explains: McNemar's (b - n)^2 / (b + n).

    And whether half of the `telling` points are so, or one side lost a whole round more than the other.
    """
    more = lost[1] - lost[0]
    found = (np.abs(more) >= 2) & (more**2 >= lost.sum(axis=0))
    return found, bool(found[telling].mean() >= 0.5 or abs(more[telling].mean()) >= 1)


def _change(difference: float, half: float, single: bool, noisy: bool, lopsided: bool, min_effect: float) -> Change:
    """A difference counts when it is large enough and its interval excludes 1; from a single round, when all of the interval is large."""
    smallest, size = log(1 + min_effect), abs(difference)
    verdict = Verdict.same if size + half <= smallest else Verdict.undecided
    if size >= smallest and size - half > (smallest if single else 0.0) and not noisy:
        verdict = Verdict.slower if difference > 0 else Verdict.faster
    if lopsided:
        verdict = Verdict.undecided  # the host's doing cannot be told from the program's
    notes = tuple(note for note, holds in ((ONE_ROUND, single), (NOISY, noisy), (LOPSIDED, lopsided)) if holds)
    return Change(exp(difference), _exp(difference - half), _exp(difference + half), verdict, notes)


def _exp(value: float) -> float:
    return exp(value) if value < 700 else inf
