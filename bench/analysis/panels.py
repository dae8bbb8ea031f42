"""Small multiples: one panel per value of one or two columns, on shared axes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import NDArray

from bench.analysis import axes, marks, plots, style
from bench.analysis.columns import column_of
from bench.analysis.plots import Chart, Parts
from bench.analysis.settings import pooled_in_words

Cell = dict[str, Any]  # the value of each facet column

_FAINT = "#DADFE4"
_MISSING = "#F6E7E5"


@dataclass(frozen=True)
class Panel:
    ax: Axes
    cell: Cell
    neighbours: list[int]  # the places of the others in its row
    first: tuple[bool, bool]  # whether it is in the first row, and in the first column


def draw(chart: Chart, frame: pd.DataFrame, references: pd.DataFrame | None = None) -> Figure:
    """A panel per value of `chart.facet`; of two columns, the first makes the rows.

    Behind the lines of a panel stand, faint, those of the others in its row, to compare by eye.
    """
    parts = plots.sort_out(chart, frame, references)
    rows = _layout(chart, parts)
    height = 1.75 + 2.0 * len(rows)
    figure = style.new_figure(9.4, height)
    panels = _make_panels(figure, rows)
    figure.subplots_adjust(left=0.073, right=0.985, top=1 - 1.42 / height, bottom=0.68 / height, hspace=0.22, wspace=0.06)
    strokes = [_strokes(_in(panel.cell, parts.ok), chart) for panel in panels]
    for panel in panels:
        behind = [stroke for j in panel.neighbours for stroke in strokes[j]]
        panel.ax.add_collection(LineCollection(behind, colors=_FAINT, lw=1.1, zorder=1), autolim=False)
        _fill(panel, chart, parts)
    x_scale, y_scale = plots.set_scales(panels[0].ax, chart, parts)
    shaded = [_shade(panel, chart, parts, x_scale) for panel in panels]
    for panel in panels:
        _name(panel, chart)
    figure.text(0.53, 0.31 / height, axes.caption(chart.x, x_scale), ha="center", fontsize=10.5, color=style.MUTED)
    style.put_key(figure, _key(chart, parts, abreast=len(rows[0]), shaded=any(shaded)))
    told = [axes.caption(chart.y, y_scale), chart.subtitle, pooled_in_words(parts.ok), *marks.spread_in_words(parts.ok, chart.x, chart.y)]
    style.put_header(figure, chart.title, " · ".join(told), chart.footer, x=0.024)
    return figure


def _layout(chart: Chart, parts: Parts) -> list[list[Cell]]:
    """Which panel stands where: rows × columns for two facets, for one as many abreast as fit."""
    everything = pd.concat([parts.shown, parts.missing], ignore_index=True)
    values = [sorted(everything[column].dropna().unique()) for column in chart.facet]
    if len(values) == 2:
        return [[{chart.facet[0]: row, chart.facet[1]: column} for column in values[1]] for row in values[0]]
    cells = [{chart.facet[0]: value} for value in values[0]]
    abreast = 2 if len(cells) == 4 else 3
    return [cells[i : i + abreast] for i in range(0, len(cells), abreast)]


def _make_panels(figure: Figure, rows: list[list[Cell]]) -> list[Panel]:
    grid = figure.add_gridspec(len(rows), len(rows[0]))
    panels: list[Panel] = []
    for i, row in enumerate(rows):
        for j, cell in enumerate(row):
            first = panels[0].ax if panels else None
            ax = figure.add_subplot(grid[i, j], sharex=first, sharey=first)
            below = i + 1 < len(rows) and j < len(rows[i + 1])
            ax.tick_params(labelleft=j == 0, labelbottom=not below)
            start = len(panels) - j
            panels.append(Panel(ax, cell, [start + k for k in range(len(row)) if k != j], (i == 0, j == 0)))
    return panels


def _in(cell: Cell, frame: pd.DataFrame) -> pd.DataFrame:
    for column, value in cell.items():
        frame = frame[frame[column] == value]
    return frame


def _strokes(points: pd.DataFrame, chart: Chart) -> list[NDArray[np.float64]]:
    return [line[[chart.x, chart.y]].to_numpy(float) for _, line in points.groupby("line", sort=False)]


def _fill(panel: Panel, chart: Chart, parts: Parts) -> None:
    ok = _in(panel.cell, parts.ok)
    marks.draw_small_lines(panel.ax, ok, chart.x, chart.y, parts.styles)
    if parts.published is not None:
        marks.draw_references(panel.ax, _in(panel.cell, parts.published), chart.x, chart.y, parts.styles)
    marks.draw_noisy(panel.ax, ok, chart.x, chart.y)
    panel.ax.set(xlabel="", ylabel="")


def _shade(panel: Panel, chart: Chart, parts: Parts, scale: axes.Scale) -> bool:
    """From the first value on at which nothing fits into memory any more; whether there is one."""
    fits, lost = _in(panel.cell, parts.ok)[chart.x], _in(panel.cell, parts.missing)[chart.x]
    beyond = lost[lost > fits.max()] if len(fits) else lost
    if chart.along or scale.kind != "log" or beyond.empty:
        return False
    start = (beyond.min() * fits.max()) ** 0.5 if len(fits) else scale.low
    panel.ax.axvspan(start, scale.high, color=_MISSING, lw=0, zorder=0)
    at, middle = panel.ax.get_xaxis_transform(), (start * scale.high) ** 0.5
    panel.ax.text(middle, 0.035, "OOM", transform=at, fontsize=8.6, color=style.BAD, va="bottom", ha="center")
    return True


def _name(panel: Panel, chart: Chart) -> None:
    inside, above = (chart.facet[0], chart.facet[-1]) if len(chart.facet) == 2 else (None, chart.facet[0])
    if inside is None or panel.first[0]:
        style.fit(panel.ax.set_title(column_of(above).say(panel.cell[above]), pad=7), panel.ax.bbox.x1)
    if inside and panel.first[1]:
        name = column_of(inside).say(panel.cell[inside])
        panel.ax.text(0.025, 0.96, name, transform=panel.ax.transAxes, va="top", fontsize=11.5, fontweight="bold")


def _key(chart: Chart, parts: Parts, *, abreast: int, shaded: bool) -> list[Artist]:
    handles = marks.line_handles(parts.styles) if chart.line else []
    if abreast > 1:
        what = column_of(chart.facet[-1]).caption
        handles.append(Line2D([], [], color="#C3CAD1", lw=1.4, label=f"other {what[:1].lower()}{what[1:]}"))
    if shaded:
        handles.append(Patch(fc=_MISSING, label="out of memory"))
    return [*handles, *marks.noisy_handles(parts.ok)]
