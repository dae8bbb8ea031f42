"""Which charts a table of settings deserves, each with one question; and one that nobody foresaw: any column against any other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from io import BytesIO
from itertools import zip_longest
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from bench.analysis import draw, heatmap, style
from bench.analysis.columns import GRID, column_of, is_described, is_quantity, names
from bench.analysis.draw import Chart
from bench.analysis.settings import telling_apart, varying
from bench.errors import InvalidSetting, UnknownName
from bench.results import Status

MOST_PICTURES = 12  # a grid over many models would draw for minutes
_MOST_LINES = 7  # more cannot be told apart
_MOST_NAMES = 100  # a longer key would be most of the picture
_LISTING = ".drawn"


@dataclass(frozen=True, eq=False)
class Picture:
    """A chart and the settings that it shows; a notebook shows it by itself."""

    chart: Chart
    settings: pd.DataFrame
    published: pd.DataFrame | None = None
    part: pd.Series | None = None  # of the settings; a large sweep has hundreds of pictures, of which few are drawn

    @cached_property
    def frame(self) -> pd.DataFrame:
        return self.settings if self.part is None else self.settings[self.part]

    @property
    def name(self) -> str:
        """Of its files: latency-LLaMA-28M-hf-in128."""
        single = [column for column in dict.fromkeys(self.chart.named_by) if self.frame[column].nunique(dropna=False) == 1]
        values = [(column_of(column), self.frame[column].iloc[0]) for column in single]
        slugs = [field.slug(value) for field, value in values if not pd.isna(value)]
        return "-".join([self.chart.name, *(slug for slug in slugs if slug)])[:150]

    def figure(self) -> Figure:
        """Matplotlib's figure, to go on from."""
        with style.house_style():
            return heatmap.draw(self.chart, self.frame) if self.chart.cells else draw.draw(self.chart, self.frame, self.published)

    def save(self, folder: Path | str) -> list[Path]:
        """Write it as PNG and SVG."""
        return save([self], Path(folder))

    def _repr_png_(self) -> bytes:
        png = BytesIO()
        with style.house_style():
            self.figure().savefig(png, format="png", dpi=110)
        return png.getvalue()


def standard_pictures(settings: pd.DataFrame) -> list[Picture]:
    """The charts that a sweep deserves, the ones that most people want first."""
    series = tuple(telling_apart(settings))
    in_turn = zip_longest(*(_pictures(chart, settings, series) for chart in _kinds(settings, series)))
    return [picture for pictures in in_turn for picture in pictures if picture is not None]


def save(pictures: Iterable[Picture], folder: Path) -> list[Path]:
    """PNG and SVG of each."""
    return style.save_all(((picture.name, picture.figure()) for picture in pictures), folder)


def renew(pictures: Iterable[Picture], folder: Path) -> list[Path]:
    """Save these, and remove what an earlier call drew here and this one does not: a sweep that has grown has other pictures.

    A list in the folder says what was drawn, so that files of anybody else stay.
    """
    drawn = save(pictures, folder)
    listing = folder / _LISTING
    earlier = listing.read_text(errors="replace").splitlines() if listing.is_file() else []
    for name in {Path(line).name for line in earlier} - {file.name for file in drawn}:
        if (folder / name).is_file():
            (folder / name).unlink()
    listing.write_text("".join(f"{file.name}\n" for file in drawn))
    return drawn


def _kinds(settings: pd.DataFrame, series: tuple[str, ...]) -> Iterator[Chart]:
    """A question each; the names are only the beginning of those of the pictures."""
    prompts, outputs, batches = (settings[column].nunique() for column in GRID)
    if outputs > 1:
        yield Chart("latency", "Latency against output length", "output_tokens", "latency_s", line=("batch_size",))
    lines = _few_lines(settings, series)
    yield Chart("throughput", "Latency against throughput", "latency_s", "output_tok_s", line=lines, along="batch_size")
    if batches > 1:
        yield Chart("batch", "Latency against batch size", "batch_size", "latency_s", line=("output_tokens",))
    facet = ("model", "hardware")
    if batches > 1 and set(facet) <= set(series):
        rest, title = tuple(column for column in series if column not in facet), "Latency against batch size, by model and hardware"
        yield Chart("panels", title, "batch_size", "latency_s", line=rest, facet=facet)
    if min(prompts, batches) >= 3:
        title = "Throughput by batch size and prompt length"
        yield Chart("heatmap", title, "input_tokens", "output_tok_s", line=("batch_size",), cells=True)


def _pictures(chart: Chart, settings: pd.DataFrame, series: Sequence[str]) -> Iterator[Picture]:
    """One for each combination of what the chart itself does not show, where at least one setting was measured."""
    apart = [column for column in (*series, *GRID) if column not in chart.told]
    chart = replace(chart, named_by=("model", "framework", *apart))
    part = settings.groupby(apart, dropna=False, sort=False).ngroup()
    for number in sorted(part[settings["status"] == Status.ok].unique()):
        yield Picture(chart, settings, part=part == number)


def _few_lines(settings: pd.DataFrame, series: tuple[str, ...]) -> tuple[str, ...]:
    """What tells the lines of a picture apart: all that does, or the last of it, so that they are few enough."""
    lengths = list(GRID[:2])
    found = settings[settings["status"] == Status.ok].drop_duplicates([*series, *lengths])
    for count in range(len(series)):
        if found.groupby([*lengths, *series[:count]], dropna=False).size().max() <= _MOST_LINES:
            return series[count:]
    return series[-1:] or ("output_tokens",)


def own_picture(
    settings: pd.DataFrame, x: str, y: str, line: Sequence[str] = (), facet: Sequence[str] = (), where: str | None = None
) -> Picture:
    """Any column against any other; where `line` is not given, everything else that varies gets a line.

    Raises UnknownName and InvalidSetting where that cannot be drawn, with what would make it drawable.
    """
    for column in (x, y, *line, *facet):
        if column not in settings:
            known = [str(name) for name in settings if is_described(str(name))]
            raise UnknownName("column", column, known, "or another column of the rows")
        if settings[column].map(pd.api.types.is_list_like).any():
            raise InvalidSetting("column", column, "holds a list for each setting; choose one with a single value")
    if len(facet) > 2:
        raise InvalidSetting("--facet", " ".join(facet), "takes one column, or two for rows and columns; name fewer")
    frame = _selected(settings, x, y, where)
    _refuse_unplaced(frame, facet)
    along = "batch_size" if is_quantity(x) and frame["batch_size"].nunique() > 1 else None
    line = line or [column for column in varying(frame) if column not in (x, *facet, along)]
    if (count := frame.groupby(list(line), dropna=False).ngroups if line else 1) > _MOST_NAMES:
        problem = f"gives {count} lines, more than anybody can tell apart; choose some of them with --where, or name fewer columns"
        raise InvalidSetting("--line", " ".join(line), problem)
    _refuse_overlap(frame, line, [along or x, *line, *facet])
    apart = [*line, *facet]
    chart = Chart(
        name="-".join(["custom", y, "over", x, *(["by"] if apart else []), *apart])[:120],
        title=f"{names([y], start=True)} against {names([x])}{f', by {names(facet)}' if facet else ''}",
        x=x,
        y=y,
        line=tuple(line),
        facet=tuple(facet),
        along=along,
        also=f"where {where}" if where else "",
    )
    return Picture(chart, frame)


def _selected(settings: pd.DataFrame, x: str, y: str, where: str | None) -> pd.DataFrame:
    try:
        frame = settings.query(where) if where else settings
        if not isinstance(frame, pd.DataFrame):
            raise TypeError("it is a place, and no condition")
    except Exception as error:  # pandas lets through whatever its parsers and the expression itself raise
        problem = f"{error}; write it like \"batch_size >= 8 and framework == 'hf'\", a name with a dot between `backticks`"
        raise InvalidSetting("--where", where, problem) from error
    drawable = (frame["status"] == Status.ok) & frame[x].notna() & frame[y].notna()
    if not drawable.any():
        raise InvalidSetting("--where", where, f"leaves no result with {x} and {y}; loosen --where, or choose columns that were measured")
    if not pd.api.types.is_numeric_dtype(frame[y]):
        raise InvalidSetting("--y", y, "does not hold numbers; choose a column like latency_s, ttft_s or output_tok_s")
    return frame


def _refuse_unplaced(frame: pd.DataFrame, facet: Sequence[str]) -> None:
    """Results without a value would stand in no panel."""
    ok = frame[frame["status"] == Status.ok]
    for column in facet:
        if lacking := int(ok[column].isna().sum()):
            others = f'choose the others with --where "`{column}`.notna()", or ' if lacking < len(ok) else ""
            problem = f"has no value in {lacking} of {len(ok)} results, which no panel would show; {others}name another column"
            raise InvalidSetting("--facet", column, problem)


def _refuse_overlap(frame: pd.DataFrame, line: Sequence[str], apart: Sequence[str]) -> None:
    """Two settings at one place of one line would be joined by a meaningless stroke."""
    left = [column for column in varying(frame) if column not in apart]
    ok = frame[frame["status"] == Status.ok]
    if left and ok.groupby(list(apart), dropna=False).size().max() > 1:
        problem = f"leaves {names(left)} varying along a line; say --line {' '.join([*line, *left])}, or fix {names(left)} with --where"
        raise InvalidSetting("--line", " ".join(line), problem)
