"""The page that `bench-run --help` prints, made from the settings' own declarations."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.config import GROUPS, OPTIONS, RunConfig
from bench.frameworks import settings_by_name

_FIELD = re.compile(r"^    (?P<key>\w+): (?!ClassVar)[^=]+?(?: = (?P<default>.+?))?(?:  # (?P<comment>.+))?$", re.MULTILINE)

_PAGE = """\
Measure how fast a language model generates on this machine.

  bench-run batch_size=4                        one point
  bench-run batch_size=1,2,4,...,64             a sweep: all combinations
  bench-run +sweeps=demo                        a named sweep
  bench-run +sweeps=demo rerun=all              the same again, from the start
  bench-run +from=7b.yaml                       llm-foundry's or PACE's file
  bench-run +from=outputs/THEIRS                the points of somebody's rows
  bench-run model=llama_28m model.dtype=bf16    another model, a setting of it
  bench-run framework=pace --cfg job            show the config, run nothing

{about}

Groups: group=option chooses, group.key=value changes a part
{groups}

Settings: key=value, and several values (1,2,4,...,64) are swept
{settings}
"""
_ABOUT = """\
A sweep goes on where it stopped: jobs that have their row are not run again. Rows, logs and charts are in outputs/NAME. \
python -m bench.run is the same command. For the tab key: eval "$(bench-run -sc install=bash)" (zsh: the same; fish: install=fish). \
What each setting means: docs/reference.md. Options of Hydra itself: --hydra-help."""


def help_page(folders: Sequence[Path], columns: int) -> str:
    """The page for a terminal of this width; the options are the YAML files in these folders."""
    groups = [line for group, kind in GROUPS.items() for line in _group(group, kind, folders)]
    groups.append(("sweeps", f"{_options(folders, 'sweeps')} (as +sweeps=NAME)"))
    settings = [(f"{key}={default}", comment) for key, default, comment in declared(RunConfig) if key not in GROUPS]
    return _PAGE.format(
        about=textwrap.fill(_ABOUT, columns, break_on_hyphens=False),
        groups="\n".join(_entry(name, text, 11, columns) for name, text in groups),
        settings="\n".join(_entry(name, text, 26, columns) for name, text in settings),
    )


def _group(name: str, kind: type, folders: Sequence[Path]) -> Iterator[tuple[str, str]]:
    own = {name: kind} if name != "framework" else {"each": kind, **settings_by_name()}
    keys = {part: ", ".join(key for key, _, _ in declared(settings) if key != "name") for part, settings in own.items()}
    yield name, _options(folders, name) if name in OPTIONS else f"settings: {keys.pop(name)}"
    for part, its_keys in keys.items():
        if its_keys:
            yield "", f"settings{f' of {part}' if part != name else ''}: {its_keys}"


def _entry(name: str, text: str, width: int, columns: int) -> str:
    indent = f"  {name:<{width}} "
    return textwrap.fill(text, columns, initial_indent=indent, subsequent_indent=" " * (width + 3), break_on_hyphens=False)


def declared(settings: type) -> list[tuple[str, str, str]]:
    """(key, default, meaning) of a settings dataclass, the meaning from the comment behind the declaration."""
    found = _FIELD.finditer(inspect.getsource(settings))
    return [(match["key"], _spelled(match["default"] or ""), match["comment"] or "") for match in found]


def _spelled(default: str) -> str:
    """A default as one types it: "outputs/x" without its quotes, Rerun.missing without its class, 3600.0 as 3600."""
    plain = re.sub(r"^[A-Z]\w+\.", "", default.strip('"'))
    return re.sub(r"\.0$", "", {"True": "true", "False": "false", "None": "null"}.get(plain, plain))


def _options(folders: Sequence[Path], group: str) -> str:
    return ", ".join(sorted({path.stem for folder in folders for path in (folder / group).glob("*.yaml")}))
