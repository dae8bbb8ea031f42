"""Charts of settings: how one column follows another, with a line per value of a third."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.analysis import axes, marks, style
from bench.analysis.axes import Scale
from bench.analysis.columns import column_of
from bench.analysis.marks import Styles
from bench.analysis.settings import OUT_OF_MEMORY
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
    limit: pd.DataFrame  # the latency and throughput that the hardware allows at each batch size, where all lines share it
    categories: tuple[str, ...]  # of an x axis without numbers, whose values are replaced by their positions

    @property
    def shown(self) -> pd.DataFrame:
        return self.ok if self.published is None else pd.concat([self.published, self.ok], ignore_index=True)


def draw(chart: Chart, frame: pd.DataFrame, references: pd.DataFrame | None = None) -> Figure:
    """One panel: lines named at their ends, what ran out of memory in a lane above, `references` hollow and dashed.

    Call it and save the figure within `style.house_style()`.
    """
    parts = sort_out(chart, frame, references)
    figure = style.new_figure(6.4, 5.0)
    ax, lane = _make_axes(figure, chart, parts)
    _draw_panel(ax, chart, parts)
    if lane is not None and chart.along:
        marks.draw_lane_in_words(lane, parts.missing, chart.along, parts.styles)
    elif lane is not None:
        marks.draw_lane(lane, parts.missing, chart.x, parts.styles)
    style.fit_right(figure, style.put_end_labels(ax, _end_labels(chart, parts)))
    joined, limited = _joins_points(chart, parts), len(parts.limit) > 0
    named = {"source": chart.source, "reference": chart.reference}
    style.put_key(figure, marks.handles(parts.ok, chart.x, chart.y, **named, joined=joined, limited=limited))
    style.put_header(figure, chart.title, chart.subtitle, chart.footer)
    return figure


def sort_out(chart: Chart, frame: pd.DataFrame, references: pd.DataFrame | None = None) -> Parts:
    named, categories = _positioned(chart, _named(chart, frame))
    published = _named(chart, references) if references is not None else None
    every_line = named if published is None else pd.concat([named, published], ignore_index=True)
    ok = named[named["status"] == Status.ok].dropna(subset=[chart.x, chart.y])
    return Parts(
        ok=ok,
        limit=_limit(chart, ok if published is None else ok[:0]),  # published curves ran on other hardware
        missing=named[named["status"].isin(OUT_OF_MEMORY)],
        published=published,
        styles=chart.styles or _house_styles(chart, every_line),
        categories=categories,
    )


def _limit(chart: Chart, ok: pd.DataFrame) -> pd.DataFrame:
    none = pd.DataFrame({"latency_s": [], "output_tok_s": []})
    asked = (chart.x, chart.y, chart.along) == ("latency_s", "output_tok_s", "batch_size") and not chart.x_scale
    if not asked or "floor_s" not in ok or ok["floor_s"].isna().any() or ok["output_tokens"].nunique() != 1:
        return none
    floors = ok.groupby("batch_size")["floor_s"].agg(["min", "max"])
    if (floors["max"] / floors["min"] >= 1.02).any():
        return none
    return pd.DataFrame({"latency_s": floors["min"], "output_tok_s": floors.index * ok["output_tokens"].iloc[0] / floors["min"]})


def line_names(frame: pd.DataFrame, columns: Sequence[str]) -> pd.Series:
    """What the line of each setting is called: hf · 1xA100-80GB."""
    said = [frame[column].map(column_of(column).say, na_action="ignore").astype(object) for column in columns]
    words = [[word for word in row if isinstance(word, str)] for row in zip(*said, strict=True)]
    return pd.Series([" · ".join(row) for row in words] if said else "", index=frame.index, dtype=object)


def _named(chart: Chart, frame: pd.DataFrame) -> pd.DataFrame:
    told = ("status", "noisy", "repeats", "interval", "floor_s", "batch_size", "output_tokens", chart.along, *chart.line, *chart.facet)
    drawn = [f"{axis}{end}" for axis in (chart.x, chart.y) for end in ("", "_low", "_high")]
    named = frame[[column for column in frame if column in {*told, *drawn}]].assign(line=line_names(frame, chart.line))
    return named.sort_values([*chart.line, chart.along or chart.x], kind="stable", ignore_index=True)


def _positioned(chart: Chart, frame: pd.DataFrame) -> tuple[pd.DataFrame, tuple[str, ...]]:
    if pd.api.types.is_numeric_dtype(frame[chart.x]) and not pd.api.types.is_bool_dtype(frame[chart.x]):
        return frame, ()
    codes, categories = pd.factorize(frame[chart.x].map(column_of(chart.x).say), sort=True)
    return frame.assign(**{chart.x: codes}), tuple(categories)


def _house_styles(chart: Chart, frame: pd.DataFrame) -> Styles:
    by_value = frame.sort_values(list(chart.line), kind="stable") if chart.line else frame
    names = list(dict.fromkeys(by_value["line"]))
    found = style.ordered_styles(len(names)) if _ordered(chart, frame) else style.unordered_styles(names)
    return dict(zip(names, found, strict=True))


def _ordered(chart: Chart, frame: pd.DataFrame) -> bool:
    """Whether the lines stand for numbers."""
    return len(chart.line) == 1 and pd.api.types.is_numeric_dtype(frame[chart.line[0]])


def _joins_points(chart: Chart, parts: Parts) -> bool:
    return chart.along is not None and parts.shown["line"].nunique() > 1 and not _ordered(chart, parts.shown)


def _make_axes(figure: Figure, chart: Chart, parts: Parts) -> tuple[Axes, Axes | None]:
    top = 0.79 if chart.y_scale is None else 0.75
    figure.subplots_adjust(left=0.115, right=0.92, top=top, bottom=0.145 + 0.032 * chart.footer.count("\n"), hspace=0.045)
    if parts.missing.empty:
        return figure.add_subplot(), None
    lane_in = max(0.33, (0.16 if chart.along else 0.1) * parts.missing["line"].nunique())  # at least its caption's height
    grid = figure.add_gridspec(2, 1, height_ratios=[lane_in, figure.get_figheight() * 0.645 - lane_in])
    ax = figure.add_subplot(grid[1])
    return ax, figure.add_subplot(grid[0], sharex=None if chart.along else ax)


def _draw_panel(ax: Axes, chart: Chart, parts: Parts) -> None:
    if chart.along:
        ax.grid(True, axis="both")
        draw_along = marks.draw_equal if _joins_points(chart, parts) else marks.name_points
        draw_along(ax, parts.shown, chart.x, chart.y, chart.along)
    marks.draw_lines(ax, parts.ok, chart.x, chart.y, parts.styles)
    if parts.published is not None:
        marks.draw_references(ax, parts.published, chart.x, chart.y, parts.styles)
    marks.draw_noisy(ax, parts.ok, chart.x, chart.y)
    x_scale, y_scale = set_scales(ax, chart, parts)
    if len(parts.limit):
        marks.draw_limit(ax, parts.limit)
    style.put_caption(ax, axes.caption(chart.y, y_scale), inside=chart.y_scale is None)
    ax.set(xlabel=axes.caption(chart.x, x_scale), ylabel="")


def set_scales(ax: Axes, chart: Chart, parts: Parts) -> tuple[Scale, Scale]:
    """Both axes, from everything that is shown, its spread, and what is missing."""
    positions = list(range(len(parts.categories)))
    also = parts.limit if chart.along else parts.missing
    x_values = pd.concat([_extent(parts.shown, chart.x), _extent(also, chart.x)])
    y_values = pd.concat([_extent(parts.shown, chart.y), _extent(parts.limit, chart.y)])
    x_scale = chart.x_scale or axes.scale_for(chart.x, x_values, headroom=0.07)
    if parts.categories:
        x_scale = Scale("linear", -0.4, len(positions) - 0.6, tuple(positions))
    y_scale = chart.y_scale or axes.scale_for(
        chart.y, y_values, headroom=0.16 + 0.012 * len(parts.styles)
    )  # names may stand over their lines
    axes.apply(ax.xaxis, x_scale, lambda value: parts.categories[int(value)] if parts.categories else column_of(chart.x).show(value))
    axes.apply(ax.yaxis, y_scale, column_of(chart.y).show)
    return x_scale, y_scale


def _extent(frame: pd.DataFrame, column: str) -> pd.Series:
    spread = [name for name in (column, f"{column}_low", f"{column}_high") if name in frame]
    return pd.Series([value for name in spread for value in frame[name].dropna()], dtype=float)


def _end_labels(chart: Chart, parts: Parts) -> list[style.EndLabel]:
    """The names of the lines; of numbers only the topmost says what it counts."""
    if not chart.line:
        return []
    ends = parts.shown.groupby("line", sort=False).last()
    top = ends[chart.y].idxmax()
    field, short = column_of(chart.line[0]), _ordered(chart, parts.shown)
    return [
        style.EndLabel(
            x=end[chart.x],
            y=end[chart.y],
            text=field.show(end[field.name]) if short and line != top else str(line),
            color=parts.styles[str(line)].color,
        )
        for line, end in ends.iterrows()
    ]
