"""python -m bench.report outputs/NAME...: tables, charts and one HTML page of one sweep, or of several together."""

from __future__ import annotations

import argparse
import gc
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import NothingMeasured, one_message
from bench.files import drawing_into

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console


def main(arguments: Sequence[str] | None = None) -> None:
    parser = _parser()
    options = parser.parse_args(arguments)
    if not (options.folders or options.published):
        parser.error("name a sweep's output folder, or say --published")
    with one_message("bench-report"):
        from rich.console import Console

        if options.published:
            _redraw_published(options.out or Path("outputs/published"), Console())
        if options.folders:
            _report(options, options.out or _default_out(options.folders), Console())


def show(folder: Path, console: Console, points: Collection[str] | None = None) -> None:
    """The end of a sweep: the results in its folder, which of these points have none and why, the charts, and where everything is."""
    from bench.analysis.settings import pool_rounds, read_jobs
    from bench.analysis.terminal import say

    jobs = read_jobs([folder])
    settings = pool_rounds(jobs)
    told = jobs if points is None else jobs[jobs["point_id"].isin(points) | (jobs["status"] == "ok")]
    _print_tables(told, settings if len(told) == len(jobs) else pool_rounds(told), console)
    if earlier := len(jobs) - len(told):
        say(console, f"jobs of other commands without a result: {earlier}; python -m bench.report {folder} tells why")
    _write_report(jobs, settings, folder, console)


def tell_sampling(folder: Path, console: Console) -> None:
    """How far the sampled points of a sweep are off, as far as its held-out ones show; red where that is too much."""
    from bench.analysis import sampling
    from bench.analysis.settings import read_jobs

    jobs = read_jobs([folder], settle=False)
    if count := jobs.loc[jobs["source"] == sampling.SAMPLED, "point_id"].nunique():
        found = sampling.holdout(jobs)
        for line in sampling.in_words(found, count):
            console.print(line, style="red" if found.is_bad else None, highlight=False, markup=False)


def _report(options: argparse.Namespace, out: Path, console: Console) -> None:
    from bench.analysis import charts, pace, page, published, terminal  # noqa: F401
    from bench.analysis.settings import pool_rounds, read_jobs

    gc.freeze()  # what is loaded by now stays: the collector need not walk through all of pandas again for each picture
    skipped: list[str] = []
    jobs = read_jobs(options.folders, pace.HEAVY_COLUMNS if options.compare else (), skipped.append)
    settings = pool_rounds(jobs)
    if options.format == "markdown":
        print(terminal.markdown(jobs, settings), end="")
        return
    terminal.say(console, *skipped)
    if options.x or options.y or options.line or options.facet or options.where:
        x, y = options.x or "batch_size", options.y or "latency_s"
        picture = charts.own_picture(settings, x, y, options.line, options.facet, options.where)
        with drawing_into(out):
            _say_where(charts.save([picture], out / "charts"), out, console)
        return
    _print_tables(jobs, settings, console)
    if not (jobs["status"] == "ok").any():
        raise NothingMeasured(", ".join(map(str, options.folders)))
    if options.compare:
        with drawing_into(out):
            _say_where(pace.save(jobs, out / "charts" / "compare"), out, console)
    _write_report(jobs, settings, out, console, every_chart=options.all)


def _redraw_published(out: Path, console: Console) -> None:
    from bench.analysis import charts, published

    with drawing_into(out):
        _say_where(charts.save(published.published_pictures(), out), out, console)


def _print_tables(jobs: pd.DataFrame, settings: pd.DataFrame, console: Console) -> None:
    """The results, why some jobs have none, and the ratios to what was published."""
    from bench.analysis import published, terminal

    console.print()
    terminal.print_results(settings, console)
    terminal.say(console, *terminal.failures(jobs))
    for sweep, measured in published.repeated(settings):
        terminal.print_ratios(measured, sweep, console)


def _write_report(jobs: pd.DataFrame, settings: pd.DataFrame, out: Path, console: Console, *, every_chart: bool = False) -> None:
    """Charts and report.html."""
    from bench.analysis import charts, page, published

    pictures = [*published.overlays(settings), *charts.standard_pictures(settings)]
    drawn = pictures if every_chart else pictures[: charts.MOST_PICTURES]
    with drawing_into(out):
        files = charts.renew(drawn, out / "charts")
        html = page.write_page(jobs, settings, out / "report.html")
    undrawn = len(pictures) - len(drawn)
    _say_where([*files, html], out, console, *([f"{undrawn} more charts: python -m bench.report {out} --all"] if undrawn else []))


def _say_where(files: Sequence[Path], out: Path, console: Console, *also: str) -> None:
    from bench.analysis.charts import MOST_PICTURES
    from bench.analysis.terminal import say

    pictures = [str(file) for file in files if file.suffix != ".svg"]
    say(console, "", *pictures[-MOST_PICTURES - 1 :], *also, f"everything is in {out}")


def _default_out(folders: Sequence[Path]) -> Path:
    names = dict.fromkeys(folder.resolve().name for folder in folders)
    return folders[0] if len(folders) == 1 else folders[0].parent / "+".join(names)[:100]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="bench-report",
        description="Print the results of a sweep, draw its charts as PNG and SVG, and write one report.html.",
        epilog="Several folders are shown together, told apart by what differs: bench-report outputs/base outputs/new",
    )
    add = parser.add_argument
    add("folders", nargs="*", type=Path, metavar="DIR", help="a sweep's output folder, as it was printed at its end")
    add("--out", type=Path, metavar="DIR", help="where the charts and the page go (default: DIR itself; of several, A+B)")
    add("--format", choices=["text", "markdown"], default="text", help="markdown: only print a table, for a pull request")
    add("--all", action="store_true", help="draw every chart, not only the first twelve")
    add("--compare", action="store_true", help="also draw the frameworks side by side, under AMD's metric names")
    add("--published", action="store_true", help="redraw the seven published charts, into outputs/published")
    own = parser.add_argument_group("a chart of your own", "columns of the rows; what else varies gets a line each")
    own.add_argument("--x", metavar="COLUMN", help="along the horizontal axis: batch_size, latency_s, framework, ...")
    own.add_argument("--y", metavar="COLUMN", help="along the vertical axis: latency_s, ttft_s, output_tok_s, peak_device_bytes, ...")
    own.add_argument("--line", metavar="COLUMN", nargs="+", default=[], help="a line per combination of these")
    own.add_argument("--facet", metavar="COLUMN", nargs="+", default=[], help="a panel per value of one column, or of two: rows, columns")
    own.add_argument("--where", metavar="CONDITION", help="only these settings: \"batch_size >= 8 and framework == 'hf'\"")
    return parser


if __name__ == "__main__":
    main()
