"""Axes in human units: log where ratios count, a tick at every tested value, round values elsewhere."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from math import ceil, log10
from typing import Any

import pandas as pd
from matplotlib.axis import Axis
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from bench.analysis.columns import column_of, is_quantity

_FREE = 0.93  # of an axis: above it no tick stands
_POWERS = [10.0**e for e in range(-9, 19)]
_STEPS = [m * power for power in _POWERS for m in (1, 2, 5)]
# Round values of each kind, fine and coarse: seconds pass into minutes, bytes are powers of two.
LADDERS: dict[str, tuple[list[float], list[float]]] = {
    "seconds": (
        [*(value for value in _STEPS if value <= 50), *(60.0 * m for m in (2, 5, 10, 20, 60)), *(3600.0 * m for m in (2, 5, 10, 20, 50))],
        [*(power for power in _POWERS if power <= 10), 120.0, 1200.0, 7200.0, 72000.0],
    ),
    "bytes": ([2.0**e for e in range(10, 50)], [2.0**e for e in range(10, 50, 3)]),
}
DECIMAL = (_STEPS, _POWERS)
_UNITS = {"seconds": (60.0, 3600.0), "bytes": (2.0**10, 2.0**20, 2.0**30)}  # those whose round values are not round in the base unit


@dataclass(frozen=True)
class Scale:
    """How an axis runs."""

    kind: str  # log or linear
    low: float
    high: float
    ticks: tuple[float, ...]

    def raised(self, share: float) -> Scale:
        """With this share of the axis free above what it showed."""
        if self.kind == "log":
            return replace(self, high=self.low * (self.high / self.low) ** (1 / (1 - share)))
        return replace(self, high=self.low + (self.high - self.low) / (1 - share))


def scale_for(name: str, values: pd.Series, headroom: float) -> Scale:
    """The scale that suits these values of a column, with room for `headroom` of its length above them."""
    above_zero = values[values > 0]  # a step that brought several tokens leaves gaps of 0, which a log axis cannot show
    if not is_quantity(name):
        return _tested(sorted(set(map(float, values.dropna()))))
    if column_of(name).kind == "share" or above_zero.empty:
        top = max(float(values.max()), 1e-9) * (1 + headroom) if len(above_zero) else 1.0
        return Scale("linear", 0, top, tuple(MaxNLocator(6).tick_values(0, top * _FREE)))
    return _measured(column_of(name).kind, float(above_zero.min()), float(values.max()), headroom)


def caption(name: str, scale: Scale) -> str:
    """What stands along an axis."""
    log = scale.kind == "log" and is_quantity(name)
    return f"{column_of(name).caption}, log scale" if log else column_of(name).caption


def apply(axis: Axis, scale: Scale, show: Callable[[Any], str]) -> None:
    """Through the panel, so that shared axes follow; and what is added later stays inside."""
    axes, x = axis.axes, axis.axis_name == "x"  # type: ignore[attr-defined]
    (axes.set_xscale if x else axes.set_yscale)(scale.kind)
    (axes.set_xlim if x else axes.set_ylim)(scale.low, scale.high)
    axes.autoscale(enable=False, axis=axis.axis_name)  # type: ignore[attr-defined]
    axis.set_major_locator(FixedLocator(list(scale.ticks)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: _short(show(value))))
    axis.set_minor_locator(NullLocator())


def _short(text: str) -> str:
    """1.5 s for 1.50 s: a tick is exact."""
    return re.sub(r"(\.\d*?)0+(?=\D|$)", r"\1", text).replace(". ", " ").removesuffix(".")


def _measured(kind: str, low: float, high: float, headroom: float) -> Scale:
    decades = max(log10(high / low), 0.25)
    bottom, top = low / 10 ** (0.09 * decades), high * 10 ** (headroom * decades)
    return Scale("log", bottom, top, tuple(round_values(kind, bottom, bottom * (top / bottom) ** _FREE)))


def _tested(values: Sequence[float]) -> Scale:
    low, high = values[0], values[-1]
    if low > 0 and high / low >= 4:
        pad = 10 ** (0.035 * log10(high / low))
        return Scale("log", low / pad, high * pad, tuple(uncrowded(values)))
    pad = 0.06 * (high - low) or 0.5
    ticks = values if len(values) <= 12 else [tick for tick in MaxNLocator(8).tick_values(low, high) if low <= tick <= high]
    return Scale("linear", low - pad, high + pad, tuple(ticks))


def round_values(kind: str, low: float, high: float) -> list[float]:
    """Ticks of a log axis: 1, 2, 5, 10, ... over a few decades, powers of ten over many."""
    fine, coarse = LADDERS.get(kind, DECIMAL)
    inside = [value for value in (fine if log10(high / low) < 2.2 else coarse) if low <= value <= high]
    if len(inside) >= 2:
        return inside[:: ceil(len(inside) / 9)]
    unit = max((unit for unit in _UNITS.get(kind, ()) if unit <= low), default=1.0)
    found = [value * unit for value in MaxNLocator(5, steps=[1, 2, 5, 10]).tick_values(low / unit, high / unit)]
    return [value for value in found if low <= value <= high]


def uncrowded(values: Iterable[float], share: float = 0.055) -> list[float]:
    """Those tested values whose labels fit beside each other on a log axis, the largest first."""
    ordered = sorted(values, reverse=True)
    kept: list[float] = []
    for value in ordered:
        if not kept or log10(kept[-1] / value) >= share * log10(ordered[0] / ordered[-1]):
            kept.append(value)
    return kept[::-1]
