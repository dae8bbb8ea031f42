"""What a sweep shows while it runs: a live bar on a terminal, plain lines elsewhere; never while a repeat is timed."""

from __future__ import annotations

import threading
import time
from collections import Counter

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from bench.results import Row, Status
from bench.sweep.plan import Job, Plan
from bench.units import format_rate, format_seconds

_REDRAW_S = 0.2  # at most this often: drawing takes milliseconds that the worker waits for


class SweepProgress:
    """An Observer that draws. On a terminal a bar under the finished jobs, elsewhere a line for each."""

    def __init__(self, plan: Plan, console: Console) -> None:
        self._console = console
        self._cost_s = sum(job.cost_s for job in plan.todo)
        self._finished_cost_s = 0.0
        self._started = self._drawn_at = time.monotonic()
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
        self._draw(text, at_once=True)
        if not self._console.is_terminal:
            self.note(text)

    def repeating(self, job: Job, kind: str, number: int, count: int | None) -> None:
        of = f"/{count}" if count else ""
        self._draw(" · ".join(filter(None, (job.sizes, f"{kind} {number}{of}", self._time_left()))))

    def finished(self, job: Job, row: Row) -> None:
        with self._lock:
            self._statuses[row["status"]] += 1
            self._finished_cost_s += job.cost_s
            done = self.finished_jobs
            line = f"{done:>{len(str(self._total))}}/{max(done, self._total)} {job_line(job, row)}"
            if self._console.is_terminal:  # there a line is a line; the table at the end has the whole message
                self._console.print(line, highlight=False, markup=False, no_wrap=True, overflow="ellipsis")
            else:
                print(line, file=self._console.file, flush=True)
            self._bar.update(self._task, completed=done, total=max(done, self._total))  # a search has more jobs than were planned
            self._draw(self._time_left())

    @property
    def finished_jobs(self) -> int:
        return self._statuses.total()

    @property
    def failed(self) -> int:
        return sum(count for status, count in self._statuses.items() if not Status(status).is_result)

    def _time_left(self) -> str:
        """From each job's estimated cost, and how long the finished ones really took."""
        if not self._finished_cost_s:
            return ""
        left_s = max(0.0, self._cost_s / self._finished_cost_s - 1) * (time.monotonic() - self._started)
        return f"{format_seconds(float(f'{left_s:.1e}'))} left"

    def _draw(self, text: str, at_once: bool = False) -> None:
        now = time.monotonic()
        if at_once or now - self._drawn_at >= _REDRAW_S:
            self._bar.update(self._task, description=text)
            self._bar.refresh()
            self._drawn_at = now


def job_line(job: Job, row: Row) -> str:
    if row["status"] != Status.ok:
        first_line = (row["error"] or "").splitlines()[:1]
        return f"{row['status']:<7} {job.label}: {''.join(first_line)}"
    doubts = "".join(f" · {word}" for word, found in (("noisy", row["noise"]), ("suspect", row["suspect"])) if found)
    how = " · sampled" if row.get("source") == "sampled" else ""
    return f"{row['status']:<7} {job.label}: {format_seconds(row['latency_s'])}, {format_rate(row['output_tok_s'])}{how}{doubts}"
