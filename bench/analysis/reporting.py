"""What a sweep's folder gets: its charts and its page; and what the terminal says of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import pandas as pd
from rich.console import Console

from bench.analysis import charts, page, published, sampling, terminal
from bench.analysis.charts import Picture, Sketch
from bench.analysis.settings import pool_rounds, read_jobs
from bench.errors import InvalidSetting

MOST_PICTURES = 12  # a grid over many models would draw for minutes
_MOST_PATHS = MOST_PICTURES + 1
Result = TypeVar("Result")


def print_tables(jobs: pd.DataFrame, console: Console) -> pd.DataFrame:
    """Print the results, why some jobs have none, and the ratios to what was published; return the table of settings."""
    settings = pool_rounds(jobs)
    console.print()
    terminal.print_results(settings, console)
    terminal.print_failures(jobs, console)
    for sweep, measured in published.repeated(settings):
        terminal.print_ratios(measured, sweep, console)
    return settings


def tell_sampling(folder: Path, console: Console) -> None:
    """How far the sampled points of a sweep are off, as far as its held-out ones show; red where that is too much."""
    jobs = read_jobs([folder], settle=False)
    count = jobs.loc[jobs["source"] == sampling.SAMPLED, "point_id"].nunique()
    if not count:
        return
    found = sampling.holdout(jobs)
    for line in sampling.in_words(found, count):
        console.print(line, style="red" if found.is_bad else None, highlight=False, markup=False)


def write_report(jobs: pd.DataFrame, settings: pd.DataFrame, out: Path, console: Console, *, every_chart: bool) -> None:
    """Charts and report.html. Raises InvalidSetting where `out` cannot be written."""
    overlays: list[Sketch] = [partial(Picture, *picture) for picture in published.overlays(settings)]
    sketches = [*overlays, *charts.standard_sketches(settings)]
    drawn = sketches if every_chart else sketches[:MOST_PICTURES]
    files = _written(out, lambda: charts.renew((sketch() for sketch in drawn), out / "charts"))
    html = _written(out, lambda: page.write_page(jobs, settings, out / "report.html"))
    print_paths([*files, html], out, console, undrawn=len(sketches) - len(drawn))


def write_pictures(pictures: Iterable[Picture], folder: Path, out: Path, console: Console) -> None:
    print_paths(_written(out, lambda: charts.save(pictures, folder)), out, console)


def write_comparison(jobs: pd.DataFrame, out: Path, console: Console) -> None:
    """The frameworks side by side. `jobs` must hold pace.HEAVY_COLUMNS."""
    from bench.analysis import pace

    print_paths(_written(out, lambda: pace.save(jobs, out / "charts" / "compare")), out, console)


def print_paths(files: Sequence[Path], out: Path, console: Console, undrawn: int = 0) -> None:
    shown = [file for file in files if file.suffix != ".svg"]
    lines = ["", *map(str, shown[-_MOST_PATHS:])]
    if undrawn:
        lines.append(f"{undrawn} more charts: python -m bench.report {out} --all")
    for line in [*lines, f"everything is in {out}"]:
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def _written(out: Path, write: Callable[[], Result]) -> Result:
    try:
        return write()
    except OSError as error:
        raise InvalidSetting("--out", out, f"cannot be written ({error.strerror}); name a folder that you may write to") from error
