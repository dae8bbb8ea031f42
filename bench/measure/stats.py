"""What repeats tell: the median, and an interval for it that assumes nothing about the distribution."""

from __future__ import annotations

from collections.abc import Sequence
from math import comb
from statistics import median

__all__ = ["median", "median_interval"]


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
