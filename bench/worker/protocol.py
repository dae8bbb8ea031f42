"""What the launching process and its worker say to each other: pickled messages over a socket pair."""

from __future__ import annotations

from dataclasses import dataclass

from bench.config import RunConfig
from bench.frameworks.failure import JobLost
from bench.measure.point import Measurement
from bench.measure.sampled import Line

# The worker's environment: its end of the socket pair, and what it may use of the host.
FD_VARIABLE = "BENCH_WORKER_FD"
CPUS_VARIABLE = "BENCH_WORKER_CPUS"
MEMORY_VARIABLE = "BENCH_WORKER_MEMORY_BYTES"


@dataclass(frozen=True)
class Load:
    run: RunConfig


@dataclass(frozen=True)
class Measure:
    run: RunConfig


@dataclass(frozen=True)
class Sample:
    """Measure the windows that these points share."""

    points: tuple[RunConfig, ...]


@dataclass(frozen=True)
class Loaded:
    load_s: float


@dataclass(frozen=True)
class AboutToRepeat:
    """The worker waits for Go: what the launching process draws now is drawn while nothing is timed."""

    kind: str
    number: int
    count: int | None  # None: measuring decides


@dataclass(frozen=True)
class Go:
    pass


Request = Load | Measure | Sample | Go
Reply = Loaded | AboutToRepeat | Measurement | Line | JobLost
