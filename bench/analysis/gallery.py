"""Which charts a table of settings deserves: one question each, everything that varies told apart, the rest in the subtitle."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from matplotlib.figure import Figure

from bench.analysis import heatmap, panels, plots, style
from bench.analysis.fields import field_of
from bench.analysis.plots import Chart
from bench.analysis.tables import facts, repeats_in_words, telling_apart
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
    series = telling_apart(settings)
    latency = _latency(settings, series, x="output_tokens", line="batch_size", kind="latency", title="Latency against output length")
    batch = _latency(settings, series, x="batch_size", line="output_tokens", kind="batch", title="Latency against batch size")
    kinds = [latency, _throughput(settings, series), batch, _panels(settings, series), _heatmaps(settings, series)]
    in_turn = zip_longest(*kinds)
    return [sketch for sketches in in_turn for sketch in sketches if sketch is not None]


def save(pictures: Iterable[Picture], folder: Path) -> list[Path]:
    """PNG and SVG of each."""
    folder.mkdir(parents=True, exist_ok=True)
    with style.house_style():
        return [file for picture in pictures for file in style.save(picture.figure(), folder / picture.chart.name)]


def replace(pictures: Iterable[Picture], folder: Path) -> list[Path]:
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


def _latency(settings: pd.DataFrame, series: list[str], *, x: str, line: str, kind: str, title: str) -> Iterator[Sketch]:
    if settings[x].nunique() < 2:
        return

    def draw_up(frame: pd.DataFrame) -> Picture:
        chart = Chart(
            name=file_name(kind, frame, ["model", "framework", *series, "input_tokens"]),
            title=title,
            subtitle=" · ".join(facts(frame, [x, line])),
            footer=provenance(frame),
            x=x,
            y="latency_s",
            line=(line,),
        )
        return Picture(chart, frame)

    yield from (partial(draw_up, frame) for frame in _split(settings, [*series, "input_tokens"]))


def _throughput(settings: pd.DataFrame, series: list[str]) -> Iterator[Sketch]:
    lines, apart = _lines_and_pictures(settings, series)

    def draw_up(frame: pd.DataFrame) -> Picture:
        chart = Chart(
            name=file_name("throughput", frame, ["model", "framework", *apart]),
            title="Latency against throughput",
            subtitle=" · ".join(facts(frame, [*lines, "batch_size"])),
            footer=provenance(frame),
            x="latency_s",
            y="output_tok_s",
            line=tuple(lines),
            along="batch_size",
        )
        return Picture(chart, frame)

    yield from (partial(draw_up, frame) for frame in _split(settings, apart))


def _panels(settings: pd.DataFrame, series: list[str]) -> Iterator[Sketch]:
    """Model by hardware, where both vary."""
    facet = ("model", "hardware")
    if not set(facet) <= set(series) or settings["batch_size"].nunique() < 2:
        return
    lines = [column for column in series if column not in facet]

    def draw_up(frame: pd.DataFrame) -> Picture:
        chart = Chart(
            name=file_name("panels", frame, ["framework", "input_tokens", "output_tokens"]),
            title="Latency against batch size, by model and hardware",
            subtitle=" · ".join([*facts(frame, ["batch_size", *lines]), repeats_in_words(frame)]),
            footer=provenance(frame),
            x="batch_size",
            y="latency_s",
            line=tuple(lines),
            facet=facet,
        )
        return Picture(chart, frame, draw=panels.draw)

    yield from (partial(draw_up, frame) for frame in _split(settings, ["input_tokens", "output_tokens"]))


def _heatmaps(settings: pd.DataFrame, series: list[str]) -> Iterator[Sketch]:
    if min(settings["input_tokens"].nunique(), settings["batch_size"].nunique()) < 3:
        return

    def draw_up(frame: pd.DataFrame) -> Picture:
        chart = Chart(
            name=file_name("heatmap", frame, ["model", "framework", *series, "output_tokens"]),
            title="Throughput by batch size and prompt length",
            subtitle=" · ".join([*facts(frame, ["batch_size", "input_tokens"]), f"output tokens per second, {repeats_in_words(frame)}"]),
            footer=provenance(frame),
            x="input_tokens",
            y="output_tok_s",
            line=("batch_size",),
        )
        return Picture(chart, frame, draw=heatmap.draw)

    yield from (partial(draw_up, frame) for frame in _split(settings, [*series, "output_tokens"]))


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
    values = [(field_of(column), frame[column].iloc[0]) for column in single]
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
