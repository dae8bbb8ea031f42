"""Faster, slower, the same, or can't tell: two sides measured in rounds at many points. docs/method.md explains the statistics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import exp, inf, log, pi, sqrt
from statistics import fmean, median

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


@dataclass(frozen=True)
class _Spread:
    """How far rounds lie apart, as variances."""

    of_point: float
    df: float
    of_all: float = inf  # of the mean over all points in one round, times the number of points
    df_of_all: float = 1
    lasting: float = 0.0  # of a difference, by what lasts longer than a round: no number of rounds averages it out


def compare(
    pairs: Sequence[tuple[Side, Side]],
    min_effect: float = 0.03,
    trust_noisy: bool = False,
    interleaved: bool = False,
    round_s: float = 0.0,
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
    repeats = _logs([[dict(enumerate(side.repeats or side.rounds.values())) for side in pair] for pair in pairs])
    everything = rounds[1:] - rounds[:1] if within_rounds else rounds
    single = _count(everything).min(axis=0) < 2
    far = np.zeros(rounds.shape, bool) if trust_noisy else _disturbed(pairs, rounds) & np.isfinite(everything)
    kept = np.where(far.any(axis=0) if within_rounds else far, np.nan, everything)
    enough = _count(kept) >= np.minimum(_QUIET_ROUNDS, _count(everything))
    used, noisy = np.where(enough[..., None], kept, everything), np.logical_not(enough.all(axis=0))
    lost = np.where(single, 0, far.sum(axis=2))

    difference = _new_over_base(np.nanmedian(repeats, axis=2))
    weight, own = _weight(rounds), np.zeros(len(pairs))
    several = ~single
    if several.any():
        used_there, noisy_there = used[:, several], noisy[several]
        centre = np.where(noisy_there, np.nanmedian(used_there, axis=2), np.nanmean(used_there, axis=2))
        difference[several], own[several] = _new_over_base(centre), _variance(used_there)
        weight[several] = _weight(used_there) * np.where(noisy_there, _MEDIAN_PENALTY, 1)
    else:  # the repeats have to do
        used, several, weight, own = repeats, single, _weight(repeats) * _MEDIAN_PENALTY, _variance(repeats)
    trusted = several & ~noisy if (several & ~noisy).any() else several
    closeness = 0.0 if single.all() else closeness
    spread = _spread(used[:, trusted], closeness, related=not single.all())
    # Whether its only round was a disturbed one, nobody can tell: such a point is judged by all rounds of the others.
    of_everything = _spread(everything[:, several], closeness) if single.any() and not single.all() else spread

    confidence = 1 - (1 - CONFIDENCE) / len(pairs)  # Bonferroni
    changes = []
    for i in range(len(pairs)):
        told = of_everything if single[i] else spread
        half = t_quantile(confidence, told.df) * sqrt(max(own[i], told.of_point) * weight[i] + told.lasting)
        changes.append(_change(difference[i], half, min_effect, bool(single[i]), bool(noisy[i]), not noisy[i] and _lopsided(*lost[:, i])))
    half = t_quantile(CONFIDENCE, spread.df_of_all) * sqrt(spread.of_all * weight[trusted].mean() / trusted.sum() + spread.lasting)
    slanted = _slanted(lost[:, several])
    overall = _change(difference[trusted].mean(), half, min_effect, bool(single[trusted].any()), bool(noisy[trusted].all()), slanted)
    base, new = (int(count) for count in np.where(enough, lost, 0).sum(axis=1))  # where too few are left, all are used
    return Comparison(tuple(changes), overall, min_effect, (base, new))


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


def _new_over_base(middles: _Logs) -> NDArray[np.float64]:
    """Of a value by (side, point)."""
    return np.asarray(middles[-1] - middles[0] if len(middles) == 2 else middles[0])


def _weight(values: _Logs) -> NDArray[np.float64]:
    """Variance of each point's difference of means, in units of the variance of one round."""
    return np.asarray((1 / _count(values)).sum(axis=0))


def _residuals(values: _Logs) -> _Logs:
    return np.asarray(values - np.nanmean(values, axis=2, keepdims=True))


def _variance(values: _Logs) -> NDArray[np.float64]:
    """Of one round, by point; infinite where nothing is known of it."""
    squares, df = np.nansum(_residuals(values) ** 2, axis=(0, 2)), (_count(values) - 1).sum(axis=0)
    return np.where(df > 0, squares / np.maximum(df, 1), inf)


def _spread(values: _Logs, closeness: float, related: bool = True) -> _Spread:
    """What points of several rounds together tell about the spread of one; of repeats, not `related` from point to point.

    Points of a round are disturbed together, so that many points are not as many witnesses: the spread is
    split into what the points of a round share and the rest, and Satterthwaite's formula gives the degrees
    of freedom of the sum. What they share lasts, and if rounds follow each other fast, they are not as many
    witnesses either: of two sweeps, measured apart, one may have had all of a good minute.
    """
    residuals, dfs = _residuals(values), (_count(values) - 1).sum(axis=0)
    points, squares, total_df = len(dfs), float(np.nansum(residuals**2)), int(dfs.sum())
    if not total_df:
        return _Spread(inf, 1)
    variances = _variance(values)[dfs > 0]
    # The median point's, so that a few disturbed points don't blur all others: of few points the mean.
    # The median of a chi-squared value is below its mean: Wilson and Hilferty 1931.
    typical = float(np.median(variances / (1 - 2 / (9 * dfs[dfs > 0])) ** 3) if len(variances) > 2 else variances.mean())
    lasts = closeness * median(_walk(*map(np.flatnonzero, np.isfinite(values[:, i]))) for i in range(points)) if closeness else 0.0
    witnesses = np.isfinite(values).sum(axis=1)
    shared_df = max(1, int((witnesses > 0).sum()) - len(values)) if related else total_df
    if points == 1 or shared_df >= total_df or not squares:  # of one point nobody can tell which part of it lasts
        variance = squares / total_df
        return _Spread(typical, total_df, variance, total_df, lasts * variance)
    shared = float((np.nansum(residuals, axis=1) ** 2 / np.maximum(witnesses, 1)).sum())
    rest, rest_df = max(0.0, squares - shared), total_df - shared_df
    lasting = lasts * max(0.0, shared / shared_df - rest / rest_df) / points
    df = shared_df if lasting else squares**2 / (shared**2 / shared_df + rest**2 / rest_df)
    return _Spread(typical, df, shared / shared_df, shared_df, lasting)


def _walk(base: NDArray[np.int_], new: NDArray[np.int_]) -> float:
    """How much more the means of two stretches of a random walk differ, one after the other, than the variance within them tells.

    Of five rounds each 3.4 times that variance, 2/5 of which is there for independent rounds, too; more where rounds between are lost.
    """
    times = np.concatenate([base, base[-1] + 1 + new])
    weights = np.repeat([-1 / len(base), 1 / len(new)], [len(base), len(new)])
    between = -weights @ np.abs(np.subtract.outer(times, times)) @ weights / 2
    within = sum(np.abs(np.subtract.outer(side, side)).sum() / (2 * len(side)) for side in (base, new))
    return max(0.0, float(between / (within / (len(times) - 2))) - 1 / len(base) - 1 / len(new))


def _lopsided(base: int, new: int) -> bool:
    """Whether one side of a point lost two rounds more, and more than chance explains: McNemar's (b - n)^2 / (b + n)."""
    return bool(abs(base - new) >= 2 and (base - new) ** 2 >= base + new)


def _slanted(lost: NDArray[np.int_]) -> bool:
    """Whether half of the points are lopsided, or one side lost a whole round more than the other. `lost` by (side, point)."""
    many = fmean(_lopsided(*point) for point in lost.T) >= 0.5
    return bool(many or abs(np.subtract(*lost.mean(axis=1))) >= 1)


def _change(difference: float, half: float, min_effect: float, single: bool, noisy: bool, lopsided: bool) -> Change:
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
