"""Foreign benchmark configurations become named sweeps, which the same commands run."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.errors import InvalidSetting, require
from bench.importers import amd_pace, llm_foundry, rows
from bench.importers.named_sweep import HEADER, NamedSweep, file_name
from bench.importers.reader import Reader, read, refuse_a_bomb
from bench.measure.stats import FEWEST_REPEATS

OWN_SWEEPS = Path("conf", "sweeps")  # of the current folder
_FROM = re.compile(r"^\+?from=")
_NAMED_SWEEP = re.compile(rf"^({HEADER}$|defaults:|hydra:)", re.MULTILINE)  # as no foreign configuration has it


def convert(file: Path, name: str | None = None) -> NamedSweep:
    """The sweep that a configuration of llm-foundry or AMD PACE describes. Raises InvalidSetting for any other file."""
    content = read(file)
    known = [importer for importer in (llm_foundry, amd_pace) if len(importer.KEYS & set(content)) >= 2]
    if not known:
        formats = f"{llm_foundry.FORMAT} (.yaml) or {amd_pace.FORMAT} (.json)"
        keys = ", ".join(content) or "none"
        raise InvalidSetting("FILE", file, f"is no benchmark configuration of {formats}, by its keys: {keys}; name another file")
    reader, sweep = Reader(content), NamedSweep(file.stem, f"{file.name}, a benchmark configuration of {known[0].FORMAT}")
    try:
        _take_alike(sweep, reader, known[0].ALIKE)
        known[0].fill(sweep, reader)
    except (TypeError, ValueError, AttributeError, LookupError, ArithmeticError) as error:  # the one place for values of another kind
        problem = f"is of another kind than {known[0].FORMAT} has there ({error}); write it as in its examples"
        raise InvalidSetting(reader.last, reader.value, problem) from error
    sweep.notes += reader.finish()
    named = file_name(name or str(sweep.name))
    if named != sweep.name:
        sweep.notes.append(f"{sweep.name}: is called {named} here, as its folder of results")
    sweep.name = named
    return sweep


def _take_alike(sweep: NamedSweep, reader: Reader, alike: Mapping[str, tuple[str, Any]]) -> None:
    for theirs, (ours, default) in alike.items():
        value = reader.take(theirs)
        value = default if value in (None, []) else value
        if value is not None:
            sweep.settings[ours] = value
        if ours == "num_runs" and isinstance(value, int) and value < FEWEST_REPEATS:
            why = f"kept, but an interval for the median takes {FEWEST_REPEATS} repeats: num_runs={FEWEST_REPEATS}"
            sweep.notes.append(f"{theirs}={value}: {why}")


def run_argument(sweep: Path) -> str:
    """How `bench-run` is told to run this file."""
    is_found = sweep.suffix == ".yaml" and sweep.parent.resolve() == OWN_SWEEPS.resolve()
    return f"+sweeps={sweep.stem}" if is_found else f"+from={sweep}"


def with_sweep_from_file(arguments: Sequence[str], folder: Path, tell: Callable[[list[str]], None] | None = None) -> list[str]:
    """Arguments for Hydra, with +from=FILE replaced by a named sweep that is written below `folder`.

    FILE is a named sweep from anywhere, a foreign configuration, or somebody else's rows (their folder, or one of its files); `tell`
    gets what of that could not be carried over.
    """
    files = [Path(_FROM.sub("", argument)).expanduser() for argument in arguments if _FROM.match(argument)]
    if not files:
        return list(arguments)
    require(len(files) == 1, "+from", ", ".join(map(str, files)), "are several: run each by itself, since each has a grid of its own")
    # A name that no other sweep has, since Hydra takes the first of that name on its path.
    target = folder / "sweeps" / f"{file_name(files[0].stem)}-{folder.name}.yaml"
    target.parent.mkdir(parents=True)
    is_rows = os.path.isdir(files[0]) or files[0].suffix == ".parquet"  # isdir takes any name
    distrusted, notes = list[str](), list[str]()
    if not is_rows and _is_named_sweep(files[0]):
        text = files[0].read_text()
        refuse_a_bomb(text, files[0])
        target.write_text(text)
        distrusted = ["model.trust_remote_code=false"]  # it runs code that comes with a model: only what is typed may allow that
        if "trust_remote_code" in text:
            notes = ["model.trust_remote_code: counts only where you type it yourself: model.trust_remote_code=true"]
    else:
        sweep = rows.convert(files[0], folder) if is_rows else convert(files[0])
        target.write_text(sweep.as_yaml())
        notes = sweep.notes
    if tell and notes:
        tell(notes)
    found = [f"hydra.searchpath=['file://{folder}']", f"+sweeps@_global_={target.stem}"]
    return distrusted + [part for argument in arguments for part in (found if _FROM.match(argument) else [argument])]


def _is_named_sweep(file: Path) -> bool:
    try:
        return bool(_NAMED_SWEEP.search(file.read_text()))
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidSetting(
            "+from", file, f"cannot be read ({getattr(error, 'strerror', 'it is no text')}); name a YAML or JSON file, or a folder of rows"
        ) from error
