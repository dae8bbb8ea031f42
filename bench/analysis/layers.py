"""What is drawn inside a panel: lines with their spread, published curves, equal batch sizes, what ran out of memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from bench.analysis import sampling
from bench.analysis.columns import column_of
from bench.analysis.style import AXIS, DASHED, HALO, INK, MUTED, PANEL, LineStyle

# By the name of a line, in the order of their drawing.
Styles = Mapping[str, LineStyle]
_BEYOND = "#E9EDF1"
_HOLLOW: dict[str, Any] = {"ls": DASHED, "lw": 1.2, "marker": "D", "ms": 5.6, "mfc": "white", "mew": 1.4}
_POINT: dict[str, Any] = {"ms": 6.2, "mec": "white", "mew": 0.9}
_JOINED: dict[str, Any] = {"color": AXIS, "ls": (0, (1, 2))}
# How each mark looks in the key.
_MARKS: dict[str, dict[str, Any]] = {
    "measured": {"color": MUTED, "marker": "o", "mec": "white", "ms": 6},
    "reference": {"color": MUTED, **_HOLLOW},
    "joined": {"lw": 1.2, **_JOINED},
    "limit": {"ls": "none", "marker": "s", "mfc": _BEYOND, "mec": INK, "mew": 1.2, "ms": 9},
    "sampled": {"ls": "none", "marker": "o", "mfc": "white", "mec": MUTED, "ms": 6, "mew": 1.4},
    "noisy": {"ls": "none", "marker": "o", "mfc": "none", "mec": MUTED, "ms": 9, "mew": 0.8},
}


def draw_lines(ax: Axes, frame: pd.DataFrame, x: str, y: str, styles: Styles) -> None:
    """A line per value of `line`, in the order of the rows, its interval behind it.

    Hollow: points that were not measured step by step. Ringed: noisy ones.
    """
    for name, points in _in_order(frame, styles).items():
        look = styles[name]
        _draw_interval(ax, points, x, y, color=look.color)
        ax.plot(points[x], points[y], color=look.color, ls=look.dash, marker=look.marker, **_POINT, zorder=3)
        sampled = points[points["source"] == sampling.SAMPLED]
        if len(sampled):
            ax.scatter(sampled[x], sampled[y], s=30, marker=look.marker, fc="white", ec=look.color, lw=1.4, zorder=3.3)
    noisy = frame[frame["noisy"].eq(True)]
    if len(noisy):
        ax.scatter(noisy[x], noisy[y], s=90, facecolors="none", edgecolors=MUTED, linewidths=0.8, zorder=3.5)


def _in_order(frame: pd.DataFrame, styles: Styles) -> dict[str, pd.DataFrame]:
    lines = {str(name): points for name, points in frame.groupby("line", sort=False)}
    return {name: lines[name] for name in styles if name in lines}


def _draw_interval(ax: Axes, points: pd.DataFrame, x: str, y: str, color: str) -> None:
    """Bars where x is measured, a band where it is set; nothing where the spread of y is not known."""
    bar: dict[str, Any] = {"colors": color, "lw": 1.3, "alpha": 0.55, "zorder": 2}
    if f"{x}_low" in points:
        ax.hlines(points[y], points[f"{x}_low"], points[f"{x}_high"], **bar)
    elif f"{y}_low" in points and len(points) == 1:
        ax.vlines(points[x], points[f"{y}_low"], points[f"{y}_high"], **bar)
    elif f"{y}_low" in points:
        ax.fill_between(points[x], points[f"{y}_low"], points[f"{y}_high"], color=color, alpha=0.18, lw=0, zorder=2)


def draw_references(ax: Axes, frame: pd.DataFrame, x: str, y: str, styles: Styles) -> None:
    """Published curves: hollow and dashed, so that nobody takes them for a measurement."""
    for name, points in _in_order(frame, styles).items():
        ax.plot(points[x], points[y], color=styles[name].color, zorder=2.8, **_HOLLOW)


def name_points(ax: Axes, frame: pd.DataFrame, x: str, y: str, along: str) -> None:
    """Points of one batch size are joined across the lines, and the leftmost of them says which one it is."""
    column, smallest = column_of(along), frame[along].min()
    look: dict[str, Any] = {"fontsize": 9, "color": MUTED, "zorder": 5, "path_effects": [HALO], "textcoords": "offset points"}
    for value, points in frame.sort_values(x).groupby(along):
        ax.plot(points[x], points[y], lw=0.8, zorder=1.8, **_JOINED)
        text = column.say(value) if value == smallest else column.show(value)
        ax.annotate(text, (points[x].iloc[0], points[y].iloc[0]), xytext=(-5, 4), ha="right", **look)


def draw_limit(ax: Axes, limit: pd.DataFrame) -> None:
    """Shade what the hardware cannot do at these batch sizes. Where larger ones would lead is not known, so the shade ends there."""
    x, y = [*limit["latency_s"].iloc[:1], *limit["latency_s"], *limit["latency_s"].iloc[-1:]], list(limit["output_tok_s"])
    (left, _), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    ax.fill([left, *x, left], [bottom, bottom, *y, top, top], color=_BEYOND, lw=0, zorder=0.5)
    ax.plot(x[:-1], [bottom, *y], color=INK, lw=1.3, zorder=1.6)


def draw_missing(ax: Axes, missing: pd.DataFrame, x: str, along: str | None, styles: Styles, share: float, caption: str) -> None:
    """What ran out of memory, in a lane that takes this share of the panel: a cross where it would stand.

    Where x is measured there is no such place, and the lane says the batch sizes of each line.
    """
    ax.add_patch(Rectangle((0, 1 - share), 1, share, transform=ax.transAxes, fc=PANEL, lw=0, zorder=1.4))
    look: dict[str, Any] = {"fontsize": 9, "va": "center", "transform": ax.transAxes, "zorder": 4}
    ax.text(-0.012, 1 - share / 2, caption, ha="right", color=MUTED, linespacing=0.95, **look)
    lines = _in_order(missing, styles)
    for i, (line, points) in enumerate(lines.items()):
        height, color = 1 - share * (i + 0.5) / len(lines), styles[line].color
        if along:
            lost = column_of(along).phrase.format(", ".join(map(column_of(along).show, sorted(points[along].unique()))))
            ax.text(0.012, height, f"{line}: {lost}" if line else lost, color=color, **look)
        else:
            crosses: dict[str, Any] = {"marker": "x", "s": 26, "lw": 1.7, "color": color, "zorder": 4, "clip_on": False}
            ax.scatter(points[x], [height] * len(points), transform=ax.get_xaxis_transform(), **crosses)


def mark(name: str, label: str) -> Artist:
    """What one kind of mark means, for the key."""
    return Line2D([], [], label=label, **_MARKS[name])


def line_key(styles: Styles) -> Iterator[Artist]:
    """The names of lines that cannot be named at their ends: of many panels, or where they would get lost."""
    for name, line in styles.items():
        if name:
            yield Line2D([], [], color=line.color, ls=line.dash, marker=line.marker, mec="white", ms=6.5, lw=2, label=name)
