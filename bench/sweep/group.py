"""Run jobs one after the other, each model loaded once: every job ends as a row, whatever happens to it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from bench import machine
from bench.measure.monitors import SystemMonitor
from bench.results import Row, Status, Store
from bench.sweep.outcome import Outcome, to_row
from bench.sweep.plan import Job
from bench.sweep.resident import JobLost, ResidentWorker


class Observer(Protocol):
    """Whoever wants to know how the sweep goes. Called while nothing is timed."""

    def loading(self, job: Job) -> None: ...
    def repeating(self, job: Job, kind: str, number: int, count: int) -> None: ...
    def finished(self, job: Job, row: Row) -> None: ...


class GroupRunner:
    """Keeps one worker alive as long as jobs share its load key."""

    def __init__(self, store: Store, observer: Observer) -> None:
        self._store = store
        self._observer = observer
        self._worker: ResidentWorker | None = None
        self._loaded_key: str | None = None
        self._broken_loads: dict[str, JobLost] = {}

    def run(self, jobs: Iterable[Job]) -> None:
        try:
            for job in jobs:
                self._run_one(job)
        finally:
            self._recycle()

    def _run_one(self, job: Job) -> None:
        started_at = datetime.now(UTC)
        monitor = SystemMonitor(job.run.measure.interval_s) if job.run.measure.system_metrics else None
        try:
            outcome = self._outcome(job, monitor)
        except KeyboardInterrupt:
            self._finish(job, Outcome(Status.interrupted, "stopped by Ctrl-C; the same command runs it again"), started_at, None)
            raise
        self._finish(job, outcome, started_at, monitor)

    def _outcome(self, job: Job, monitor: SystemMonitor | None) -> Outcome:
        try:
            worker = self._worker_for(job)
            if monitor:
                monitor.start()
            return Outcome(Status.ok, measurement=worker.measure(job.run, lambda *repeat: self._observer.repeating(job, *repeat)))
        except JobLost as lost:
            if not lost.worker_lives or lost.status is Status.oom:  # after an oom, memory may stay lost or fragmented
                self._recycle()
            return Outcome(lost.status, str(lost))
        finally:
            if monitor:
                monitor.stop()

    def _worker_for(self, job: Job) -> ResidentWorker:
        """The worker with this job's model. Raises JobLost; a load that failed once is not tried for each point again."""
        key = job.run.load_key
        if self._worker and key == self._loaded_key:
            return self._worker
        if key in self._broken_loads:
            raise self._broken_loads[key]
        self._recycle()
        self._observer.loading(job)
        worker = self._worker = ResidentWorker(job.run, self._log(job))
        try:
            worker.load(job.run)
        except JobLost as lost:
            self._broken_loads[key] = JobLost(lost.status, f"while loading: {lost}")
            raise self._broken_loads[key] from lost
        self._loaded_key = key
        return worker

    def _finish(self, job: Job, outcome: Outcome, started_at: datetime, monitor: SystemMonitor | None) -> None:
        row = to_row(job, outcome, started_at, machine.describe(), monitor.get_history() if monitor else None)
        self._store.write(row)
        self._observer.finished(job, row)

    def _log(self, job: Job) -> Path:
        return self._store.folder / "logs" / f"{job.run.framework.name}-{job.run.load_key}.log"

    def _recycle(self) -> None:
        if self._worker:
            self._worker.close()
        self._worker = self._loaded_key = None
