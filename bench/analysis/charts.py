"""Which charts a table of settings deserves, each with one question; and one that nobody foresaw: any column against any other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from matplotlib.figure import Figure

from bench.analysis import draw, heatmap, style
from bench.analysis.columns import GRID, column_of, is_described, is_quantity, names
from bench.analysis.draw import Chart
from bench.analysis.settings import facts, telling_apart, varying
from bench.errors import InvalidSetting, UnknownName
from bench.results import Status

_MOST_LINES = 7  # more cannot be told apart
_LISTING = ".drawn"

Draw = Callable[[Chart, pd.DataFrame, pd.DataFrame | None], Figure]


class Picture(NamedTuple):
    """A chart and the settings that it shows."""

    chart: Chart
    frame: pd.DataFrame
    published: pd.DataFrame | None = None
    draw: Draw = draw.draw

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
    draw: Draw = draw.draw

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
            Chart("panels", title, x="batch_size", y="latency_s", line=rest, facet=facet), ["input_tokens", "output_tokens"], draw.draw
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
    return " · ".join([", ".join(_known(frame["sweep"])), when, *weights, *versions, ", ".join(_known(frame["host"]))])


def _known(column: pd.Series) -> list[str]:
    return sorted(map(str, column.dropna().unique()))


@dataclass(frozen=True)
class Question:
    """What to draw, as the command line asks it; where line is not given, everything else that varies gets a line."""

    x: str
    y: str
    line: tuple[str, ...] = ()
    facet: tuple[str, ...] = ()
    where: str | None = None


def own_picture(settings: pd.DataFrame, question: Question) -> Picture:
    """Raises UnknownName and InvalidSetting where the question cannot be drawn, with what would make it drawable."""
    for column in (question.x, question.y, *question.line, *question.facet):
        if column not in settings:
            known = [str(name) for name in settings if is_described(str(name))]
            raise UnknownName("column", column, known, "or another column of the rows")
    if len(question.facet) > 2:
        raise InvalidSetting("--facet", " ".join(question.facet), "takes one column, or two for rows and columns; name fewer")
    frame = _selected(settings, question)
    along = "batch_size" if is_quantity(question.x) and frame["batch_size"].nunique() > 1 else None
    told = (question.x, *question.facet, along)
    line = question.line or tuple(column for column in varying(frame) if column not in told)
    _refuse_overlap(frame, question, line, along)
    apart = [*line, *question.facet]
    held = facts(frame, [question.x, question.y, *apart, along or ""]) + ([f"where {question.where}"] if question.where else [])
    chart = Chart(
        name="-".join(["custom", question.y, "over", question.x, *(["by"] if apart else []), *apart])[:120],
        title=f"{_start(names([question.y]))} against {names([question.x])}{f', by {names(question.facet)}' if question.facet else ''}",
        subtitle=" · ".join(held),
        footer=provenance(frame),
        x=question.x,
        y=question.y,
        line=line,
        facet=question.facet,
        along=along,
    )
    return Picture(chart, frame)


def _selected(settings: pd.DataFrame, question: Question) -> pd.DataFrame:
    frame = settings
    if question.where:
        try:
            frame = settings.query(question.where)
        except Exception as error:  # pandas lets through whatever its parsers and the expression itself raise
            problem = f"{error}; write it like \"batch_size >= 8 and framework == 'hf'\", a name with a dot between `backticks`"
            raise InvalidSetting("--where", question.where, problem) from error
    drawable = (frame["status"] == Status.ok) & frame[question.x].notna() & frame[question.y].notna()
    if not drawable.any():
        remedy = "loosen --where, or choose columns that were measured"
        raise InvalidSetting("--where", question.where, f"leaves no result with {question.x} and {question.y}; {remedy}")
    if not pd.api.types.is_numeric_dtype(frame[question.y]):
        raise InvalidSetting("--y", question.y, "does not hold numbers; choose a column like latency_s, ttft_s or output_tok_s")
    return frame


def _refuse_overlap(frame: pd.DataFrame, question: Question, line: Sequence[str], along: str | None) -> None:
    """Two settings at one place of one line would be joined by a meaningless stroke."""
    apart = [column for column in (question.x if along is None else along, *line, *question.facet) if column]
    left = [column for column in varying(frame) if column not in apart]
    ok = frame[frame["status"] == Status.ok]
    if left and ok.groupby(apart, dropna=False).size().max() > 1:
        said = " ".join([*line, *left])
        problem = f"leaves {names(left)} varying along a line; say --line {said}, or fix {names(left)} with --where"
        raise InvalidSetting("--line", " ".join(line), problem)


def _start(text: str) -> str:
    return text[:1].upper() + text[1:]
