"""python -m tests.reference_page: write docs/reference.md, every setting and every column, from their declarations."""

from __future__ import annotations

import sys
from dataclasses import fields
from enum import EnumType
from typing import Any

from bench.compose.help import declared
from bench.compose.schemas import Placement
from bench.config import (
    Abilities,
    DataConfig,
    FrameworkConfig,
    GenerationConfig,
    HardwareConfig,
    MeasureConfig,
    ModelConfig,
    RunConfig,
    SweepConfig,
)
from bench.frameworks import FRAMEWORKS, settings_by_name
from bench.frameworks.pace import SpecConfig
from bench.row import COLUMNS
from tests.conftest import ROOT

PAGE = ROOT / "docs" / "reference.md"

GROUPS: dict[str, tuple[str, type]] = {
    "model": ("`model=NAME` chooses one of conf/model/.", ModelConfig),
    "hardware": ("`hardware=NAME` chooses one of conf/hardware/.", HardwareConfig),
    "generation": ("`generation=greedy|sample|beams`.", GenerationConfig),
    "data": ("`data=random|prose|dataset`: where prompts come from.", DataConfig),
    "measure": ("What is recorded beside the latency.", MeasureConfig),
    "sweep": ("What a grid of all combinations lacks.", SweepConfig),
    "hydra.launcher": ("Where the groups of a sweep run. Clusters: [clusters.md](clusters.md).", Placement),
}
_TYPES = {
    "str": "text",
    "int": "whole number",
    "float": "number",
    "bool": "true or false",
    "list[str]": "list",
    "int | str": "whole number or auto",
}
_INTRODUCTION = """\
# Every setting and every column

Made from the declarations in the code by `python -m tests.reference_page`; a test holds that it is up to date.

Set a value with `key=value` on the command line, or as `key: value` in a file; several values are swept: `key=1,2,4,...,64`. A key
that nobody knows, a wrong type or an impossible combination stops the sweep before it starts.

## A sweep of your own

A file in `conf/sweeps/` of the folder you work in, here `conf/sweeps/mine.yaml`, run by `python -m bench.run +sweeps=mine`. What is
typed behind it replaces what it says. From anywhere else: `python -m bench.run +from=FILE`.
FILE may also be somebody else's results, `outputs/THEIRS` or one of its `.parquet` files: each row holds its whole config, so that the
same points run here, into `outputs/THEIRS-here`. What this version has no setting for is told, and so is what would run their code
(`framework.python`, `model.trust_remote_code`, variables like `LD_PRELOAD`): that stays off until you set it yourself.

```yaml
defaults: # groups are chosen here
  - override /model: llama_28m
  - override /hardware: cpu

name: mine # its results are in outputs/mine
num_runs: 9
model:
  dtype: bf16

hydra:
  sweeper:
    params: # what is swept: every combination
      framework: hf,pace
      batch_size: 1,2,4,...,16
      output_tokens: [1, 101]
```
"""


def page() -> str:
    parts = [
        _INTRODUCTION,
        "## Settings of a point, and of how it is measured\n",
        _settings(RunConfig, "", leave_out=(*GROUPS, "framework")),
    ]
    for group, (about, kind) in GROUPS.items():
        parts += [f"## {group}\n\n{about}\n", _settings(kind, f"{group}.")]
    parts.append("## framework\n\n`framework=NAME`; each has settings of its own. [frameworks.md](frameworks.md) tells how to add one.\n")
    parts += ["All of them have:\n", _settings(FrameworkConfig, "framework.", leave_out=("name",))]
    parts += [part for name in FRAMEWORKS for part in (f"### framework={name}\n", _framework(settings_by_name()[name]))]
    parts += ["## Columns of a row\n\n`outputs/NAME/rows/*.parquet`, a row per job. Null means not known.\n", _columns()]
    return "\n".join(parts)


ENGINES_PAGE = ROOT / "docs" / "frameworks.md"
_BEGIN, _END = "<!-- from the adapters, by python -m tests.reference_page -->\n", "<!-- end -->"


def engines_page() -> str:
    """docs/frameworks.md with its table of engines as the adapters tell it today."""
    before, rest = ENGINES_PAGE.read_text().split(_BEGIN)
    _, after = rest.split(_END)
    columns = [field.name for field in fields(Abilities)]
    told = [(name, can) for name in FRAMEWORKS if (can := settings_by_name()[name].can)]
    lines = [_row("`framework=`", *columns), "|---" * (len(columns) + 1) + "|\n"]
    lines += [_row(f"`{name}`", *(str(getattr(can, column)) for column in columns)) for name, can in told]
    return f"{before}{_BEGIN}{''.join(lines)}{_END}{after}"


def _framework(kind: type[FrameworkConfig]) -> str:
    table = _settings(kind, "framework.", leave_out=("name", "spec_config"))
    if "spec_config" not in kind.__dataclass_fields__:
        return table
    return table + "".join(_lines(SpecConfig, "framework.spec_config.", ()))


def _settings(kind: type, prefix: str, leave_out: tuple[str, ...] = ()) -> str:
    return "".join(["| key | type | default | meaning |\n|---|---|---|---|\n", *_lines(kind, prefix, leave_out)])


def _lines(kind: type, prefix: str, leave_out: tuple[str, ...]) -> list[str]:
    types = {field.name: field.type for field in fields(kind)}
    shown = [line for line in declared(kind) if line[0] in types and line[0] not in leave_out]
    return [_row(f"`{prefix}{key}`", _type(kind, types[key]), _default(default), meaning) for key, default, meaning in shown]


def _type(kind: type, spelled: Any) -> str:
    text = str(spelled).removeprefix("Optional[").removesuffix("]") if str(spelled).startswith("Optional[") else str(spelled)
    known = getattr(sys.modules[kind.__module__], text, None)
    if isinstance(known, EnumType):
        return " · ".join(known.__members__)
    if text == "Any":
        return "whole number or max"
    return _TYPES.get(text, "mapping" if text.startswith(("dict", "Mapping")) else text)


def _default(default: str) -> str:
    empty = {"field(default_factory=dict)": "{}", "field(default_factory=list)": "[]"}
    return "must be set" if default == "MISSING" else f"`{empty.get(default, default)}`"


def _columns() -> str:
    lines = [_row(f"`{name}`", str(kind).replace("<", " of ").split(" of ")[0], meaning) for name, kind, meaning in COLUMNS]
    return "".join(["| column | type | meaning |\n|---|---|---|\n", *lines])


def _row(*cells: str) -> str:
    escaped = [cell.replace("|", "\\|") for cell in cells]
    return f"| {' | '.join(escaped)} |\n"


if __name__ == "__main__":
    PAGE.write_text(page())
    ENGINES_PAGE.write_text(engines_page())
