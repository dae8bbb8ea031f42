"""python -m bench.report outputs/NAME...: the table and the charts of one sweep, or of several together."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import BenchError, InvalidSetting, NothingMeasured

if TYPE_CHECKING:
    from rich.console import Console

_MOST_PATHS = 12


def main() -> None:
    from rich.console import Console

    options = _parser().parse_args()
    try:
        _report(options.folders, options.out or _default_out(options.folders), Console(), must_have_results=True)
    except BenchError as error:
        sys.exit(f"bench-report: {error}")


def show(folder: Path, console: Console) -> None:
    """The end of a sweep: its results, what has none and why, its charts, and where everything is."""
    _report([folder], folder, console)


def _report(folders: Sequence[Path], out: Path, console: Console, must_have_results: bool = False) -> None:
    from bench.analysis import gallery, summary, tables

    jobs = tables.jobs(folders)
    settings = tables.settings(jobs)
    console.print()
    summary.print_results(settings, console)
    summary.print_failures(jobs, console)
    if must_have_results and not (jobs["status"] == "ok").any():
        raise NothingMeasured(", ".join(map(str, folders)))
    try:
        files = gallery.save(gallery.standard_pictures(settings), out / "charts")
    except OSError as error:
        raise InvalidSetting("--out", out, f"cannot be written ({error.strerror}); name a folder that you may write to") from error
    _print_paths(files, out, console)


def _print_paths(files: Sequence[Path], out: Path, console: Console) -> None:
    pictures = [file for file in files if file.suffix == ".png"]
    lines = [str(file) for file in pictures[:_MOST_PATHS]]
    if len(pictures) > _MOST_PATHS:
        lines.append(f"... and {len(pictures) - _MOST_PATHS} more charts")
    for line in ["", *lines, f"everything is in {out}"]:
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def _default_out(folders: Sequence[Path]) -> Path:
    names = dict.fromkeys(folder.resolve().name for folder in folders)
    return folders[0] if len(folders) == 1 else folders[0].parent / "+".join(names)[:100]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="bench-report",
        description="Print the results of a sweep and draw its charts, as PNG and SVG.",
        epilog="Several folders are drawn together, a curve for each difference between them: bench-report outputs/base outputs/new",
    )
    parser.add_argument("folders", nargs="+", type=Path, metavar="DIR", help="a sweep's output folder, as it was printed at its end")
    parser.add_argument("--out", type=Path, help="where the charts go (default: DIR; of several, the folder outputs/A+B)")
    return parser


if __name__ == "__main__":
    main()
