"""Which charts a table of settings deserves: one question each, everything that varies told apart, the rest in the subtitle."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from matplotlib.figure import Figure

from bench.analysis import heatmap, panels, plots, style
from bench.analysis.columns import GRID, column_of
from bench.analysis.plots import Chart
from bench.analysis.settings import facts, telling_apart
from bench.results import Status

_MOST_LINES = 7  # more cannot be told apart
_LISTING = ".drawn"

Draw = Callable[[Chart, pd.DataFrame, pd.DataFrame | None], Figure]


class Picture(NamedTuple):
    """A chart and the settings that it shows."""

    chart: Chart
    frame: pd.DataFrame
    published: pd.DataFrame | None = None
    draw: Draw = plots.draw

    def figure(self) -> Figure:
        """Call it and save the figure within `style.house_style()`."""
        return self.draw(self.chart, self.frame, self.published)


Sketch = Callable[[], Picture]
"""A picture to be: a large sweep has hundreds, of which few are drawn."""


def standard_sketches(settings: pd.DataFrame) -> list[Sketch]:
    """The charts that a sweep deserves, the ones that most people want first."""
    in_turn = zip_longest(*(kind.sketches(settings) for kind in _kinds(settings, telling_apart(settings))))
    return [sketch for sketches in in_turn for sketch in sketches if sketch is not None]


def save(pictures: Iterable[Picture], folder: Path) -> list[Path]:
    """PNG and SVG of each."""
    return style.save_all(((picture.chart.name, picture.figure()) for picture in pictures), folder)


def renew(pictures: Iterable[Picture], folder: Path) -> list[Path]:
    """Save these, and remove what an earlier call drew here and this one does not: a sweep that has grown has other pictures.

    A list in the folder says what was drawn, so that files of anybody else stay.
    """
    drawn = save(pictures, folder)
    listing = folder / _LISTING
    earlier = listing.read_text().splitlines() if listing.is_file() else []
    for name in {Path(line).name for line in earlier} - {file.name for file in drawn}:
        (folder / name).unlink(missing_ok=True)
    listing.write_text("".join(f"{file.name}\n" for file in drawn))
    return drawn


class _Kind(NamedTuple):
    """One question, asked of each part of a sweep."""

    chart: Chart  # its name is only the beginning of the names of its pictures
    apart: Sequence[str]  # the columns that tell its pictures apart
    draw: Draw = plots.draw

    def sketches(self, settings: pd.DataFrame) -> list[Sketch]:
        return [partial(self._picture, frame) for frame in _split(settings, self.apart)]

    def _picture(self, frame: pd.DataFrame) -> Picture:
        name = file_name(self.chart.name, frame, ["model", "framework", *self.apart])
        told = [self.chart.x, *self.chart.line, self.chart.along or ""]
        chart = replace(self.chart, name=name, subtitle=" · ".join(facts(frame, told)), footer=provenance(frame))
        return Picture(chart, frame, draw=self.draw)


def _kinds(settings: pd.DataFrame, series: list[str]) -> Iterator[_Kind]:
    tested = {column: settings[column].nunique() for column in GRID}
    if tested["output_tokens"] > 1:
        chart = Chart("latency", "Latency against output length", x="output_tokens", y="latency_s", line=("batch_size",))
        yield _Kind(chart, [*series, "input_tokens"])
    lines, apart = _lines_and_pictures(settings, series)
    chart = Chart("throughput", "Latency against throughput", x="latency_s", y="output_tok_s", line=tuple(lines), along="batch_size")
    yield _Kind(chart, apart)
    if tested["batch_size"] > 1:
        chart = Chart("batch", "Latency against batch size", x="batch_size", y="latency_s", line=("output_tokens",))
        yield _Kind(chart, [*series, "input_tokens"])
    facet = ("model", "hardware")
    if tested["batch_size"] > 1 and set(facet) <= set(series):
        rest, title = tuple(column for column in series if column not in facet), "Latency against batch size, by model and hardware"
        yield _Kind(
            Chart("panels", title, x="batch_size", y="latency_s", line=rest, facet=facet), ["input_tokens", "output_tokens"], panels.draw
        )
    if min(tested["input_tokens"], tested["batch_size"]) >= 3:
        chart = Chart("heatmap", "Throughput by batch size and prompt length", x="input_tokens", y="output_tok_s", line=("batch_size",))
        yield _Kind(chart, [*series, "output_tokens"], heatmap.draw)


def _lines_and_pictures(settings: pd.DataFrame, series: list[str]) -> tuple[list[str], list[str]]:
    """What tells the lines of a picture apart, and what the pictures: a line per series while they can be told apart."""
    if not series:
        return ["output_tokens"], ["input_tokens"]
    lines, apart = list(series), ["input_tokens", "output_tokens"]
    while len(lines) > 1 and max((len(frame[lines].drop_duplicates()) for frame in _split(settings, apart)), default=0) > _MOST_LINES:
        apart.append(lines.pop(0))
    return lines, apart


def _split(settings: pd.DataFrame, columns: Sequence[str]) -> Iterator[pd.DataFrame]:
    """The settings for each combination of values, where at least one of them was measured."""
    for _, frame in settings.groupby(list(columns), dropna=False, sort=False):
        if (frame["status"] == Status.ok).any():
            yield frame


def file_name(kind: str, frame: pd.DataFrame, columns: Sequence[str]) -> str:
    """latency-LLaMA-28M-hf-in128: the columns that have one value in this frame."""
    single = [column for column in dict.fromkeys(columns) if frame[column].nunique(dropna=False) == 1]
    values = [(column_of(column), frame[column].iloc[0]) for column in single]
    slugs = [field.slug(value) for field, value in values if not pd.isna(value)]
    return "-".join([kind, *(slug for slug in slugs if slug)])[:150]


def provenance(frame: pd.DataFrame) -> str:
    """Where the numbers come from: the sweep, its day, the weights, the versions, the host."""
    days = frame["started_at"].dt.strftime("%Y-%m-%d")
    first, last = days.min(), days.max()
    versions = [f"{column} {', '.join(known)}" for column in ("torch", "transformers") if (known := _known(frame[column]))]
    weights = [f"{' and '.join(_known(frame['weights']))} weights"] if _known(frame["weights"]) else []
    when = first if first == last else f"{first} to {last}"
    return " · ".join([", ".join(_known(frame["name"])), when, *weights, *versions, ", ".join(_known(frame["host"]))])


def _known(column: pd.Series) -> list[str]:
    return sorted(map(str, column.dropna().unique()))
