"""The rooms and the direction of imports, as DESIGN has them."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

BENCH = ROOT / "bench"
# Lower rooms never import higher ones; rooms of one level don't import each other.
LEVELS: list[set[str]] = [
    {"errors", "units", "intervals", "data", "status"},
    {"files", "cells", "groups", "row"},
    {"identity"},
    {"config"},
    {"results", "roofline"},
    {"host"},
    {"frameworks"},
    {"measure"},
    {"worker"},
    {"compose"},
    {"sweep"},
    {"analysis", "importers"},
    {"run", "report", "compare", "convert", "hardware", "plots"},
]
LEVEL = {room: level for level, rooms in enumerate(LEVELS) for room in rooms}
# report is called by run at the end of a sweep.
ALLOWED = {("run", "report")}
# The half that reads rows knows nothing of how they came about.
FORBIDDEN = {("analysis", room) for room in ("host", "frameworks", "measure", "worker", "compose", "sweep")}


def room_of(path: Path) -> str:
    return path.relative_to(BENCH).parts[0].removesuffix(".py")


def imports_of(path: Path) -> set[str]:
    """Rooms of bench that this file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("bench."):
            found.add(node.module.split(".")[1])
        elif isinstance(node, ast.ImportFrom) and node.module == "bench":
            found |= {alias.name for alias in node.names if alias.name in LEVEL}
        elif isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("bench.")}
    return found


@pytest.mark.parametrize("path", sorted(BENCH.rglob("*.py")), ids=lambda path: str(path.relative_to(BENCH)))
def test_imports_point_down(path: Path) -> None:
    room = room_of(path)
    if room == "__init__":
        return
    for imported in imports_of(path) - {room}:
        assert (room, imported) in ALLOWED or (LEVEL[imported] < LEVEL[room] and (room, imported) not in FORBIDDEN), (
            f"{room} must not import {imported}"
        )


@pytest.mark.parametrize(
    ("module", "never"),
    [
        ("bench, bench.sweep", {"hydra", "numpy", "pandas", "rich", "pyarrow"}),
        ("bench.run", {"torch", "transformers", "pandas", "seaborn", "matplotlib", "pyarrow"}),
        ("bench.sweep.conductor", {"torch", "transformers", "pandas", "seaborn", "matplotlib"}),
        ("bench.worker.child", {"pyarrow", "pandas", "seaborn", "matplotlib", "hydra", "omegaconf"}),
        ("bench.analysis", {"torch", "transformers"}),
    ],
)
def test_heavy_packages_are_imported_late(module: str, never: set[str]) -> None:
    code = f"import sys, {module}; print(*sorted(set(sys.modules) & {never!r}))"
    seen = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert seen.stdout.split() == []


def test_measuring_imports_nothing_that_loading_did_not() -> None:
    """What is there before a worker freezes its objects costs no repeat a look by the garbage collector."""
    code = (
        "import sys, bench.worker.child\n"
        "from bench.frameworks import make_framework\n"
        "from bench.measure.point import measure\n"
        "from tests.conftest import fake_run\n"
        "run = fake_run()\n"
        "framework = make_framework(run)\n"
        "shape, before = framework.load(), set(sys.modules)\n"
        "measure(run, framework, shape, 0.0, lambda repeat: None)\n"
        "print(*sorted(set(sys.modules) - before))"
    )
    seen = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert seen.stdout.split() == []
