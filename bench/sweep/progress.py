"""What a sweep shows while it runs: a live bar on a terminal, plain lines elsewhere; never while a repeat is timed."""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from heapq import nlargest

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from bench.config import RunConfig
from bench.identity import flat, measured, way
from bench.results import Row, Status
from bench.sweep.plan import Job, Plan
from bench.units import format_rate, format_seconds

_REDRAW_S = 0.2  # at most this often: drawing takes milliseconds that the worker waits for


class SweepProgress:
    """An Observer that draws. On a terminal a bar under the finished jobs, elsewhere a line for each."""

    def __init__(self, plan: Plan, console: Console) -> None:
        self._console = console
        self._apart = told_apart(plan.todo)
        self._cost_left_s = sum(job.cost_s for job in plan.todo)
        self._took: list[tuple[float, float]] = []  # estimated and real seconds of each measured job
        self._last_end = self._drawn_at = time.monotonic()
        self._statuses: Counter[str] = Counter()
        self._lock = threading.Lock()  # jobs of several workers end at once
        columns = (BarColumn(16), MofNCompleteColumn(), TextColumn("{task.description}", markup=False))
        # auto_refresh would draw from a thread, in the middle of a repeat.
        self._bar = Progress(*columns, console=console, auto_refresh=False, transient=True, disable=not console.is_terminal)
        self._total = len(plan.todo)
        self._task = self._bar.add_task("", total=self._total)

    def __enter__(self) -> SweepProgress:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def note(self, text: str) -> None:
        self._console.print(text, highlight=False, markup=False)

    def loading(self, job: Job) -> None:
        text = f"loading {job.run.model.name} in {job.run.framework.name}"
        self._draw([text], at_once=True)
        if not self._console.is_terminal:
            self.note(text)

    def repeating(self, job: Job, kind: str, number: int, count: int | None) -> None:
        of = f"/{count}" if count else ""
        self._draw([job.sizes, f"{kind} {number}{of}"])

    def finished(self, job: Job, row: Row) -> None:
        with self._lock:
            self._statuses[row["status"]] += 1
            self._cost_left_s -= job.cost_s
            now = time.monotonic()
            if row["status"] == Status.ok:
                self._took.append((job.cost_s, now - self._last_end))
            self._last_end = now
            done = self.finished_jobs
            told = job_line(job, row, self._apart.get(job.run.config_id, ""))
            line = f"{done:>{len(str(self._total))}}/{max(done, self._total)} {told}"
            if self._console.is_terminal:  # there a line is a line; the table at the end has the whole message
                self._console.print(line, highlight=False, markup=False, no_wrap=True, overflow="ellipsis")
            else:
                print(line, file=self._console.file, flush=True)
            self._bar.update(self._task, completed=done, total=max(done, self._total))  # a search has more jobs than were planned
            self._draw([])

    @property
    def finished_jobs(self) -> int:
        return self._statuses.total()

    @property
    def failed(self) -> int:
        return sum(count for status, count in self._statuses.items() if not Status(status).is_result)

    def _time_left(self) -> str:
        """From each job's estimated cost, and how long the dearest quarter of those measured really took.

        Cheap ones, which come first, spend most of their time on what no estimate holds, and the very first one brings everything up.
        """
        if not (took := self._took[1:]):
            return ""
        least = nlargest(max(1, len(took) // 4), (cost_s for cost_s, _ in took))[-1]
        dearest = [each for each in took if each[0] >= least]  # all that cost the same: some of them loaded a model, or measured a line
        estimated_s, real_s = (sum(seconds) for seconds in zip(*dearest, strict=True))
        left_s = max(0.0, self._cost_left_s) * real_s / estimated_s
        return f"{format_seconds(float(f'{left_s:.1e}'))} left"

    def _draw(self, parts: list[str], at_once: bool = False) -> None:
        if self._bar.disable:
            return
        now = time.monotonic()
        if at_once or now - self._drawn_at >= _REDRAW_S:
            self._bar.update(self._task, description=" · ".join(filter(None, (*parts, self._time_left()))))
            self._bar.refresh()
            self._drawn_at = now


def told_apart(jobs: Iterable[Job]) -> dict[str, str]:
    """By config id, for points whose lines would look alike: the settings in which they differ, ` cache=static`."""
    alike: dict[str, dict[str, RunConfig]] = defaultdict(dict)
    for job in jobs:
        alike[job.label][job.run.config_id] = job.run
    found: dict[str, str] = {}
    for same in alike.values():
        if len(same) > 1:
            settings = {key: _spelled(run) for key, run in same.items()}
            shared = set.intersection(*settings.values())
            found |= {key: "".join(f" {setting}" for setting in sorted(own - shared)) for key, own in settings.items()}
    return found


def _spelled(run: RunConfig) -> set[str]:
    return {f"{key.rpartition('.')[2]}={value}" for key, value in flat({**measured(run.as_dict), **way(run.as_dict)})}


def job_line(job: Job, row: Row, apart: str = "") -> str:
    label = job.label + apart
    if row["status"] != Status.ok:
        first_line = (row["error"] or "").splitlines()[:1]
        return f"{row['status']:<7} {label}: {''.join(first_line)}"
    doubts = "".join(f" · {word}" for word, found in (("noisy", row["noise"]), ("suspect", row["suspect"])) if found)
    how = " · sampled" if row.get("source") == "sampled" else ""
    return f"{row['status']:<7} {label}: {format_seconds(row['latency_s'])}, {format_rate(row['output_tok_s'])}{how}{doubts}"
