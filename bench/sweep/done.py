"""Which rows count for the points of this sweep: made by the same config, on such hardware, by the same versions of the engine."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import cache

from bench.cells import json_object
from bench.config import Device, RunConfig
from bench.host.machine import fingerprint
from bench.results import Row
from bench.sweep.outcome import host_of

# What tells whether a row counts, and for which job.
DONE_COLUMNS = ["config_id", "round", "status", "framework", "environment", "device", "hardware"]


def rows_that_count(points: Sequence[RunConfig], rows: Iterable[Row], here: bool) -> list[Row]:
    """The rows that stand for these points. `here`: they run on this host; else a cluster chooses the hosts."""
    by_config = {point.config_id: [point] for point in points}
    by_framework = defaultdict(list)  # for the probes of a search, whose configs nobody knows beforehand
    for point in points:
        by_framework[point.framework.name].append(point)
    counts = _of_this_host if here else _of_this_kind
    return [row for row in rows if any(counts(row, point) for point in by_config.get(row["config_id"]) or by_framework[row["framework"]])]


def _of_this_host(row: Row, point: RunConfig) -> bool:
    return _fingerprint(row["environment"], point.framework.packages) == host_of(point).fingerprint


def _of_this_kind(row: Row, point: RunConfig) -> bool:
    """On a cluster nobody knows beforehand which host will take a job: there the versions count, and the kind of device."""
    there, here = _environment(row["environment"]).get("packages"), host_of(point).packages
    if not isinstance(there, dict) or any(there.get(name) != here.get(name) for name in point.framework.packages):
        return False
    if point.hardware.name:
        return bool(row["hardware"] == point.hardware.name)
    device = row.get("device")  # null where the job never came so far
    return not device or point.hardware.device is Device.auto or (device == "cpu") is (point.hardware.device is Device.cpu)


@cache
def _fingerprint(environment: str | None, packages: tuple[str, ...]) -> str | None:
    try:
        return fingerprint(_environment(environment), packages)
    except (LookupError, TypeError, AttributeError):  # null, or not as this program writes it: then it is another one
        return None


_environment = cache(json_object)  # thousands of rows share a few of them
