"""What is drawn inside a panel: lines with their spread, published curves, equal batch sizes, what ran out of memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from bench.analysis import sampling
from bench.analysis.columns import column_of
from bench.analysis.settings import interval_in_words, pooled_in_words
from bench.analysis.style import AXIS, DASHED, HALO, INK, MUTED, PANEL, LineStyle

# By the name of a line, in the order of their drawing.
Styles = Mapping[str, LineStyle]
_JOINED: Any = (0, (1, 2))
_BEYOND, _FAINT = "#E9EDF1", "#DADFE4"
_HOLLOW: dict[str, Any] = {"ls": DASHED, "lw": 1.2, "marker": "D", "ms": 5.6, "mfc": "white", "mew": 1.4}


def draw_lines(ax: Axes, frame: pd.DataFrame, x: str, y: str, styles: Styles) -> None:
    """A line per value of `line`, in the order of the rows, its interval behind it."""
    import seaborn as sns

    drawn = dict(_in_order(frame, styles))
    for name, points in drawn.items():
        _draw_interval(ax, points, x, y, styles[name].color)
    if not drawn:
        return
    ax.set(xlabel=" ", ylabel=" ")  # without labels of its own seaborn looks through all ticks for a place for some
    sns.lineplot(
        frame[["line", x, y]],
        x=x,
        y=y,
        hue="line",
        style="line",
        hue_order=list(drawn),
        style_order=list(drawn),
        palette=[styles[name].color for name in drawn],
        markers=[styles[name].marker for name in drawn],
        dashes=["" if styles[name].dash == "solid" else styles[name].dash[1] for name in drawn],
        sort=False,
        estimator=None,
        legend=False,
        markersize=6.2,
        markeredgecolor="white",
        markeredgewidth=0.9,
        zorder=3,
        ax=ax,
    )


def _in_order(frame: pd.DataFrame, styles: Styles) -> Iterator[tuple[str, pd.DataFrame]]:
    lines = {str(name): points for name, points in frame.groupby("line", sort=False)}
    return ((name, lines[name]) for name in styles if name in lines)


def _draw_interval(ax: Axes, points: pd.DataFrame, x: str, y: str, color: str) -> None:
    """Bars where x is measured, a band where it is set; nothing where the spread of y is not known.

    One collection for all: a call of errorbar or fill_between costs several times as much.
    """
    if f"{x}_low" in points:
        ends = list(points[[f"{x}_low", y, f"{x}_high", y]].to_numpy(float).reshape(-1, 2, 2))
        ax.add_collection(LineCollection(ends, colors=color, lw=1.3, alpha=0.55, zorder=2), autolim=False)
    elif f"{y}_low" in points and len(points) > 1:
        low, high = (points[[x, f"{y}_{end}"]].to_numpy(float) for end in ("low", "high"))
        ax.add_collection(PolyCollection([np.concatenate([low, high[::-1]])], fc=color, alpha=0.18, lw=0, zorder=2), autolim=False)
    elif f"{y}_low" in points:
        ends = list(points[[x, f"{y}_low", x, f"{y}_high"]].to_numpy(float).reshape(-1, 2, 2))
        ax.add_collection(LineCollection(ends, colors=color, lw=3, alpha=0.35, zorder=2), autolim=False)


def draw_references(ax: Axes, frame: pd.DataFrame, x: str, y: str, styles: Styles) -> None:
    """Published curves: hollow and dashed, so that nobody takes them for a measurement."""
    for name, points in _in_order(frame, styles):
        ax.plot(points[x], points[y], color=styles[name].color, zorder=2.8, **_HOLLOW)


def draw_faint(ax: Axes, frame: pd.DataFrame, x: str, y: str) -> None:
    """The lines of the neighbouring panels, to compare by eye."""
    strokes = [points[[x, y]].to_numpy(float) for _, points in frame.groupby(["_cell", "line"], sort=False)]
    ax.add_collection(LineCollection(strokes, colors=_FAINT, lw=1.1, zorder=1), autolim=False)


def draw_sampled(ax: Axes, frame: pd.DataFrame, x: str, y: str, styles: Styles) -> None:
    """Points that were not measured step by step: hollow, in the shape of their line."""
    if sampling.key_of_sampled(frame) is None:
        return
    for name, points in _in_order(frame[frame["source"] == sampling.SAMPLED], styles):
        ax.scatter(points[x], points[y], s=30, marker=styles[name].marker, fc="white", ec=styles[name].color, lw=1.4, zorder=3.3)


def draw_noisy(ax: Axes, frame: pd.DataFrame, x: str, y: str) -> None:
    noisy = frame[frame["noisy"].eq(True)]
    if len(noisy):
        ax.scatter(noisy[x], noisy[y], s=90, facecolors="none", edgecolors=MUTED, linewidths=0.8, zorder=3.5)


def draw_equal(ax: Axes, frame: pd.DataFrame, x: str, y: str, along: str) -> None:
    """Points of different lines with the same batch size joined, and each batch size named once, where no line has its name."""
    for _, points in frame.groupby(along):
        ends = points.sort_values(x)
        ax.plot(ends[x], ends[y], color=AXIS, lw=0.8, ls=_JOINED, zorder=1.8)
    by_x, smallest = frame.sort_values(x), frame[along].min()
    _name_points(ax, by_x[by_x[along] == smallest].tail(1), x, y, along, column_of(along).say)
    _name_points(ax, by_x[by_x[along] > smallest].drop_duplicates(along), x, y, along, left=True)


def name_points(ax: Axes, frame: pd.DataFrame, x: str, y: str, along: str) -> None:
    """The batch size of every point."""
    for _, points in frame.groupby("line"):
        smallest = points[along] == points[along].min()
        _name_points(ax, points[smallest], x, y, along, column_of(along).say)
        _name_points(ax, points[~smallest], x, y, along)


def _name_points(
    ax: Axes, points: pd.DataFrame, x: str, y: str, along: str, say: Callable[[Any], str] | None = None, left: bool = False
) -> None:
    place: dict[str, Any] = {"xytext": (-5, 5), "ha": "right", "va": "bottom"} if left else {"xytext": (5, -7), "va": "top"}
    look: dict[str, Any] = {"fontsize": 9, "color": MUTED, "zorder": 5, "path_effects": [HALO]}
    for at_x, at_y, value in points[[x, y, along]].itertuples(index=False):
        ax.annotate((say or column_of(along).show)(value), (at_x, at_y), textcoords="offset points", **look, **place)


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


def handles(frame: pd.DataFrame, x: str, y: str, *, source: str | None, reference: str | None, joined: bool, limited: bool) -> list[Artist]:
    """The key: what the marks mean."""
    found: list[Artist] = []
    if len(frame):
        label = source or ", ".join([f"measured: {pooled_in_words(frame, y)}", *spread_in_words(frame, x, y)])
        found.append(Line2D([], [], color=MUTED, marker="o", mec="white", ms=6, label=label))
    if reference:
        found.append(Line2D([], [], color=MUTED, label=reference, **_HOLLOW))
    if joined:
        found.append(Line2D([], [], color=AXIS, lw=1.2, ls=_JOINED, label="same batch size"))
    if limited:
        found.append(Patch(fc=_BEYOND, ec=INK, lw=1.2, label="beyond the hardware's limits"))
    return [*found, *sampled_handles(frame), *noisy_handles(frame)]


def sampled_handles(frame: pd.DataFrame) -> list[Artist]:
    label = sampling.key_of_sampled(frame)
    return [Line2D([], [], ls="none", marker="o", mfc="white", mec=MUTED, ms=6, mew=1.4, label=label)] if label else []


def panel_handles(frame: pd.DataFrame, styles: Styles, others: str, reference: str | None) -> list[Artist]:
    """The key of many panels: the lines, which cannot be named at their ends."""
    lines: list[Artist] = [
        Line2D([], [], color=style.color, ls=style.dash, marker=style.marker, mec="white", ms=6.5, lw=2, label=line)
        for line, style in styles.items()
        if line
    ]
    faint = [Line2D([], [], color="#C3CAD1", lw=1.4, label=others)] if others else []
    theirs = [Line2D([], [], color=MUTED, label=reference, **_HOLLOW)] if reference else []
    return [*lines, *theirs, *faint, *sampled_handles(frame), *noisy_handles(frame)]


def noisy_handles(frame: pd.DataFrame) -> list[Artist]:
    ring = Line2D([], [], ls="none", marker="o", mfc="none", mec=MUTED, ms=9, mew=0.8, label="noisy")
    return [ring] if frame["noisy"].eq(True).any() else []


def spread_in_words(frame: pd.DataFrame, x: str, y: str) -> list[str]:
    """What the bars or bands around the lines show, where there are any."""
    shape = "bar" if f"{x}_low" in frame else "band" if f"{y}_low" in frame else None
    return [f"{shape}: {interval_in_words(frame)}"] if shape and (frame["repeats"] > 1).any() else []
