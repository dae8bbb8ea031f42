"""Windows of a few decoding steps, and what they say of a whole generation. Pure arithmetic: nothing is measured here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import hypot, sqrt
from statistics import fmean, median, stdev

import numpy as np
from numpy.typing import NDArray

from bench.config import SETTLING_STEPS

_STRAIGHT = 0.01  # a middle context is kept where its steps are off the line between its neighbours by more than this
_CLOSEST_WINDOWS = 8  # contexts nearer to each other than so many windows are not parted any further


@dataclass(frozen=True)
class Window:
    """One short generation: when each step's tokens had arrived after a prompt of this length, in seconds from the request."""

    prompt_tokens: int
    arrived_s: tuple[float, ...]
    total_s: float

    @property
    def step_s(self) -> float:
        """Mean time of the steps that count. The mean: what a rare slow step costs belongs to the sum."""
        return (self.arrived_s[-1] - self.arrived_s[SETTLING_STEPS]) / len(self._counted)

    @property
    def typical_step_s(self) -> float:
        """Median time of these steps, for telling whether a curve bends."""
        return median(self._steps_s)

    @property
    def doubt_s(self) -> float:
        """Standard error of that median, as for a normal distribution."""
        return 1.25 * stdev(self._steps_s) / sqrt(len(self._counted))

    @property
    def context_tokens(self) -> float:
        """Tokens that these steps attended to, on average."""
        return self.prompt_tokens + fmean(self._counted)

    @property
    def tail_s(self) -> float:
        """What generate does after the last token."""
        return self.total_s - self.arrived_s[-1]

    @property
    def _steps_s(self) -> list[float]:
        return [self.arrived_s[i] - self.arrived_s[i - 1] for i in self._counted]

    @property
    def _counted(self) -> range:
        return range(SETTLING_STEPS + 1, len(self.arrived_s))


@dataclass(frozen=True)
class Pass:
    """All windows of one line, measured once after the other; far ones may be left out."""

    windows: tuple[Window, ...]

    def at(self, prompt_tokens: int) -> Window | None:
        return next((window for window in self.windows if window.prompt_tokens == prompt_tokens), None)


@dataclass(frozen=True)
class Generation:
    """What the windows of one pass add up to."""

    latency_s: float
    ttft_s: float
    last_token_s: float


Curve = Sequence[tuple[float, float]]
"""(context in tokens, seconds of a step), by rising context."""


def generations(passes: Sequence[Pass], input_tokens: int, output_tokens: int) -> list[Generation]:
    """One whole generation for each pass that began one at `input_tokens`."""
    starts = [(each, start) for each in passes if (start := each.at(input_tokens))]
    return [_generation(start, curve(passes, each), output_tokens) for each, start in starts]


def curve(passes: Sequence[Pass], now: Pass) -> Curve:
    """Step times as `now` saw them, and by the median of all passes where it did not look."""
    seen: dict[int, list[Window]] = {}
    for each in passes:
        for window in each.windows:
            seen.setdefault(window.prompt_tokens, []).append(window)
    ours = {window.prompt_tokens: window.step_s for window in now.windows}
    knots = ((windows[0].context_tokens, ours.get(tokens, median(one.step_s for one in windows))) for tokens, windows in seen.items())
    return sorted(knots)


def _generation(start: Window, steps: Curve, output_tokens: int) -> Generation:
    """The start as it was measured, then the sum over all further steps of the step time at that step's context."""
    first = len(start.arrived_s)
    further_s = float(at(steps, range(start.prompt_tokens + first, start.prompt_tokens + output_tokens)).sum())
    last_token_s = start.arrived_s[-1] + further_s
    return Generation(last_token_s + start.tail_s, start.arrived_s[0], last_token_s)


def at(steps: Curve, contexts: Sequence[float]) -> NDArray[np.float64]:
    """Seconds of a step at each of these contexts: linear between neighbours; beyond the ends, the end's own value."""
    return np.interp(contexts, [context for context, _ in steps], [step_s for _, step_s in steps])


def bends(low: Window, middle: Window, high: Window) -> bool:
    """Whether the line between two contexts is off at the middle one: by more than 1 %, and by more than the steps scatter."""
    ends = ((low.context_tokens, low.typical_step_s), (high.context_tokens, high.typical_step_s))
    line_s = float(at(ends, [middle.context_tokens])[0])
    doubt_s = 2 * hypot(middle.doubt_s, low.doubt_s / 2, high.doubt_s / 2)
    return abs(middle.typical_step_s - line_s) > max(_STRAIGHT * line_s, doubt_s)


def middles(look: Callable[[int], Window], ends: Sequence[Window], affordable: Callable[[], bool]) -> list[int]:
    """Prompt lengths between these windows where the curve bends, the widest gaps first, as long as another look is affordable.

    `look` measures a window; what bends is looked at twice.
    """
    apart = _CLOSEST_WINDOWS * (len(ends[0].arrived_s) - 1 - SETTLING_STEPS)
    found: list[int] = []
    gaps = list(pairwise(ends))
    while gaps and affordable():
        low, high = gaps.pop(max(range(len(gaps)), key=lambda i: _width(*gaps[i])))
        if _width(low, high) < apart:
            break
        place = (low.prompt_tokens + high.prompt_tokens) // 2
        middle = look(place)
        if bends(low, middle, high) and bends(low, middle := look(place), high):
            found.append(place)
            gaps += [(low, middle), (middle, high)]
    return found


def _width(low: Window, high: Window) -> int:
    return high.prompt_tokens - low.prompt_tokens


@dataclass(frozen=True)
class SampledTimes:
    """What windows say of one point."""

    passes: tuple[Pass, ...]
    ttft_s: float
    tpot_s: float
    saved_s: float  # what its repeats would have taken, less its share of the windows
