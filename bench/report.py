"""python -m bench.report outputs/NAME...: tables, charts and one HTML page of one sweep, or of several together."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from bench.errors import BenchError, InvalidSetting, NothingMeasured

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

_MOST_PATHS = 12
_MOST_PICTURES = 12  # a grid over many models would draw for minutes
Result = TypeVar("Result")


def main() -> None:
    from rich.console import Console

    parser = _parser()
    options = parser.parse_args()
    if not (options.folders or options.published):
        parser.error("name a sweep's output folder, or say --published")
    if len(options.facet) > 2:
        parser.error("--facet takes one column, or two for rows and columns")
    try:
        _answer(options, Console())
    except BenchError as error:
        sys.exit(f"bench-report: {error}")


def show(folder: Path, console: Console) -> None:
    """The end of a sweep: its results, what has none and why, its charts, and where everything is."""
    from bench.analysis import tables

    jobs = tables.jobs([folder])
    settings = _print_tables(jobs, console)
    _draw_report(jobs, settings, folder, console, every_chart=False)


def _answer(options: argparse.Namespace, console: Console) -> None:
    from bench.analysis import comparison, custom, gallery, summary, tables

    if options.published:
        _draw_published(options.out or Path("outputs/published"), console)
    if not options.folders:
        return
    out = options.out or _default_out(options.folders)
    jobs = tables.jobs(options.folders, comparison.HEAVY_COLUMNS if options.compare else ())
    if options.format == "markdown":
        print(summary.markdown(jobs, tables.settings(jobs)), end="")
        return
    if options.x or options.y:
        question = custom.Question(
            options.x or "batch_size", options.y or "latency_s", tuple(options.line), tuple(options.facet), options.where
        )
        picture = custom.custom_picture(tables.settings(jobs), question)
        _print_paths(_written(out, lambda: gallery.save([picture], out / "charts")), out, console)
        return
    settings = _print_tables(jobs, console)
    if not (jobs["status"] == "ok").any():
        raise NothingMeasured(", ".join(map(str, options.folders)))
    if options.compare:
        _print_paths(_written(out, lambda: comparison.save(jobs, out / "charts" / "compare")), out, console)
    _draw_report(jobs, settings, out, console, every_chart=options.all)


def _print_tables(jobs: pd.DataFrame, console: Console) -> pd.DataFrame:
    from bench.analysis import references, summary, tables

    settings = tables.settings(jobs)
    console.print()
    summary.print_results(settings, console)
    summary.print_failures(jobs, console)
    for sweep, measured in references.repeated(settings):
        summary.print_ratios(measured, sweep, console)
    return settings


def _draw_report(jobs: pd.DataFrame, settings: pd.DataFrame, out: Path, console: Console, *, every_chart: bool) -> None:
    from bench.analysis import gallery, html, references

    pictures = [*references.overlays(settings), *gallery.standard_pictures(settings)]
    drawn = pictures if every_chart else pictures[:_MOST_PICTURES]
    files = _written(out, lambda: gallery.save(drawn, out / "charts"))
    page = _written(out, lambda: html.write_page(jobs, settings, out / "report.html"))
    _print_paths([*files, page], out, console, undrawn=len(pictures) - len(drawn))


def _draw_published(out: Path, console: Console) -> None:
    from bench.analysis import gallery, references

    _print_paths(_written(out, lambda: gallery.save(references.published_pictures(), out)), out, console)


def _written(out: Path, write: Callable[[], Result]) -> Result:
    try:
        return write()
    except OSError as error:
        raise InvalidSetting("--out", out, f"cannot be written ({error.strerror}); name a folder that you may write to") from error


def _print_paths(files: Sequence[Path], out: Path, console: Console, undrawn: int = 0) -> None:
    shown = [file for file in files if file.suffix != ".svg"]
    lines = ["", *map(str, shown[-_MOST_PATHS - 1 :])]
    if undrawn:
        lines.append(f"{undrawn} more charts: python -m bench.report {out} --all")
    for line in [*lines, f"everything is in {out}"]:
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def _default_out(folders: Sequence[Path]) -> Path:
    names = dict.fromkeys(folder.resolve().name for folder in folders)
    return folders[0] if len(folders) == 1 else folders[0].parent / "+".join(names)[:100]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="bench-report",
        description="Print the results of a sweep, draw its charts as PNG and SVG, and write one report.html.",
        epilog="Several folders are shown together, told apart by what differs: bench-report outputs/base outputs/new",
    )
    parser.add_argument("folders", nargs="*", type=Path, metavar="DIR", help="a sweep's output folder, as it was printed at its end")
    parser.add_argument("--out", type=Path, metavar="DIR", help="where the charts and the page go (default: DIR itself; of several, A+B)")
    parser.add_argument("--format", choices=["text", "markdown"], default="text", help="markdown: only print a table, for a pull request")
    parser.add_argument("--all", action="store_true", help=f"draw every chart, not only the first {_MOST_PICTURES}")
    parser.add_argument("--compare", action="store_true", help="also draw the frameworks side by side, under AMD's metric names")
    parser.add_argument("--published", action="store_true", help="redraw the seven published charts, into outputs/published")
    own = parser.add_argument_group("a chart of your own", "columns of the rows; what else varies gets a line each")
    own.add_argument("--x", metavar="COLUMN", help="along the horizontal axis: batch_size, latency_s, framework, ...")
    own.add_argument("--y", metavar="COLUMN", help="along the vertical axis: latency_s, ttft_s, output_tok_s, peak_device_bytes, ...")
    own.add_argument("--line", metavar="COLUMN", nargs="+", default=[], help="a line per combination of these")
    own.add_argument("--facet", metavar="COLUMN", nargs="+", default=[], help="a panel per value of one column, or of two: rows, columns")
    own.add_argument("--where", metavar="CONDITION", help="only these settings: \"batch_size >= 8 and framework == 'hf'\"")
    return parser


if __name__ == "__main__":
    main()
