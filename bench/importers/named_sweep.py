"""A sweep as a file: what an importer fills in, and how it is spelled in YAML."""

from __future__ import annotations

import re
import shutil
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from omegaconf import OmegaConf

from bench.compose.grid import spelled

HEADER = "# @package _global_"

_PAGE = """\
{header}
# Converted from {source}.
{notes}defaults:
{choices}

{settings}"""


@dataclass
class NamedSweep:
    name: str
    source: str  # what it was converted from
    choices: dict[str, str] = field(default_factory=dict)  # model: mpt_7b
    settings: dict[str, Any] = field(default_factory=dict)  # by dotted key; a list of several values is swept
    only_with: dict[str, dict[str, Any]] = field(default_factory=dict)  # framework=pace: settings that only it has
    together: list[str] = field(default_factory=list)  # swept settings that advance together
    notes: list[str] = field(default_factory=list)

    def as_yaml(self) -> str:
        swept = {key: values for key, values in self.settings.items() if isinstance(values, list) and len(values) > 1}
        fixed = {key: value[0] if isinstance(value, list) and value else value for key, value in self.settings.items() if key not in swept}
        of_grid = {
            "sweep.also": {part: [spelled(key, value) for key, value in own.items()] for part, own in self.only_with.items()},
            "sweep.zip": [",".join(self.together)] if self.together else [],
            "hydra.sweeper.params": {key: spelled(key, values).partition("=")[2] for key, values in swept.items()},
        }
        tree = _tree({"name": self.name, **fixed, **{key: value for key, value in of_grid.items() if value}})
        return _PAGE.format(
            header=HEADER,
            source=" ".join(self.source.split()),
            notes="".join(f"{line}\n" for line in self._commented_notes()),
            choices="\n".join(f"  - override /{group}: {option}" for group, option in self.choices.items()),
            settings=OmegaConf.to_yaml(OmegaConf.create(tree)),
        )

    def _commented_notes(self) -> list[str]:
        if not self.notes:
            return []
        return ["# Not carried over, or not the same here:", *(f"#   {' '.join(note.split())}" for note in self.notes)]


def as_text(notes: Sequence[str]) -> str:
    """What could not be carried over, for a terminal."""
    columns = shutil.get_terminal_size().columns
    lines = (textwrap.fill(note, columns, initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False) for note in notes)
    return "\n".join(["not carried over, or not the same here:", *lines])


def file_name(name: str) -> str:
    """A name that a file can have, and that needs no quotes on a command line."""
    return re.sub(r"[^\w.-]+", "-", name).strip("-.") or "sweep"


def _tree(values: Mapping[str, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for key, value in values.items():
        *path, last = key.split(".")
        branch = tree
        for part in path:
            branch = branch.setdefault(part, {})
        branch[last] = value
    return tree
