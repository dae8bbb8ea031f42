"""Which charts a table of settings deserves: one question each, everything that varies told apart, the rest in the subtitle."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from bench.analysis import plots, style
from bench.analysis.fields import field_of
from bench.analysis.plots import Chart
from bench.analysis.tables import facts, telling_apart
from bench.results import Status

_MOST_LINES = 7  # more cannot be told apart


class Picture(NamedTuple):
    """A chart and the settings that it shows."""

    chart: Chart
    frame: pd.DataFrame
    published: pd.DataFrame | None = None


def standard_pictures(settings: pd.DataFrame) -> Iterator[Picture]:
    """The charts that every sweep gets."""
    series = telling_apart(settings)
    yield from _latency(settings, series, x="output_tokens", line="batch_size", kind="latency", title="Latency against output length")
    yield from _latency(settings, series, x="batch_size", line="output_tokens", kind="batch", title="Latency against batch size")
    yield from _throughput(settings, series)


def save(pictures: Iterable[Picture], folder: Path) -> list[Path]:
    """PNG and SVG of each."""
    folder.mkdir(parents=True, exist_ok=True)
    with style.house_style():
        return [file for picture in pictures for file in style.save(plots.draw(*picture), folder / picture.chart.name)]


def _latency(settings: pd.DataFrame, series: list[str], *, x: str, line: str, kind: str, title: str) -> Iterator[Picture]:
    if settings[x].nunique() < 2:
        return
    for frame in _split(settings, [*series, "input_tokens"]):
        chart = Chart(
            name=file_name(kind, frame, ["model", "framework", *series, "input_tokens"]),
            title=title,
            subtitle=" · ".join(facts(frame, [x, line])),
            footer=provenance(frame),
            x=x,
            y="latency_s",
            line=(line,),
        )
        yield Picture(chart, frame)


def _throughput(settings: pd.DataFrame, series: list[str]) -> Iterator[Picture]:
    lines, apart = _lines_and_pictures(settings, series)
    for frame in _split(settings, apart):
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
        yield Picture(chart, frame)


def _lines_and_pictures(settings: pd.DataFrame, series: list[str]) -> tuple[list[str], list[str]]:
    """What tells the lines of a picture apart, and what the pictures: a line per series while they can be told apart."""
    if not series:
        return ["output_tokens"], ["input_tokens"]
    lines, apart = list(series), ["input_tokens", "output_tokens"]
    while len(lines) > 1 and max(len(frame[lines].drop_duplicates()) for frame in _split(settings, apart)) > _MOST_LINES:
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
