"""Charts of settings: how one column follows another, with a line per value of a third, and a panel per value of a fourth."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from math import ceil
from typing import Any

import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.analysis import layers, sampling, scales, style
from bench.analysis.columns import column_of, word
from bench.analysis.layers import Styles
from bench.analysis.scales import Scale
from bench.analysis.settings import OUT_OF_MEMORY, interval_in_words, pooled_in_words
from bench.results import Status


@dataclass(frozen=True)
class Chart:
    """One question to a table of settings."""

    name: str  # of its files
    title: str
    x: str
    y: str
    subtitle: str = ""
    footer: str = ""
    line: tuple[str, ...] = ()  # a line per combination of these
    facet: tuple[str, ...] = ()  # a panel per value of one column, or of two: rows and columns
    along: str | None = None  # what orders a line's points and names them, where x itself is measured
    x_scale: Scale | None = None  # default: what suits the data
    y_scale: Scale | None = None
    styles: Styles | None = None  # default: the house's
    source: str | None = None  # of the solid lines; default: measured, with the number of repeats
    reference: str | None = None  # of the hollow ones


@dataclass(frozen=True)
class Parts:
    """A table of settings, sorted into what is drawn in which way."""

    ok: pd.DataFrame
    missing: pd.DataFrame  # ran out of memory
    published: pd.DataFrame | None
    styles: Styles
    ordered: bool  # the lines stand for numbers
    limit: pd.DataFrame  # the latency and throughput that the hardware allows at each batch size, where all lines share it
    categories: tuple[str, ...]  # of an x axis without numbers, whose values are replaced by their positions

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
    """A panel per value of `chart.facet`, of two columns the first makes the rows; without, one panel whose lines have their names.

    What ran out of memory stands in a lane at the top of its panel, `references` are hollow and dashed, and the lines of a
    row's other panels are faint. Call it and save the figure within `style.house_style()`.
    """
    parts = _sort_out(chart, frame, references)
    figure, panels = _make_panels(chart, parts)
    share = _lane_share(chart, parts, panels)
    x_scale, y_scale = _scales(chart, parts, share)
    for panel in panels:
        _fill(panel, [other for other in panels if other.row == panel.row and other is not panel], chart, parts, share)
    ax = panels[0].ax  # its scales are everybody's; after the lines: seaborn would take values through a log axis and back
    scales.apply(ax.xaxis, x_scale, lambda value: parts.categories[int(value)] if parts.categories else column_of(chart.x).show(value))
    scales.apply(ax.yaxis, y_scale, column_of(chart.y).show)
    if len(parts.limit):
        layers.draw_limit(ax, parts.limit)
    told = [scales.caption(chart.x, x_scale), scales.caption(chart.y, y_scale)]
    (_finish_panels if chart.facet else _finish_single)(figure, panels, chart, parts, *told)
    return figure


def line_names(frame: pd.DataFrame, columns: Sequence[str]) -> pd.Series:
    """What the line of each setting is called: hf · 1xA100-80GB."""
    said = [frame[column].map(column_of(column).say, na_action="ignore").astype(object) for column in columns]
    words = [[text for text in row if isinstance(text, str)] for row in zip(*said, strict=True)]
    return pd.Series([" · ".join(row) for row in words] if said else "", index=frame.index, dtype=object)


def _sort_out(chart: Chart, frame: pd.DataFrame, references: pd.DataFrame | None) -> Parts:
    named, categories = _positioned(chart, _named(chart, frame))
    published = _named(chart, references) if references is not None else None
    every_line = named if published is None else pd.concat([named, published], ignore_index=True)
    every_line = every_line.sort_values(list(chart.line), kind="stable") if chart.line else every_line
    numbers = every_line.select_dtypes("number")
    ordered = len(chart.line) == 1 and chart.line[0] in numbers
    ok = named[named["status"] == Status.ok].dropna(subset=[chart.x, chart.y])
    return Parts(
        ok=ok,
        missing=named[named["status"].isin(OUT_OF_MEMORY)],
        published=published,
        styles=chart.styles or _house_styles(chart, every_line.drop_duplicates("line"), ordered),
        ordered=ordered,
        limit=_limit(chart, ok if published is None else ok[:0]),  # published curves ran on other hardware
        categories=categories,
    )


def _limit(chart: Chart, ok: pd.DataFrame) -> pd.DataFrame:
    none = pd.DataFrame({"latency_s": [], "output_tok_s": []})
    asked = (chart.x, chart.y, chart.along, chart.facet) == ("latency_s", "output_tok_s", "batch_size", ()) and not chart.x_scale
    if not asked or "floor_s" not in ok or ok["floor_s"].isna().any() or ok["output_tokens"].nunique() != 1:
        return none
    floors = ok.groupby("batch_size")["floor_s"].agg(["min", "max"])
    if (floors["max"] / floors["min"] >= 1.02).any():
        return none
    return pd.DataFrame({"latency_s": floors["min"], "output_tok_s": floors.index * ok["output_tokens"].iloc[0] / floors["min"]})


def _named(chart: Chart, frame: pd.DataFrame) -> pd.DataFrame:
    named = frame.assign(line=line_names(frame, chart.line))
    return named.sort_values([*chart.line, chart.along or chart.x], kind="stable", ignore_index=True)


def _positioned(chart: Chart, frame: pd.DataFrame) -> tuple[pd.DataFrame, tuple[str, ...]]:
    if chart.x in frame.select_dtypes("number"):
        return frame, ()
    codes, categories = pd.factorize(frame[chart.x].map(column_of(chart.x).say), sort=True)
    return frame.assign(**{chart.x: codes}), tuple(categories)


def _house_styles(chart: Chart, lines: pd.DataFrame, ordered: bool) -> Styles:
    frameworks = lines["framework"].tolist() if "framework" in chart.line else [None] * len(lines)
    return dict(zip(lines["line"], style.ordered_styles(len(lines)) if ordered else style.unordered_styles(frameworks), strict=True))


def _joins_points(chart: Chart, parts: Parts) -> bool:
    return chart.along is not None and parts.shown["line"].nunique() > 1 and not parts.ordered


def _make_panels(chart: Chart, parts: Parts) -> tuple[Figure, list[Panel]]:
    """Rows × columns for two facets, for one as many abreast as fit."""
    everything = pd.concat([parts.shown, parts.missing], ignore_index=True)
    values = [sorted(everything[column].dropna().unique()) for column in chart.facet]
    cells = [dict(zip(chart.facet, cell, strict=True)) for cell in product(*values)]
    abreast = len(values[1]) if len(values) == 2 else min(len(cells), 2 if len(cells) == 4 else 3)
    rows = ceil(len(cells) / abreast)
    width, height = (9.4, 1.75 + 2.0 * rows) if chart.facet else (6.4, 5.0)
    figure = style.new_figure(width, height)
    axes = figure.subplots(rows, abreast, sharex=True, sharey=True, squeeze=False).flat
    if chart.facet:
        figure.subplots_adjust(left=0.083, right=0.985, top=1 - 1.42 / height, bottom=0.68 / height, hspace=0.22, wspace=0.06)
    else:
        figure.subplots_adjust(left=0.125, right=0.92, top=0.745, bottom=0.145 + 0.032 * chart.footer.count("\n"))
    for empty in axes[len(cells) :]:
        empty.remove()
    for lowest in axes[max(len(cells) - abreast, 0) : len(cells)]:
        lowest.tick_params(labelbottom=True)
    return figure, [Panel(ax, cell, *divmod(i, abreast)) for i, (ax, cell) in enumerate(zip(axes, cells, strict=False))]


def _lane_share(chart: Chart, parts: Parts, panels: list[Panel]) -> float:
    """How much of each panel the lane of what ran out of memory takes."""
    lines = max(panel.of(parts.missing)["line"].nunique() for panel in panels)
    height_in = panels[0].ax.get_window_extent().height / panels[0].ax.figure.dpi
    least = 0.2 if chart.facet else 0.34  # its caption's height
    return min(0.45, max(least, (0.17 if chart.along else 0.11) * lines) / height_in) if lines else 0.0


def _scales(chart: Chart, parts: Parts, share: float) -> tuple[Scale, Scale]:
    """Both axes, from everything that is shown, its spread, and what is missing."""
    also = parts.limit if chart.along else parts.missing
    x_values = pd.concat([_extent(parts.shown, chart.x), _extent(also, chart.x)])
    y_values = pd.concat([_extent(parts.shown, chart.y), _extent(parts.limit, chart.y)])
    x_scale = chart.x_scale or scales.scale_for(chart.x, x_values, headroom=0.07)
    if parts.categories:
        x_scale = Scale("linear", -0.4, len(parts.categories) - 0.6, tuple(range(len(parts.categories))))
    room = 0.08 + 0.012 * len(parts.styles)  # names may stand over their lines
    y_scale = chart.y_scale or scales.scale_for(chart.y, y_values, headroom=room)
    return x_scale, y_scale.raised(share)


def _extent(frame: pd.DataFrame, column: str) -> pd.Series:
    spread = [name for name in (column, f"{column}_low", f"{column}_high") if name in frame]
    return pd.Series([value for name in spread for value in frame[name].dropna()], dtype=float)


def _fill(panel: Panel, others: Sequence[Panel], chart: Chart, parts: Parts, share: float) -> None:
    ax, ok, missing = panel.ax, panel.of(parts.ok), panel.of(parts.missing)
    for other in others:
        layers.draw_faint(ax, other.of(parts.ok), chart.x, chart.y)
    if chart.along:
        ax.grid(True, axis="both")
    if chart.along and not chart.facet:
        layers.name_points(ax, parts.shown, chart.x, chart.y, chart.along, joined=_joins_points(chart, parts))
    layers.draw_lines(ax, ok, chart.x, chart.y, parts.styles)
    if parts.published is not None:
        layers.draw_references(ax, panel.of(parts.published), chart.x, chart.y, parts.styles)
    layers.draw_marks(ax, ok, chart.x, chart.y, parts.styles)
    if len(missing):
        caption = "OOM" if chart.facet else "out of\nmemory"
        layers.draw_missing(ax, missing, chart.x, chart.along, parts.styles, share, caption if panel.column == 0 else "")
    ax.set(xlabel="", ylabel="")


def _finish_single(figure: Figure, panels: Sequence[Panel], chart: Chart, parts: Parts, x_caption: str, y_caption: str) -> None:
    [ax] = (panel.ax for panel in panels)
    style.put_caption(ax, y_caption)
    ax.set_xlabel(x_caption)
    style.fit_right(figure, style.put_end_labels(ax, list(_end_labels(chart, parts))))
    source = chart.source or f"measured: {', '.join(_pooled(chart, parts))}"
    measured = [layers.mark("measured", source)] if len(parts.ok) else []
    joined = "same batch size" if _joins_points(chart, parts) else ""
    limit = "beyond the hardware's limits" if len(parts.limit) else ""
    style.put_key(figure, [*measured, *_key(chart, parts, joined=joined, limit=limit)])
    style.put_header(figure, chart.title, chart.subtitle, chart.footer)


def _finish_panels(figure: Figure, panels: Sequence[Panel], chart: Chart, parts: Parts, x_caption: str, y_caption: str) -> None:
    inside, above = (chart.facet[0], chart.facet[-1]) if len(chart.facet) == 2 else (None, chart.facet[0])
    for panel in panels:
        if inside is None or panel.row == 0:
            style.fit(panel.ax.set_title(column_of(above).say(panel.cell[above]), pad=7), panel.ax.bbox.x1)
        if inside and panel.column == 0:
            look: dict[str, Any] = {"rotation": 90, "va": "center", "ha": "left", "fontsize": 11.5, "fontweight": "bold"}
            low, high = panel.ax.get_position().y0, panel.ax.get_position().y1
            figure.text(0.006, (low + high) / 2, column_of(inside).say(panel.cell[inside]), **look)
    height = figure.get_figheight()
    figure.text(0.53, 0.31 / height, x_caption, ha="center", fontsize=10.5, color=style.MUTED)
    others = f"other {word(above)}" if any(panel.column for panel in panels) else ""
    style.put_key(figure, [*layers.line_key(parts.styles), *_key(chart, parts, others=others)])
    told = [y_caption, chart.subtitle, *_pooled(chart, parts)]
    style.put_header(figure, chart.title, " · ".join(told), chart.footer, x=0.024)


def _key(chart: Chart, parts: Parts, **drawn: str) -> Iterator[Artist]:
    """What the marks mean, of those that are `drawn`, and of those that every chart may have."""
    noisy = "noisy" if parts.ok["noisy"].eq(True).any() else ""
    labels = {"reference": chart.reference, **drawn, "sampled": sampling.key_of_sampled(parts.ok), "noisy": noisy}
    return (layers.mark(name, label) for name, label in labels.items() if label)


def _pooled(chart: Chart, parts: Parts) -> list[str]:
    """What a point stands for, and the bars or bands around the lines, where there are any."""
    shape = "bar" if f"{chart.x}_low" in parts.ok else "band" if f"{chart.y}_low" in parts.ok else None
    spread = [f"{shape}: {interval_in_words(parts.ok)}"] if shape and (parts.ok["repeats"] > 1).any() else []
    return [pooled_in_words(parts.ok, chart.y), *spread]


def _end_labels(chart: Chart, parts: Parts) -> Iterator[style.EndLabel]:
    """The names of the lines; of numbers only the topmost says what it counts."""
    if not chart.line:
        return
    ends = parts.shown.groupby("line", sort=False).last()
    top, column = ends[chart.y].idxmax(), column_of(chart.line[0])
    for line, end in ends.iterrows():
        text = column.show(end[column.name]) if parts.ordered and line != top else str(line)
        yield style.EndLabel(x=end[chart.x], y=end[chart.y], text=text, color=parts.styles[str(line)].color)
