"""How sure a number is: intervals from the repeats of one job, and from one value per round."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import atan, comb, cos, exp, log, pi, sin, sqrt
from statistics import fmean, stdev


def median_interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float] | None:
    """A distribution-free interval for the median: the k-th smallest to the k-th largest value.

    The number of values below the true median is binomial(n, 1/2), so that the interval misses with
    probability 2 P(B < k); k is the largest that keeps this under 1 - confidence (David and Nagaraja,
    Order Statistics, 3rd ed., section 7.1). None where even the whole range is too short: under six values at 95 %.
    """
    ordered, n = sorted(values), len(values)
    missed = 0.0
    k = 0
    while k < n // 2 and missed + 2 * comb(n, k) / 2**n <= 1 - confidence:
        missed += 2 * comb(n, k) / 2**n
        k += 1
    return (ordered[k - 1], ordered[n - k]) if k else None


def geometric_interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float, float] | None:
    """Geometric mean of one value per round, and a t interval for it: what holds between runs. None under two rounds."""
    if len(values) < 2:
        return None
    logs = [log(value) for value in values]
    half = t_quantile(confidence, len(logs) - 1) * stdev(logs) / sqrt(len(logs))
    return exp(fmean(logs)), exp(fmean(logs) - half), exp(fmean(logs) + half)


def t_quantile(confidence: float, df: float) -> float:
    """The t that a t-distributed value stays within, on both sides, with this confidence.

    By bisection of the closed form for whole degrees of freedom (Abramowitz and Stegun 26.7.3-4). Between them its
    logarithm is linear in 1 / df, which errs on the safe side: by 4 % at most below 2, 1.2 % below 3, less above.
    """
    df = max(1.0, min(df, 1000.0))
    whole = int(df)
    fewer, more = _t_quantile(confidence, whole), _t_quantile(confidence, whole + 1)
    share = (1 / df - 1 / (whole + 1)) / (1 / whole - 1 / (whole + 1))
    return more * exp(share * log(fewer / more))


@lru_cache
def _t_quantile(confidence: float, whole: int) -> float:
    low, high = 0.0, 1.0
    while _t_within(high, whole) < confidence:
        high *= 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _t_within(middle, whole) < confidence else (low, middle)
    return high


def _t_within(t: float, df: int) -> float:
    """P(|T| < t) with `df` degrees of freedom."""
    angle = atan(t / sqrt(df))
    odd = df % 2 == 1
    term, total = (cos(angle), 0.0) if odd else (1.0, 0.0)
    for k in range(1 if odd else 0, df - 1, 2):
        total += term
        term *= cos(angle) ** 2 * (k + 1) / (k + 2)
    within = sin(angle) * total
    return 2 / pi * (angle + within) if odd else within
