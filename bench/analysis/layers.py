"""What is drawn inside a panel: lines with their spread, published curves, equal batch sizes, what ran out of memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from bench.analysis import sampling
from bench.analysis.columns import column_of
from bench.analysis.style import AXIS, DASHED, HALO, INK, MUTED, PANEL, LineStyle

# By the name of a line, in the order of their drawing.
Styles = Mapping[str, LineStyle]
_BEYOND, _FAINT = "#E9EDF1", "#DADFE4"
_HOLLOW: dict[str, Any] = {"ls": DASHED, "lw": 1.2, "marker": "D", "ms": 5.6, "mfc": "white", "mew": 1.4}
_JOINED: dict[str, Any] = {"color": AXIS, "ls": (0, (1, 2))}
# How each mark looks in the key.
_MARKS: dict[str, dict[str, Any]] = {
    "measured": {"color": MUTED, "marker": "o", "mec": "white", "ms": 6},
    "reference": {"color": MUTED, **_HOLLOW},
    "joined": {"lw": 1.2, **_JOINED},
    "limit": {"ls": "none", "marker": "s", "mfc": _BEYOND, "mec": INK, "mew": 1.2, "ms": 9},
    "others": {"color": "#C3CAD1", "lw": 1.4},
    "sampled": {"ls": "none", "marker": "o", "mfc": "white", "mec": MUTED, "ms": 6, "mew": 1.4},
    "noisy": {"ls": "none", "marker": "o", "mfc": "none", "mec": MUTED, "ms": 9, "mew": 0.8},
}


def draw_lines(ax: Axes, frame: pd.DataFrame, x: str, y: str, styles: Styles) -> None:
    """A line per value of `line`, in the order of the rows, its interval behind it."""
    import seaborn as sns

    drawn = {name: styles[name] for name, _ in _in_order(frame, styles)}
    if not drawn:
        return
    for name, points in _in_order(frame, styles):
        _draw_interval(ax, points, x, y, styles[name].color)
    ax.set(xlabel=" ", ylabel=" ")  # without labels of its own seaborn looks through all ticks for a place for some
    look: dict[str, Any] = {
        "palette": {name: line.color for name, line in drawn.items()},
        "markers": {name: line.marker for name, line in drawn.items()},
        "dashes": {name: "" if line.dash == "solid" else line.dash[1] for name, line in drawn.items()},
    }
    edge = {"markersize": 6.2, "markeredgecolor": "white", "markeredgewidth": 0.9, "zorder": 3}
    as_they_are: dict[str, Any] = {"sort": False, "estimator": None, "legend": False}
    sns.lineplot(frame[["line", x, y]], x=x, y=y, hue="line", style="line", hue_order=[*drawn], ax=ax, **look, **edge, **as_they_are)


def _in_order(frame: pd.DataFrame, styles: Styles) -> Iterator[tuple[str, pd.DataFrame]]:
    lines = {str(name): points for name, points in frame.groupby("line", sort=False)}
    return ((name, lines[name]) for name in styles if name in lines)


def _draw_interval(ax: Axes, points: pd.DataFrame, x: str, y: str, color: str) -> None:
    """Bars where x is measured, a band where it is set; nothing where the spread of y is not known.

    One collection for all: a call of errorbar or fill_between costs several times as much.
    """
    bars = f"{x}_low" in points
    if not bars and f"{y}_low" not in points:
        return
    shape: Any
    if bars or len(points) == 1:
        ends = [f"{x}_low", y, f"{x}_high", y] if bars else [x, f"{y}_low", x, f"{y}_high"]
        shape = LineCollection(list(points[ends].to_numpy(float).reshape(-1, 2, 2)), colors=color, lw=1.3, alpha=0.55, zorder=2)
    else:
        low, high = (points[[x, f"{y}_{end}"]].to_numpy(float) for end in ("low", "high"))
        shape = PolyCollection([np.concatenate([low, high[::-1]])], fc=color, alpha=0.18, lw=0, zorder=2)
    ax.add_collection(shape, autolim=False)


def draw_references(ax: Axes, frame: pd.DataFrame, x: str, y: str, styles: Styles) -> None:
    """Published curves: hollow and dashed, so that nobody takes them for a measurement."""
    for name, points in _in_order(frame, styles):
        ax.plot(points[x], points[y], color=styles[name].color, zorder=2.8, **_HOLLOW)


def draw_faint(ax: Axes, frame: pd.DataFrame, x: str, y: str) -> None:
    """The lines of the neighbouring panels, to compare by eye."""
    strokes = [points[[x, y]].to_numpy(float) for _, points in frame.groupby("line", sort=False)]
    ax.add_collection(LineCollection(strokes, colors=_FAINT, lw=1.1, zorder=1), autolim=False)


def draw_marks(ax: Axes, frame: pd.DataFrame, x: str, y: str, styles: Styles) -> None:
    """Hollow, in the shape of their line: points that were not measured step by step. Ringed: noisy ones."""
    if sampling.key_of_sampled(frame):
        for name, points in _in_order(frame[frame["source"] == sampling.SAMPLED], styles):
            ax.scatter(points[x], points[y], s=30, marker=styles[name].marker, fc="white", ec=styles[name].color, lw=1.4, zorder=3.3)
    noisy = frame[frame["noisy"].eq(True)]
    if len(noisy):
        ax.scatter(noisy[x], noisy[y], s=90, facecolors="none", edgecolors=MUTED, linewidths=0.8, zorder=3.5)


def name_points(ax: Axes, frame: pd.DataFrame, x: str, y: str, along: str, *, joined: bool) -> None:
    """The batch size of every point; `joined`, those of the same batch size are, and each is named once, where no line has its name."""
    column, smallest = column_of(along), frame[along].min()
    below: dict[str, Any] = {"xytext": (5, -7), "va": "top"}
    above: dict[str, Any] = {"xytext": (-5, 5), "ha": "right", "va": "bottom"}
    look: dict[str, Any] = {"fontsize": 9, "color": MUTED, "zorder": 5, "path_effects": [HALO], "textcoords": "offset points"}
    for value, points in frame.sort_values(x).groupby(along):
        first = value == smallest
        if joined:
            ax.plot(points[x], points[y], lw=0.8, zorder=1.8, **_JOINED)
            points = points.tail(1) if first else points.head(1)
        for place in points[[x, y]].itertuples(index=False):
            ax.annotate((column.say if first else column.show)(value), place, **look, **(above if joined and not first else below))


def draw_limit(ax: Axes, limit: pd.DataFrame) -> None:
    """Shade what the hardware cannot do at these batch sizes. Where larger ones would lead is not known, so the shade ends there."""
    x, y = limit["latency_s"], limit["output_tok_s"]
    left, top = ax.get_xlim()[0], ax.get_ylim()[1]
    bottom = ax.get_ylim()[0]
    edge_x, edge_y = [x.iloc[0], *x, x.iloc[-1]], [bottom, *y, top]
    ax.fill([left, *edge_x, left], [bottom, *edge_y, top], color=_BEYOND, lw=0, zorder=0.5)
    ax.plot(edge_x[:-1], edge_y[:-1], color=INK, lw=1.3, zorder=1.6)


def draw_missing(ax: Axes, missing: pd.DataFrame, x: str, along: str | None, styles: Styles, share: float, caption: str) -> None:
    """What ran out of memory, in a lane that takes this share of the panel: a cross where it would stand.

    Where x is measured there is no such place, and the lane says the batch sizes of each line.
    """
    ax.add_patch(Rectangle((0, 1 - share), 1, share, transform=ax.transAxes, fc=PANEL, lw=0, zorder=1.4))
    look: dict[str, Any] = {"fontsize": 9, "va": "center", "transform": ax.transAxes, "zorder": 4}
    ax.text(-0.012, 1 - share / 2, caption, ha="right", color=MUTED, linespacing=0.95, **look)
    lines = [line for line in styles if missing["line"].eq(line).any()]
    heights = {line: 1 - share * (i + 0.5) / len(lines) for i, line in enumerate(lines)}
    if along is None:
        colors = [styles[line].color for line in missing["line"]]
        crosses = {"marker": "x", "s": 26, "lw": 1.7, "c": colors, "zorder": 4, "clip_on": False}
        ax.scatter(missing[x], missing["line"].map(heights), transform=ax.get_xaxis_transform(), **crosses)  # type: ignore[arg-type]
        return
    column = column_of(along)
    for line, height in heights.items():
        lost = sorted(missing.loc[missing["line"] == line, along].unique())
        which = column.phrase.format(", ".join(map(column.show, lost)))
        ax.text(0.012, height, f"{line}: {which}" if line else which, color=styles[line].color, **look)


def mark(name: str, label: str) -> Artist:
    """What one kind of mark means, for the key."""
    return Line2D([], [], label=label, **_MARKS[name])


def line_key(styles: Styles) -> Iterator[Artist]:
    """The lines of many panels, which cannot be named at their ends."""
    for name, line in styles.items():
        if name:
            yield Line2D([], [], color=line.color, ls=line.dash, marker=line.marker, mec="white", ms=6.5, lw=2, label=name)
