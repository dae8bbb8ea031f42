"""What is drawn inside a panel: lines with their spread, published curves, equal batch sizes, out-of-memory lanes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
import seaborn as sns
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from bench.analysis.fields import field_of
from bench.analysis.style import AXIS, DASHED, HALO, INK, MUTED, PANEL, LineStyle
from bench.analysis.tables import repeats_in_words

# By the name of a line, in the order of their drawing.
Styles = Mapping[str, LineStyle]
_JOINED: Any = (0, (1, 2))
_BEYOND = "#E9EDF1"
_HOLLOW: dict[str, Any] = {"ls": DASHED, "lw": 1.2, "marker": "D", "ms": 5.6, "mfc": "white", "mew": 1.4}


def draw_lines(ax: Axes, frame: pd.DataFrame, x: str, y: str, styles: Styles) -> None:
    """A line per value of `line`, in the order of the rows, its spread behind it."""
    for line, points in frame.groupby("line", sort=False):
        _draw_spread(ax, points, x, y, styles[str(line)].color)
    sns.lineplot(
        frame,
        x=x,
        y=y,
        hue="line",
        hue_order=[line for line in styles if line in set(frame["line"])],
        style="line",
        palette={line: style.color for line, style in styles.items()},
        markers={line: style.marker for line, style in styles.items()},
        dashes={line: "" if style.dash == "solid" else style.dash[1] for line, style in styles.items()},
        sort=False,
        estimator=None,
        legend=False,
        markersize=6.2,
        markeredgecolor="white",
        markeredgewidth=0.9,
        ax=ax,
        zorder=3,
    )


def draw_small_lines(ax: Axes, frame: pd.DataFrame, x: str, y: str, styles: Styles) -> None:
    """The same for one panel of many, where seaborn's 100 ms a call would add up."""
    for line, points in frame.groupby("line", sort=False):
        style = styles[str(line)]
        _draw_spread(ax, points, x, y, style.color)
        look: dict[str, Any] = {"color": style.color, "marker": style.marker, "ls": style.dash, "ms": 5, "mec": "white", "mew": 0.8}
        ax.plot(points[x], points[y], zorder=3, **look)


def _draw_spread(ax: Axes, points: pd.DataFrame, x: str, y: str, color: str) -> None:
    """Bars where x is measured, a band where it is set; nothing where the repeats of y are not known."""
    if f"{x}_min" in points:
        ends = [points[x] - points[f"{x}_min"], points[f"{x}_max"] - points[x]]
        ax.errorbar(points[x], points[y], xerr=ends, fmt="none", ecolor=color, elinewidth=1.3, alpha=0.55, zorder=2)
    elif f"{y}_min" in points and len(points) > 1:
        ax.fill_between(points[x], points[f"{y}_min"], points[f"{y}_max"], color=color, alpha=0.18, lw=0, zorder=2)
    elif f"{y}_min" in points:
        ax.vlines(points[x], points[f"{y}_min"], points[f"{y}_max"], color=color, alpha=0.35, lw=3, zorder=2)


def draw_references(ax: Axes, frame: pd.DataFrame, x: str, y: str, styles: Styles) -> None:
    """Published curves: hollow and dashed, so that nobody takes them for a measurement."""
    for line, points in frame.groupby("line", sort=False):
        ax.plot(points[x], points[y], color=styles[str(line)].color, zorder=2.8, **_HOLLOW)


def draw_noisy(ax: Axes, frame: pd.DataFrame, x: str, y: str) -> None:
    noisy = frame[frame["noisy"].eq(True)]
    ax.scatter(noisy[x], noisy[y], s=90, facecolors="none", edgecolors=MUTED, linewidths=0.8, zorder=3.5)


def draw_equal(ax: Axes, frame: pd.DataFrame, x: str, y: str, along: str) -> None:
    """Points of different lines with the same batch size joined, and each batch size named once, at its right-most point."""
    for _, points in frame.groupby(along):
        ends = points.sort_values(x)
        ax.plot(ends[x], ends[y], color=AXIS, lw=0.8, ls=_JOINED, zorder=1.8)
    _name_points(ax, frame.sort_values(x).drop_duplicates(along, keep="last"), x, y, along)


def name_points(ax: Axes, frame: pd.DataFrame, x: str, y: str, along: str) -> None:
    """The batch size of every point."""
    for _, points in frame.groupby("line"):
        _name_points(ax, points, x, y, along)


def _name_points(ax: Axes, points: pd.DataFrame, x: str, y: str, along: str) -> None:
    field, smallest = field_of(along), points[along].min()
    for point in points[[x, y, along]].itertuples(index=False):
        text = field.say(point[2]) if point[2] == smallest else field.show(point[2])
        ax.annotate(
            text, point[:2], xytext=(5, -7), textcoords="offset points", fontsize=9, color=MUTED, va="top", zorder=5, path_effects=[HALO]
        )


def draw_limit(ax: Axes, limit: pd.DataFrame) -> None:
    """Shade what the hardware cannot do at these batch sizes. Where larger ones would lead is not known, so the shade ends there."""
    x, y = limit["latency_s"], limit["output_tok_s"]
    left, top = ax.get_xlim()[0], ax.get_ylim()[1]
    bottom = ax.get_ylim()[0]
    edge_x, edge_y = [x.iloc[0], *x, x.iloc[-1]], [bottom, *y, top]
    ax.fill([left, *edge_x, left], [bottom, *edge_y, top], color=_BEYOND, lw=0, zorder=0.5)
    ax.plot(edge_x[:-1], edge_y[:-1], color=INK, lw=1.3, zorder=1.6)


def draw_lane(lane: Axes, missing: pd.DataFrame, x: str, styles: Styles) -> None:
    """What ran out of memory, above the panel: a cross where it would stand."""
    _clear(lane)
    ranks = {line: rank for rank, line in enumerate(styles)}
    colors = [styles[line].color for line in missing["line"]]
    lane.set_ylim(-0.8, len(ranks) - 0.2)
    lane.scatter(missing[x], missing["line"].map(ranks), marker="x", s=26, lw=1.7, c=colors, zorder=3, clip_on=False)


def draw_lane_in_words(lane: Axes, missing: pd.DataFrame, along: str, styles: Styles) -> None:
    """The same where x is measured, so that there is no place for a cross: the batch sizes of each line."""
    _clear(lane)
    field = field_of(along)
    groups = list(missing.groupby("line", sort=False))
    for i, (name, points) in enumerate(groups):
        line = str(name)
        which = field.phrase.format(", ".join(field.show(value) for value in sorted(points[along].unique())))
        text = f"{line}: {which}" if line else which
        height = 1 - (i + 0.5) / len(groups)
        lane.text(0.012, height, text, transform=lane.transAxes, va="center", fontsize=9, color=styles[line].color)


def _clear(lane: Axes) -> None:
    lane.set_facecolor(PANEL)
    lane.grid(False)
    lane.spines["bottom"].set_visible(False)
    lane.tick_params(axis="both", length=0, labelbottom=False, labelleft=False)
    lane.text(-0.012, 0.5, "out of\nmemory", transform=lane.transAxes, va="center", ha="right", fontsize=9, color=MUTED, linespacing=0.95)


def handles(frame: pd.DataFrame, x: str, y: str, *, source: str | None, reference: str | None, joined: bool, limited: bool) -> list[Artist]:
    """The key: what the marks mean."""
    found: list[Artist] = []
    if len(frame):
        label = source or f"measured: {repeats_in_words(frame)}{_spread_in_words(frame, x, y)}"
        found.append(Line2D([], [], color=MUTED, marker="o", mec="white", ms=6, label=label))
    if reference:
        found.append(Line2D([], [], color=MUTED, label=reference, **_HOLLOW))
    if joined:
        found.append(Line2D([], [], color=AXIS, lw=1.2, ls=_JOINED, label="same batch size"))
    if limited:
        found.append(Patch(fc=_BEYOND, ec=INK, lw=1.2, label="beyond the hardware's limits"))
    if frame["noisy"].eq(True).any():
        found.append(Line2D([], [], ls="none", marker="o", mfc="none", mec=MUTED, ms=9, mew=0.8, label="noisy"))
    return found


def _spread_in_words(frame: pd.DataFrame, x: str, y: str) -> str:
    if not (frame["repeats"] > 1).any():
        return ""
    if f"{x}_min" in frame:
        return ", bar min to max"
    return ", band min to max" if f"{y}_min" in frame else ""


def line_handles(styles: Styles) -> list[Artist]:
    """The key to the lines, where they cannot be named at their ends."""
    return [
        Line2D([], [], color=style.color, ls=style.dash, marker=style.marker, mec="white", ms=6.5, lw=2, label=line)
        for line, style in styles.items()
    ]
