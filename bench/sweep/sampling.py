"""Which points of a sweep are sampled, which are measured in full all the same, and what the windows told that points share."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import ceil

from bench.config import Decode, RunConfig
from bench.errors import InvalidSetting
from bench.frameworks.failure import JobLost
from bench.measure.point import Measurement
from bench.measure.sampled import Line
from bench.results import Status
from bench.sweep.plan import Job, JobKey, estimated_line_s, estimated_s

_HELD_OUT = 0.1  # of the sampled points are measured in full, too
_FEWEST_HELD_OUT = 2
_GOLDEN = 0.618034  # its multiples, without their whole part, never crowd: the lengths of the held-out points

SHORT, DEAR = "short ones", "whose windows would cost about as much"
_DEAREST = 0.4  # of what a line's points cost in full, by an estimate that leaves out windows in the middle
_MEASURED_ONCE = "its point could not be sampled, so it was measured once in this round, for both of its rows"


@dataclass(frozen=True)
class Sampling:
    """The points of a sweep, each with the way that it is really measured; a held-out one is there twice."""

    points: Sequence[RunConfig]
    sampled: int = 0
    held_out: int = 0
    lines: int = 0
    not_sampled: Mapping[str, int] = field(default_factory=dict)  # measured in full only, by the reason

    @property
    def summary(self) -> str | None:
        """What the plan says about it."""
        if not self.sampled and not self.not_sampled:
            return None
        reasons = ", ".join(f"{count} {reason}" for reason, count in self.not_sampled.items())
        full = f"in full: {reasons}" if reasons else ""
        if not self.sampled:
            return f"nothing to sample; {full}"
        windows = f"{self.lines} set{'s' if self.lines > 1 else ''} of windows"
        told = f"{self.sampled} points sampled by {windows}, {self.held_out} of them measured in full, too, to know the error"
        return "; ".join(filter(None, (told, full)))


def decided(points: Sequence[RunConfig]) -> Sampling:
    """Raises InvalidSetting where sampling was asked for, and no point of this sweep could ever be sampled, however long it were."""
    points = list({run.config_id: run for run in points}.values())  # each once
    wanted = [run for run in points if run.measure.decode is Decode.sampled]
    reasons = {run.config_id: why_in_full(run) for run in wanted}
    for line in _lines(run for run in wanted if not reasons[run.config_id]):
        if estimated_line_s(line) > _DEAREST * sum(map(estimated_s, line)):
            reasons.update((run.config_id, DEAR) for run in line)
    sampled = [run for run in wanted if not reasons[run.config_id]]
    not_sampled = Counter(reason for reason in reasons.values() if reason)
    if reasons and not sampled and not_sampled.keys().isdisjoint((SHORT, DEAR)):
        told = ", ".join(f"{count} {reason}" for reason, count in not_sampled.items())
        raise InvalidSetting("measure.decode", "sampled", f"cannot sample any point of this sweep: {told}; leave it out, or use full")
    kept = [run.in_full() if reasons.get(run.config_id) else run for run in points]
    also = [run.in_full() for run in held_out(sampled)]
    return Sampling([*kept, *also], len(sampled), len(also), len(_lines(sampled)), not_sampled)


def _lines(points: Iterable[RunConfig]) -> list[list[RunConfig]]:
    lines: dict[str, list[RunConfig]] = defaultdict(list)
    for run in points:
        lines[run.line_id].append(run)
    return list(lines.values())


def why_in_full(run: RunConfig) -> str | None:
    """Why this point is measured in full although sampling was asked for; None: it is sampled."""
    if run.is_search:
        return "searches for the largest batch"
    if run.generation.num_beams > 1:
        return "with beams"
    if not run.framework.one_token_a_step:
        return "with a draft or without steps"
    if run.output_tokens <= 2 * run.window_tokens:
        return SHORT
    return None


def held_out(sampled: Sequence[RunConfig]) -> list[RunConfig]:
    """A tenth of these points, at least two: evenly over the batch sizes, and over the lengths at each.

    What is chosen depends on the points alone, so that a sweep that goes on chooses the same.
    """
    count = min(len(sampled), max(_FEWEST_HELD_OUT, ceil(_HELD_OUT * len(sampled))))
    by_batch = sorted(sampled, key=lambda run: (run.load_key, run.batch_size))
    chosen: dict[str, RunConfig] = {}
    for i in range(count):
        batch = by_batch[int((i + 0.5) / count * len(by_batch))]
        same = [run for run in sampled if (run.load_key, run.batch_size) == (batch.load_key, batch.batch_size)]
        by_length = sorted((run for run in same if run.config_id not in chosen), key=lambda run: (run.output_tokens, run.input_tokens))
        left = by_length or [run for run in by_batch if run.config_id not in chosen]
        run = left[int((i + 1) * _GOLDEN % 1 * len(left))]
        chosen[run.config_id] = run
    return list(chosen.values())


def with_lines(jobs: Iterable[Job]) -> list[Job]:
    """The jobs; each sampled one knows the points whose windows it shares, and each whether its point is measured both ways."""
    jobs = list(jobs)
    sampled = [job for job in jobs if job.run.measure.decode is Decode.sampled]
    if not sampled:
        return jobs
    lines: dict[_LineKey, list[RunConfig]] = defaultdict(list)
    for job in sampled:
        lines[_key(job)].append(job.run)
    known = {job.key: tuple(lines[_key(job)]) for job in sampled}
    ways = Counter(map(_full_key, jobs))
    return [replace(job, line=known.get(job.key, ()), both_ways=ways[_full_key(job)] > 1) for job in jobs]


_LineKey = tuple[str, int]
"""(line_id, round)"""

TakeWindows = Callable[[Job, Sequence[RunConfig]], Line]
"""Measures the windows of these points, with the job's worker. Raises JobLost."""


@dataclass(frozen=True)
class _Windows:
    """What came of the windows of a line in one round."""

    line: Line | None = None
    covered: frozenset[str] = frozenset()  # config ids of the points that it tells of
    why_not: str | None = None  # it does not tell of the others, or of any


@dataclass
class LineKeeper:
    """What windows told: they are measured with the first point that needs them.

    It lives as long as its runner: after a kill, the points without rows look anew.
    """

    _windows: dict[_LineKey, _Windows] = field(default_factory=dict)
    _both_ways: dict[JobKey, Measurement] = field(default_factory=dict)  # of points that are to be measured so, in full

    def measurement(self, job: Job, take: TakeWindows) -> Measurement | None:
        """What the windows say of this job; None where it must be measured in full."""
        key = _key(job)
        if key not in self._windows:
            self._windows[key] = _taken(job, take)
        windows = self._windows[key]
        return windows.line.measurement(job.run) if windows.line and job.run.config_id in windows.covered else None

    def once(self, job: Job, measure: Callable[[], Measurement]) -> Measurement:
        """What measuring this job in full says; a point that is to be measured both ways, and cannot be sampled, is measured once."""
        key = _full_key(job)
        before = self._both_ways.get(key)
        seen = replace(before, spent_s=0.0) if before else measure()
        if job.both_ways:
            self._both_ways[key] = seen
        remarks = (self._windows[_key(job)].why_not if job.line else None, _MEASURED_ONCE if before else None)
        return replace(seen, remarks=tuple(filter(None, remarks)))


def _taken(job: Job, take: TakeWindows) -> _Windows:
    """A window at a far context has a prefill of that length, which may need more memory than the point: then the point decides.

    After an out-of-memory, the windows of the points below are tried; after anything else, all points are measured in full.
    """
    points, why_not = list(job.line), None
    while points:
        try:
            return _Windows(take(job, points), frozenset(run.config_id for run in points), why_not)
        except JobLost as lost:
            why_not = f"measured in full: its windows ended as {lost.status} ({lost})"
            most = max(run.total_tokens for run in points)
            points = [run for run in points if run.total_tokens < most] if lost.status is Status.oom else []
    return _Windows(why_not=why_not)


def _key(job: Job) -> _LineKey:
    return job.run.line_id, job.round


def _full_key(job: Job) -> JobKey:
    """Of the job that measures this one's point in full: itself, or the one beside it."""
    run = job.run if job.run.measure.decode is Decode.full else job.run.in_full()
    return run.config_id, job.round
