"""The page that `bench-run --help` prints, made from the settings' own declarations."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

from bench.config import RunConfig

_FIELD = re.compile(r"^    (?P<key>\w+): [^=]+?(?: = (?P<default>.+?))?(?:  # (?P<comment>.+))?$", re.MULTILINE)

_PAGE = """\
Measure how fast a language model generates on this machine.

  python -m bench.run batch_size=4                       one point
  python -m bench.run -m batch_size=1,2,4,...,64         a sweep: every combination of the listed values
  python -m bench.run -m +sweeps=demo                    a named sweep
  python -m bench.run -m +sweeps=demo rerun=all          the same again, from the start
  python -m bench.run +from=7b.yaml                      a benchmark file of llm-foundry or AMD PACE, as it is
  python -m bench.run model=llama_28m model.dtype=bf16   another model, another setting of it

A sweep goes on where it stopped: jobs that have their row are not run again. Rows, logs and charts are
in outputs/NAME. Options of Hydra itself, such as --cfg job (show the config and stop): --hydra-help

Groups: choose with group=option, change a part of it with group.key=value
{groups}
  sweeps      {sweeps} (with -m +sweeps=NAME)

Settings: key=value
{settings}
"""


def help_page(conf: Path) -> str:
    groups = ["model", "framework", "hardware", "generation", "data"]
    settings = [line for line in declared(RunConfig) if line[0] not in (*groups, "measure", "sweep")]
    return _PAGE.format(
        groups="\n".join(f"  {group:<11} {', '.join(_options(conf / group))}" for group in groups),
        sweeps=", ".join(_options(conf / "sweeps")),
        settings="\n".join(f"  {f'{key}={default}':<30} {comment}" for key, default, comment in settings),
    )


def declared(settings: type) -> list[tuple[str, str, str]]:
    """(key, default, meaning) of a settings dataclass, the meaning from the comment behind the declaration."""
    found = _FIELD.finditer(inspect.getsource(settings))
    return [(match["key"], _spelled(match["default"] or ""), match["comment"] or "") for match in found]


def _spelled(default: str) -> str:
    """A default as one types it: "outputs/x" without its quotes, Rerun.missing without its class, 3600.0 as 3600."""
    plain = re.sub(r"^[A-Z]\w+\.", "", default.strip('"'))
    return re.sub(r"\.0$", "", {"True": "true", "False": "false", "None": "null"}.get(plain, plain))


def _options(folder: Path) -> list[str]:
    return sorted(path.stem for path in folder.glob("*.yaml"))
