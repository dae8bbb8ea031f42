"""What repeats tell: their median, and when enough of them have been seen."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from bench.intervals import median_interval

FEWEST_REPEATS = 6  # with fewer, not even the whole range is a 95 % interval for the median
_FEW = 5
# The clock counts nanoseconds, but a woken thread starts 5 to 50 µs late: up to 5 % of this.
_SHORT_S = 1e-3
_MOST_REPEATS = 500
_MOST_WARMUPS = 20
# Further warm-ups are worth it while they are faster than every earlier one by this much.
_STILL_GAINING = 0.02


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
