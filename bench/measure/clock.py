"""The one place that reads the clock."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

Clock = Callable[[], float]
"""Seconds since some fixed moment."""


@dataclass
class Stopwatch:
    """Times one generation: when each step's tokens arrived, and when the whole batch was done."""

    clock: Clock = time.perf_counter
    step_s: list[float] = field(default_factory=list)
    total_s: float = 0.0
    _started: float = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        self._started = self.clock()
        yield
        self.total_s = self.clock() - self._started

    def step(self, at_s: float | None = None) -> None:
        self.step_s.append((self.clock() if at_s is None else at_s) - self._started)
