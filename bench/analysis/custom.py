"""A chart that nobody foresaw: any column against any other, with a line and a panel for what else varies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from bench.analysis import panels, plots
from bench.analysis.columns import GRID, is_described, is_quantity, names
from bench.analysis.gallery import Picture, provenance
from bench.analysis.plots import Chart
from bench.analysis.settings import facts, telling_apart
from bench.errors import InvalidSetting, UnknownName
from bench.results import Status


@dataclass(frozen=True)
class Question:
    """What to draw, as the command line asks it; where line is not given, everything else that varies gets a line."""

    x: str
    y: str
    line: tuple[str, ...] = ()
    facet: tuple[str, ...] = ()
    where: str | None = None


def custom_picture(settings: pd.DataFrame, question: Question) -> Picture:
    """Raises UnknownName and InvalidSetting where the question cannot be drawn, with what would make it drawable."""
    for column in (question.x, question.y, *question.line, *question.facet):
        if column not in settings:
            known = [str(name) for name in settings if is_described(str(name))]
            raise UnknownName("column", column, known, "or another column of the rows")
    frame = _selected(settings, question)
    along = "batch_size" if is_quantity(question.x) and frame["batch_size"].nunique() > 1 else None
    told = (question.x, *question.facet, along)
    line = question.line or tuple(column for column in _varying(frame) if column not in told)
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
    return Picture(chart, frame, draw=panels.draw if question.facet else plots.draw)


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


def _varying(frame: pd.DataFrame) -> list[str]:
    return [*telling_apart(frame), *(column for column in GRID if frame[column].nunique() > 1)]


def _refuse_overlap(frame: pd.DataFrame, question: Question, line: Sequence[str], along: str | None) -> None:
    """Two settings at one place of one line would be joined by a meaningless stroke."""
    apart = [column for column in (question.x if along is None else along, *line, *question.facet) if column]
    left = [column for column in _varying(frame) if column not in apart]
    ok = frame[frame["status"] == Status.ok]
    if left and ok.groupby(apart, dropna=False).size().max() > 1:
        said = " ".join([*line, *left])
        problem = f"leaves {names(left)} varying along a line; say --line {said}, or fix {names(left)} with --where"
        raise InvalidSetting("--line", " ".join(line), problem)


def _start(text: str) -> str:
    return text[:1].upper() + text[1:]
