"""python -m bench.convert: a foreign benchmark configuration to a named sweep, or a sweep's results to another format."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.errors import InvalidSetting, one_message

FORMATS = {
    "csv": "a line per job, every column; lists as JSON",
    "jsonl": "a JSON object per job, every column",
    "markdown": "the table of results, for a pull request",
    "pace-json": "AMD PACE's metrics under their names, each with its definition",
    "llm-foundry": "the lines that llm-foundry's benchmark.py prints",
}
_DESCRIPTION = """\
Convert a benchmark configuration of llm-foundry (YAML) or AMD PACE (JSON) to a
named sweep, or a sweep's results to another format.

  bench-convert 7b.yaml                     writes conf/sweeps/NAME.yaml, and
                                            says how to run it
  bench-convert pace.json --out mine.yaml
  bench-convert outputs/demo --to csv       prints the rows
  bench-convert outputs/demo --to pace-json --out results.json

What cannot be carried over is listed, and stands in the new file as comments."""


def main(arguments: Sequence[str] | None = None) -> None:
    options = _parser().parse_args(arguments)
    with one_message("bench-convert"):
        if os.path.isdir(options.path):
            _export(options.path, options.to or "csv", options.out)
        else:
            _convert(options.path, options.to, options.out)


def _convert(file: Path, to: str | None, out: Path | None) -> None:
    from bench.importers import OWN_SWEEPS, convert, run_argument
    from bench.importers.named_sweep import as_text

    if to:
        raise InvalidSetting("--to", to, f"exports a folder of results, and {file} is none; leave it out to convert a configuration")
    sweep = convert(file, out.stem if out else None)
    target, text = out or OWN_SWEEPS / f"{sweep.name}.yaml", sweep.as_yaml()
    _write(target, text, keep_edited=True)
    points = _points_in(target)
    print(as_text(sweep.notes))
    print(f"\nwrote {target}, a sweep of {points} point{'s' if points != 1 else ''}. Run it:\n  python -m bench.run {run_argument(target)}")


def _points_in(file: Path) -> int:
    """How many points a sweep has, all of them checked."""
    from bench import sweep
    from bench.importers import with_sweep_from_file

    with TemporaryDirectory() as folder:
        return len(sweep.points(*with_sweep_from_file([f"+from={file}"], Path(folder))))


def _export(folder: Path, to: str, out: Path | None) -> None:
    from bench.analysis import export

    text = export.WRITERS[to](folder)
    if out:
        _write(out, text)
        print(f"wrote {out}")
    else:
        print(text, end="")


def _write(file: Path, text: str, *, keep_edited: bool = False) -> None:
    try:
        if keep_edited and os.path.isfile(file) and file.read_bytes() != text.encode():
            raise InvalidSetting("--out", file, "is there already, with other content; delete it, or name another file")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    except OSError as error:
        raise InvalidSetting("--out", file, f"cannot be written ({error.strerror}); name a file that you may write to") from error


def _parser() -> argparse.ArgumentParser:
    formats = "".join(f"  {name:<12} {meaning}\n" for name, meaning in FORMATS.items())
    parser = argparse.ArgumentParser(
        prog="bench-convert",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description=_DESCRIPTION,
        epilog=f"formats of results:\n{formats}\nbench-run +from=FILE converts and runs in one go, and leaves no file behind.",
    )
    parser.add_argument("path", type=Path, metavar="PATH", help="a configuration, or a sweep's output folder")
    parser.add_argument("--out", type=Path, metavar="FILE", help="where to write (default: conf/sweeps/NAME.yaml; results: the terminal)")
    parser.add_argument("--to", choices=FORMATS, help="format of exported results (default: csv)")
    return parser


if __name__ == "__main__":
    main()
