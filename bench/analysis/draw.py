"""Charts of settings: how one column follows another, with a line per value of a third, and a panel per value of a fourth."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import ceil
from textwrap import fill
from typing import Any

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.analysis import layers, sampling, scales, style
from bench.analysis.columns import GRID, column_of
from bench.analysis.layers import Styles
from bench.analysis.scales import Scale
from bench.analysis.settings import OUT_OF_MEMORY, facts, interval_in_words, pooled_in_words, provenance
from bench.results import Status

# Columns that decide how a point is drawn, and what the key says.
_TOLD = ("status", "framework", "noisy", "source", "sampling_error", "repeats", "rounds", "interval", "floor_s", *GRID)


@dataclass(frozen=True)
class Chart:
    """One question to a table of settings."""

    name: str  # of its files, or how it begins
    title: str
    x: str
    y: str
    line: tuple[str, ...] = ()  # a line per combination of these
    facet: tuple[str, ...] = ()  # a panel per value of one column, or of two: rows and columns
    cells: bool = False  # a heat map, which heatmap.py draws
    along: str | None = None  # what orders a line's points and names them, where x itself is measured
    x_scale: Scale | None = None  # default: what suits the data
    y_scale: Scale | None = None
    styles: Styles | None = None  # default: the house's
    source: str | None = None  # of the solid lines; default: measured, with the number of repeats
    reference: str | None = None  # of the hollow ones
    also: str = ""  # said beside what all points have in common
    footer: str = ""  # default: the provenance of the points
    named_by: tuple[str, ...] = ()  # columns whose value ends the name of the files, where all points have the same

    @property
    def told(self) -> tuple[str, ...]:
        """The columns that the chart itself shows."""
        return tuple(filter(None, (self.x, self.y, self.along, *self.line, *self.facet)))

    def subtitle(self, frame: pd.DataFrame) -> str:
        """What all points have in common."""
        return " · ".join(filter(None, [*facts(frame, self.told), self.also]))


@dataclass(frozen=True)
class Parts:
    """A table of settings, sorted into what is drawn in which way."""

    ok: pd.DataFrame
    missing: pd.DataFrame  # ran out of memory
    published: pd.DataFrame | None
    styles: Styles
    ordered: bool  # the lines stand for numbers
    limit: pd.DataFrame  # the latency and throughput that the hardware allows at each batch size, where all lines share it

    @property
    def shown(self) -> pd.DataFrame:
        return self.ok if self.published is None else pd.concat([self.published, self.ok], ignore_index=True)


@dataclass(frozen=True)
class Panel:
    ax: Axes
    cell: dict[str, Any]  # the value of each facet column; of a single chart, nothing
    row: int
    column: int

    def of(self, frame: pd.DataFrame) -> pd.DataFrame:
        for name, value in self.cell.items():
            frame = frame[frame[name] == value]
        return frame


def draw(chart: Chart, frame: pd.DataFrame, references: pd.DataFrame | None = None) -> Figure:
    """A panel per value of `chart.facet`, of two columns the first makes the rows; without, one panel.

    Lines of one panel are named at their ends, or in the key. What ran out of memory stands in a lane at the top of its panel,
    and `references` are hollow and dashed. Call it within `style.house_style()`.
    """
    parts = _sort_out(chart, frame, references)
    lane_in = _lane_in(chart, parts.missing)
    figure, panels = _make_panels(chart, parts, lane_in)
    share = lane_in / (lane_in + (1.5 if chart.facet else 3.4))  # of a panel
    if chart.x not in parts.shown.select_dtypes("number"):
        panels[0].ax.margins(x=0.15)
        panels[0].ax.xaxis.update_units(sorted(parts.shown[chart.x].unique()))  # type: ignore[no-untyped-call]  # in this order
    ax = panels[0].ax  # its scales are everybody's
    captions = _set_scales(ax, chart, parts, share)  # first: with free scales, each line would be looked through for its extent
    for panel in panels:
        _fill(panel, chart, parts, share)
    if len(parts.limit):
        layers.draw_limit(ax, parts.limit)
    _name_panels(panels, chart, captions[0])
    named = not chart.facet and style.put_end_labels(ax, list(_end_labels(chart, parts)))
    key = [*([] if named else layers.line_key(parts.styles)), *_key(chart, parts)]
    style.put_texts(figure, chart.title, chart.subtitle(frame), chart.footer or provenance(frame), key, captions[1])
    return figure


def line_names(frame: pd.DataFrame, columns: Sequence[str]) -> pd.Series:
    """What the line of each setting is called: hf · 1xA100-80GB."""
    said = [frame[column].map(column_of(column).say, na_action="ignore").astype(object) for column in columns]
    words = [[text for text in row if isinstance(text, str)] for row in zip(*said, strict=True)]
    return pd.Series([" · ".join(row) for row in words] if said else "", index=frame.index, dtype=object)


def _sort_out(chart: Chart, frame: pd.DataFrame, references: pd.DataFrame | None) -> Parts:
    ok = _named(chart, frame[frame["status"] == Status.ok].dropna(subset=[chart.x, chart.y]))
    missing = _named(chart, frame[frame["status"].isin(OUT_OF_MEMORY)])
    published = _named(chart, references) if references is not None else None
    lines = pd.concat([table for table in (ok, missing, published) if table is not None and len(table)]).drop_duplicates("line")
    lines = lines.sort_values(list(chart.line), kind="stable") if chart.line else lines
    ordered = len(chart.line) == 1 and chart.line[0] in lines.select_dtypes("number")
    limit = _limit(chart, ok if published is None else ok[:0])  # published curves ran on other hardware
    return Parts(ok, missing, published, chart.styles or _house_styles(chart, lines, ordered), ordered, limit)


def _named(chart: Chart, frame: pd.DataFrame) -> pd.DataFrame:
    """Sorted into lines, with the names of these, and only the columns that are drawn; an x without numbers in words."""
    axes = [f"{axis}{end}" for axis in (chart.x, chart.y) for end in ("", "_low", "_high")]
    named = frame.filter([*_TOLD, *{*axes, *chart.line, *chart.facet} - {*_TOLD}]).assign(line=line_names(frame, chart.line))
    named = named.sort_values([*chart.line, chart.along or chart.x], kind="stable", ignore_index=True)
    if chart.x not in frame.select_dtypes("number"):
        named[chart.x] = [fill(column_of(chart.x).say(value), 16) for value in named[chart.x]]
    return named


def _limit(chart: Chart, ok: pd.DataFrame) -> pd.DataFrame:
    none = pd.DataFrame({"latency_s": [], "output_tok_s": []})
    asked = (chart.x, chart.y, chart.along, chart.facet) == ("latency_s", "output_tok_s", "batch_size", ()) and not chart.x_scale
    if not asked or "floor_s" not in ok or ok["floor_s"].isna().any() or ok["output_tokens"].nunique() != 1:
        return none
    floors = ok.groupby("batch_size")["floor_s"].agg(["min", "max"])
    if (floors["max"] / floors["min"] >= 1.02).any():
        return none
    return pd.DataFrame({"latency_s": floors["min"], "output_tok_s": floors.index * ok["output_tokens"].iloc[0] / floors["min"]})


def _house_styles(chart: Chart, lines: pd.DataFrame, ordered: bool) -> Styles:
    frameworks = lines["framework"].tolist() if "framework" in chart.line else [None] * len(lines)
    return dict(zip(lines["line"], style.ordered_styles(len(lines)) if ordered else style.unordered_styles(frameworks), strict=True))


def _make_panels(chart: Chart, parts: Parts, lane_in: float) -> tuple[Figure, list[Panel]]:
    """Rows × columns for two facets, for one as many abreast as fit."""
    everything = pd.concat([parts.shown, parts.missing], ignore_index=True)
    values = [sorted(everything[column].dropna().unique()) for column in chart.facet]
    cells = [dict(zip(chart.facet, cell, strict=True)) for cell in product(*values)]
    abreast = len(values[1]) if len(values) == 2 else min(len(cells), 2 if len(cells) == 4 else 3)
    rows = ceil(len(cells) / abreast)
    figure = style.new_figure(*((9.4, 1.9 + (2.0 + lane_in) * rows) if chart.facet else (6.4, 5.0 + lane_in)))
    axes = figure.subplots(rows, abreast, sharex=True, sharey=True, squeeze=False).flat
    for empty in axes[len(cells) :]:
        empty.remove()
    for i, ax in enumerate(axes[: len(cells)]):
        is_lowest = i >= len(cells) - abreast
        ax.tick_params(labelbottom=is_lowest)
        ax.xaxis.set_in_layout(is_lowest)  # axes without labels need no room
        ax.yaxis.set_in_layout(i % abreast == 0)
    return figure, [Panel(ax, cell, *divmod(i, abreast)) for i, (ax, cell) in enumerate(zip(axes, cells, strict=False))]


def _lane_in(chart: Chart, missing: pd.DataFrame) -> float:
    """How high the lane of what ran out of memory is: a line of crosses, or of words, for each line of the panel that lost most."""
    lost = missing.drop_duplicates(["line", *chart.facet])
    lines = lost.groupby(list(chart.facet)).size().max() if chart.facet else len(lost)
    caption_in = 0.2 if chart.facet else 0.34
    return max(caption_in, (0.19 if chart.along else 0.12) * lines) if len(lost) else 0.0


def _fill(panel: Panel, chart: Chart, parts: Parts, share: float) -> None:
    ax, ok, missing = panel.ax, panel.of(parts.ok), panel.of(parts.missing)
    if chart.along:
        ax.grid(True, axis="both")
    if chart.along and not chart.facet:
        layers.name_points(ax, parts.shown, chart.x, chart.y, chart.along)
    layers.draw_lines(ax, ok, chart.x, chart.y, parts.styles)
    if parts.published is not None:
        layers.draw_references(ax, panel.of(parts.published), chart.x, chart.y, parts.styles)
    if len(missing):
        caption = "OOM" if chart.facet else "out of\nmemory"
        layers.draw_missing(ax, missing, chart.x, chart.along, parts.styles, share, caption if panel.column == 0 else "")
    ax.set(xlabel="", ylabel="")


def _set_scales(ax: Axes, chart: Chart, parts: Parts, share: float) -> tuple[str, str]:
    """Both axes, from everything that is shown, its spread, and what is missing; return their captions."""
    x_caption = column_of(chart.x).caption
    if chart.x in parts.shown.select_dtypes("number"):
        also = parts.limit if chart.along else parts.missing
        x_scale = chart.x_scale or scales.scale_for(chart.x, pd.concat([_extent(parts.shown, chart.x), _extent(also, chart.x)]), 0.07)
        if chart.facet and chart.along:  # in narrow panels, times need more room than batch sizes
            x_scale = replace(x_scale, ticks=tuple(scales.uncrowded(x_scale.ticks, share=0.17)))
        scales.apply(ax.xaxis, x_scale, column_of(chart.x).show)
        x_caption = scales.caption(chart.x, x_scale)
    room = 0.08 + 0.012 * len(parts.styles)  # names may stand over their lines
    # Where x is measured, its spread alone is drawn.
    y_seen = parts.shown[chart.y] if f"{chart.x}_low" in parts.ok else _extent(parts.shown, chart.y)
    y_values = pd.concat([y_seen, _extent(parts.limit, chart.y)])
    y_scale = (chart.y_scale or scales.scale_for(chart.y, y_values, room)).raised(share)
    scales.apply(ax.yaxis, y_scale, column_of(chart.y).show)
    return x_caption, scales.caption(chart.y, y_scale)


def _extent(frame: pd.DataFrame, column: str) -> pd.Series:
    values: Any = frame.filter([column, f"{column}_low", f"{column}_high"]).astype(float)
    return pd.Series(values.to_numpy().ravel()).dropna()


def _name_panels(panels: Sequence[Panel], chart: Chart, x_caption: str) -> None:
    for panel in panels:
        *row, column = [column_of(name).say(value) for name, value in panel.cell.items()] or [""]
        if not row or panel.row == 0:
            panel.ax.set_title(fill(column, 36))
        if row and panel.column == 0:
            panel.ax.set_ylabel(fill(row[0], 24), fontsize=11.5, fontweight="bold", color=style.INK)
    [*_, lowest] = (panel for panel in panels if panel.column == 0)
    lowest.ax.set_xlabel(x_caption)


def _key(chart: Chart, parts: Parts) -> Iterator[Artist]:
    """What the marks mean, of those that are drawn."""
    several = chart.along and not chart.facet and parts.shown["line"].nunique() > 1
    labels = {
        "measured": (chart.source or f"measured: {', '.join(_pooled(chart, parts.ok))}") if len(parts.ok) else "",
        "reference": chart.reference,
        "joined": "same batch size" if several else "",
        "limit": "beyond the hardware's limits" if len(parts.limit) else "",
        "sampled": sampling.key_of_sampled(parts.ok),
        "noisy": "noisy" if parts.ok["noisy"].eq(True).any() else "",
    }
    yield from (layers.mark(name, label) for name, label in labels.items() if label)


def _pooled(chart: Chart, ok: pd.DataFrame) -> Iterator[str]:
    """What a point stands for, and the bars or bands around the lines, where there are any."""
    yield pooled_in_words(ok, chart.y)
    shape = "bar" if f"{chart.x}_low" in ok else "band" if f"{chart.y}_low" in ok else None
    if shape and (ok["repeats"] > 1).any():
        yield f"{shape}: {interval_in_words(ok)}"


def _end_labels(chart: Chart, parts: Parts) -> Iterator[style.EndLabel]:
    """The names of the lines; of numbers only the topmost says what it counts."""
    if not chart.line:
        return
    ends = parts.shown.groupby("line", sort=False).last()
    top, column = ends[chart.y].idxmax(), column_of(chart.line[0])
    for line, end in ends.iterrows():
        text = column.show(end[column.name]) if parts.ordered and line != top else str(line)
        yield style.EndLabel(x=end[chart.x], y=end[chart.y], text=text, color=parts.styles[str(line)].color)
