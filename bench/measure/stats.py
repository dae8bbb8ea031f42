"""What repeats and rounds tell: medians, intervals, and when enough has been seen."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import atan, comb, cos, exp, log, pi, sin, sqrt
from statistics import fmean, median, stdev

__all__ = ["median", "median_interval"]

FEWEST_REPEATS = 6  # with fewer, not even the whole range is a 95 % interval for the median
_FEW = 5
# The clock counts nanoseconds, but a woken thread starts 5 to 50 µs late: up to 5 % of this.
_SHORT_S = 1e-3
_MOST_REPEATS = 500
_MOST_WARMUPS = 20
# Further warm-ups are worth it while they are faster than every earlier one by this much.
_STILL_GAINING = 0.02


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


def percentile(values: Sequence[float], percent: float) -> float:
    """Linear between the neighbours."""
    ordered = sorted(values)
    place = (len(ordered) - 1) * percent / 100
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


def enough_repeats(latencies_s: Sequence[float], precision: float, max_seconds: float) -> bool:
    """Whether num_runs=auto may stop: the interval is narrow, or the time is up.

    It only looks when the number has grown by 40 %: an interval that stops as soon as it happens to be
    narrow would miss the true median too often.
    """
    count = len(latencies_s)
    if count < FEWEST_REPEATS:
        return False
    if count >= _MOST_REPEATS or sum(latencies_s) >= max_seconds:
        return True
    interval = median_interval(latencies_s, confidence=0.98)
    if count not in _LOOKS or interval is None:
        return False
    return (interval[1] - interval[0]) / 2 <= precision * median(latencies_s)


_LOOKS = frozenset(round(8 * 1.4**i) for i in range(13))


def enough_warmups(latencies_s: Sequence[float], max_seconds: float) -> bool:
    """Whether warmup_runs=auto may stop: the last two were no faster than the best before them."""
    count = len(latencies_s)
    if count >= _MOST_WARMUPS or (count >= 2 and sum(latencies_s) >= max_seconds):
        return True
    return count >= 3 and min(latencies_s[-2:]) > min(latencies_s[:-2]) * (1 - _STILL_GAINING)


def marks(latencies_s: Sequence[float]) -> list[str]:
    """What limits the trust in these repeats, beside their spread."""
    found = []
    if len(latencies_s) < _FEW:
        found.append(f"{len(latencies_s)} repeats: too few to see their spread; set num_runs to {FEWEST_REPEATS} or more, or to auto")
    if median(latencies_s) < _SHORT_S:
        found.append(
            f"repeats under {_SHORT_S * 1e3:g} ms: waking a thread takes a noticeable part of that; raise output_tokens or batch_size"
        )
    return found


def t_quantile(confidence: float, df: float) -> float:
    """The t that a t-distributed value stays within, on both sides, with this confidence.

    By bisection of the closed form for whole degrees of freedom (Abramowitz and Stegun 26.7.3-4);
    others are rounded down, which errs on the safe side.
    """
    return _t_quantile(confidence, max(1, min(int(df + 1e-9), 1000)))


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
