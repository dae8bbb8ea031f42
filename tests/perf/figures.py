"""A figure: what was measured, and the bound that it should keep."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bench.intervals import median_interval

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "performance.md"
SURVIVAL = "## What it survives: make chaos"


def with_survival(page: str, section: str) -> str:
    """The page of figures, with this section at its end; make perf and make chaos each write their part."""
    return page.partition(f"\n{SURVIVAL}")[0] + section


@dataclass(frozen=True)
class Figure:
    what: str
    value: str
    bound: str = ""
    holds: bool | None = None  # None: shown for comparison

    @property
    def verdict(self) -> str:
        return "" if self.holds is None else "yes" if self.holds else "NO"


@dataclass(frozen=True)
class Cost:
    """CPU seconds of a command with its children, and its wall time."""

    cpu_s: float
    wall_s: float


@dataclass(frozen=True)
class Extra:
    """By how much one thing takes longer than another: the median over many turns, with its 95 % interval."""

    median: float
    low: float
    high: float

    def bound(self, most: float, noise: Extra) -> tuple[str, bool]:
        """At most this much, when as much is taken off as a thing takes longer than itself."""
        return f"≤ {most:.1%} above the noise", self.median - noise.median <= most

    def __str__(self) -> str:
        return f"{self.median:+.2%} ({self.low:+.2%} to {self.high:+.2%})"


def extra_of(one_s: Callable[[], float], other_s: Callable[[], float], turns: int) -> Extra:
    """Time of `one_s` over that of `other_s`. A turn is other, one, one, other, so that a steady drift cancels out."""
    ratios = []
    for _ in range(turns):
        before, first, second, after = other_s(), one_s(), one_s(), other_s()
        ratios.append((first + second) / (before + after) - 1)
    low, high = median_interval(ratios) or (float("-inf"), float("inf"))
    return Extra(median(ratios), low, high)


def cost_of(command: Sequence[str], cwd: Path) -> Cost:
    """Run `python COMMAND` and return what it cost. Raises CalledProcessError where it fails."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "100"}
    subprocess.run([sys.executable, *command], cwd=cwd, env=environment, check=True, stdout=subprocess.DEVNULL)
    wall_s = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return Cost(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime, wall_s)
