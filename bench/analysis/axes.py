"""Axes in human units: log where ratios count, a tick at every tested value, round values elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import ceil, floor, log10
from typing import Any

import pandas as pd
from matplotlib.axis import Axis
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from bench.analysis.columns import column_of, is_quantity

_FREE = 0.93  # of an axis: above it stands its caption, which no grid line should touch


@dataclass(frozen=True)
class Scale:
    """How an axis runs."""

    kind: str  # log or linear
    low: float
    high: float
    ticks: tuple[float, ...]


def scale_for(column: str, values: pd.Series, headroom: float) -> Scale:
    """The scale that suits these values of a column, with room for `headroom` of its length above them."""
    above_zero = values[values > 0]  # a step that brought several tokens leaves gaps of 0, which a log axis cannot show
    low, high = float(above_zero.min()), float(values.max())
    if column_of(column).kind == "share" or (is_quantity(column) and above_zero.empty):
        top = max(high, 1e-9) * (1 + headroom) if high > 0 else 1.0
        return Scale("linear", 0, top, tuple(MaxNLocator(6).tick_values(0, top * _FREE)))
    if is_quantity(column):
        return _measured(low, high, headroom)
    return _tested(sorted(set(map(float, values.dropna()))))


def caption(column: str, scale: Scale) -> str:
    """What stands along an axis."""
    log = scale.kind == "log" and is_quantity(column)
    return f"{column_of(column).caption}, log scale" if log else column_of(column).caption


def apply(axis: Axis, scale: Scale, show: Callable[[Any], str]) -> None:
    axis._set_axes_scale(scale.kind)  # type: ignore[attr-defined]
    # Through the panel, so that shared axes follow; and what is added later stays inside.
    (axis.axes.set_xlim if axis.axis_name == "x" else axis.axes.set_ylim)(scale.low, scale.high)  # type: ignore[attr-defined]
    axis.axes.autoscale(enable=False, axis=axis.axis_name)  # type: ignore[attr-defined]
    axis.set_major_locator(FixedLocator(list(scale.ticks)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: show(value)))
    axis.set_minor_locator(NullLocator())


def _measured(low: float, high: float, headroom: float) -> Scale:
    decades = max(log10(high / low), 0.25)
    bottom, top = low / 10 ** (0.09 * decades), high * 10 ** (headroom * decades)
    last = bottom * (top / bottom) ** _FREE
    ticks = one_two_five(bottom, last)
    if len(ticks) < 2:
        ticks = [value for value in MaxNLocator(5, steps=[1, 2, 5, 10]).tick_values(bottom, last) if bottom <= value <= last]
    return Scale("log", bottom, top, tuple(ticks))


def _tested(values: Sequence[float]) -> Scale:
    low, high = values[0], values[-1]
    if low > 0 and high / low >= 4:
        pad = 10 ** (0.035 * log10(high / low))
        return Scale("log", low / pad, high * pad, tuple(uncrowded(values)))
    pad = 0.06 * (high - low) or 0.5
    return Scale("linear", low - pad, high + pad, tuple(values))


def one_two_five(low: float, high: float) -> list[float]:
    """Round values on a log axis: 1, 2, 5, 10, ... over a few decades, powers of ten over many."""
    steps = (1, 2, 5) if log10(high / low) < 2.2 else (1,)
    found = [m * 10.0**e for e in range(floor(log10(low)), ceil(log10(high)) + 1) for m in steps]
    inside = [value for value in found if low <= value <= high]
    return inside[:: ceil(len(inside) / 9)] if inside else inside


def uncrowded(values: Iterable[float], share: float = 0.055) -> list[float]:
    """Those tested values whose labels fit beside each other on a log axis, the largest first."""
    ordered = sorted(values, reverse=True)
    kept: list[float] = []
    for value in ordered:
        if not kept or log10(kept[-1] / value) >= share * log10(ordered[0] / ordered[-1]):
            kept.append(value)
    return kept[::-1]
