"""Windows are measured with the first point that needs them, and kept for the others of its line and round."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from bench.config import RunConfig
from bench.frameworks.failure import JobLost
from bench.measure.point import Measurement
from bench.measure.sampled import Line
from bench.results import Status
from bench.sweep.plan import Job

TakeWindows = Callable[[Job, Sequence[RunConfig]], Line]
"""Measures the windows of these points, with the job's worker. Raises JobLost."""

_LineKey = tuple[str, int]


@dataclass
class LineKeeper:
    """What windows told, by line and round. It lives as long as its runner: after a kill, the points without rows look anew."""

    _lines: dict[_LineKey, Line | None] = field(default_factory=dict)
    _covered: dict[_LineKey, frozenset[str]] = field(default_factory=dict)  # config ids
    _why_not: dict[_LineKey, str] = field(default_factory=dict)

    def measurement(self, job: Job, take: TakeWindows) -> Measurement | None:
        """What the windows say of this job; None where it must be measured in full."""
        key = _key(job)
        if key not in self._lines:
            self._lines[key] = self._taken(job, take)
        line = self._lines[key]
        return line.measurement(job.run) if line and job.run.config_id in self._covered[key] else None

    def remarks(self, job: Job) -> tuple[str, ...]:
        """Why a job was measured in full although it should have been sampled."""
        return tuple(filter(None, [self._why_not.get(_key(job))])) if job.line else ()

    def _taken(self, job: Job, take: TakeWindows) -> Line | None:
        """A window at a far context has a prefill of that length, which may need more memory than the point: then the point decides.

        After an out-of-memory, the windows of the points below are tried; after anything else, all points are measured in full.
        """
        points = list(job.line)
        while points:
            try:
                line = take(job, points)
            except JobLost as lost:
                self._why_not[_key(job)] = f"measured in full: its windows ended as {lost.status} ({lost})"
                if lost.status is not Status.oom:
                    return None
                most = max(run.total_tokens for run in points)
                points = [run for run in points if run.total_tokens < most]
            else:
                self._covered[_key(job)] = frozenset(run.config_id for run in points)
                return line
        return None


def _key(job: Job) -> _LineKey:
    return job.run.line_id, job.round
