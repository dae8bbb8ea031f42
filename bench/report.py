"""python -m bench.report outputs/NAME...: tables, charts and one HTML page of one sweep, or of several together."""

from __future__ import annotations

import argparse
import gc
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import BenchError, NothingMeasured

if TYPE_CHECKING:
    from rich.console import Console


def main() -> None:
    parser = _parser()
    options = parser.parse_args()
    if not (options.folders or options.published):
        parser.error("name a sweep's output folder, or say --published")
    from rich.console import Console

    if options.folders:
        from bench.analysis import reporting  # noqa: F401

        gc.freeze()  # what is loaded by now stays: the collector need not walk through all of pandas again for each picture
    try:
        if options.published:
            _redraw_published(options.out or Path("outputs/published"), Console())
        if options.folders:
            _report(options, options.out or _default_out(options.folders), Console())
    except BenchError as error:
        sys.exit(f"bench-report: {error}")


def show(folder: Path, console: Console, points: Collection[str] | None = None) -> None:
    """The end of a sweep: the results in its folder, which of these points have none and why, the charts, and where everything is."""
    from bench.analysis import reporting
    from bench.analysis.settings import pool_rounds, read_jobs

    jobs = read_jobs([folder])
    told = jobs if points is None else jobs[jobs["point_id"].isin(points) | (jobs["status"] == "ok")]
    settings = reporting.print_tables(told, console)
    if earlier := len(jobs) - len(told):
        settings = pool_rounds(jobs)
        line = f"jobs of other commands without a result: {earlier}; python -m bench.report {folder} tells why"
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    reporting.write_report(jobs, settings, folder, console, every_chart=False)


def _report(options: argparse.Namespace, out: Path, console: Console) -> None:
    from bench.analysis import charts, pace, reporting, terminal
    from bench.analysis.settings import pool_rounds, read_jobs

    skipped: list[str] = []
    jobs = read_jobs(options.folders, pace.HEAVY_COLUMNS if options.compare else (), skipped.append)
    if options.format == "markdown":
        print(terminal.markdown(jobs, pool_rounds(jobs)), end="")
        return
    if options.x or options.y or options.line or options.facet or options.where:
        axes = options.x or "batch_size", options.y or "latency_s"
        question = charts.Question(*axes, tuple(options.line), tuple(options.facet), options.where)
        picture = charts.own_picture(pool_rounds(jobs), question)
        reporting.write_pictures([picture], out / "charts", out, console)
        return
    settings = reporting.print_tables(jobs, console)
    for line in skipped:
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    if not (jobs["status"] == "ok").any():
        raise NothingMeasured(", ".join(map(str, options.folders)))
    if options.compare:
        reporting.write_comparison(jobs, out, console)
    reporting.write_report(jobs, settings, out, console, every_chart=options.all)


def _redraw_published(out: Path, console: Console) -> None:
    from bench.analysis import published, reporting

    reporting.write_pictures(published.published_pictures(), out, out, console)


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
