"""Run jobs one after the other, each model loaded once: every job ends as a row, whatever happens to it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from bench.config import NoisePolicy, RunConfig
from bench.frameworks.failure import REFUSALS, JobLost
from bench.host.ceilings import CeilingKeeper
from bench.host.devices import Slot, devices_for
from bench.host.monitors import SystemMonitor
from bench.host.noise import wait_until_quiet
from bench.measure.point import OnRepeat
from bench.measure.sampled import Line
from bench.results import Row, Status, Store
from bench.sweep.outcome import Outcome, host_of, to_row
from bench.sweep.plan import Job, Ledger, predicted_bytes, with_probes
from bench.sweep.sampling import LineKeeper
from bench.units import format_bytes
from bench.worker.resident import ResidentWorker, memory_limit_bytes

# Other loads may fail for a reason that passes, as memory that the process before has not given back yet.
_NOT_TRIED_AGAIN = (*REFUSALS, Status.timeout, Status.interrupted)


class Observer(Protocol):
    """Whoever wants to know how the sweep goes. Called while nothing is timed."""

    def note(self, text: str) -> None: ...
    def loading(self, job: Job) -> None: ...
    def repeating(self, job: Job, kind: str, number: int, count: int | None) -> None: ...
    def finished(self, job: Job, row: Row) -> None: ...


@dataclass
class GroupRunner:
    """Keeps one worker alive as long as jobs share its load key."""

    store: Store
    observer: Observer
    ledger: Ledger = field(default_factory=Ledger)
    slot: Slot = field(default_factory=Slot)
    ceilings: CeilingKeeper = field(default_factory=CeilingKeeper)
    stopped_by: str | None = None
    _worker: ResidentWorker | None = None
    _loaded_key: str | None = None
    _broken_loads: dict[str, JobLost] = field(default_factory=dict)
    _lines: LineKeeper = field(default_factory=LineKeeper)

    def run(self, jobs: Iterable[Job]) -> None:
        """Every job gets its row; raises only what keeps rows from being written."""
        try:
            for job in with_probes(jobs, self.ledger):
                if self.stopped_by:
                    return
                self._run_one(job)
        finally:
            self._recycle()

    def stop(self, reason: str) -> None:
        """End the job in flight, from another thread: its row says `reason`, and no further job starts."""
        self.stopped_by = reason
        if self._worker:
            self._worker.kill()

    def _run_one(self, job: Job) -> None:
        started_at = datetime.now(UTC)
        gpus = devices_for(job.run, self.slot).gpus
        monitor = SystemMonitor(job.run.measure.interval_s, gpus) if job.run.measure.system_metrics else None
        self.ceilings.ensure(job.run, self.observer.note)  # before the model of the first job takes the memory
        outcome = self._pruned(job) or self._measured(job, monitor)
        if self.stopped_by and outcome.status is not Status.ok:
            outcome = Outcome(Status.interrupted, self.stopped_by)
        row = self._row(job, outcome, started_at, monitor)
        self.store.write(row)
        self.ledger.record(job, outcome.status)
        self.observer.finished(job, row)

    def _row(self, job: Job, outcome: Outcome, started_at: datetime, monitor: SystemMonitor | None) -> Row:
        def row() -> Row:
            return to_row(job, outcome, started_at, host_of(job.run), self.ceilings.known, monitor.get_history() if monitor else None)

        first = row()
        return row() if first.get("suspect") and self.ceilings.raised(job.run, self.observer.note) else first

    def _pruned(self, job: Job) -> Outcome | None:
        if found := devices_for(job.run, self.slot).misfit(job.run.hardware):
            return Outcome(Status.unsupported, f"hardware.name={job.run.hardware.name}: {found}")
        if job.run.prune and (smaller := self.ledger.ruled_out_by(job)):
            run = smaller.run
            needs = f"batch {run.batch_size}, {run.input_tokens} input and {run.output_tokens} output tokens ran out of memory"
            return Outcome(Status.pruned, f"not run: {needs} ({run.point_id}), and this needs no less; prune=false runs it anyway")
        if not job.run.prune_predicted:
            return None
        needed, left = predicted_bytes(job.run), self._memory_bytes(job.run)
        if not needed or not left or needed <= left:
            return None
        told = f"needs {format_bytes(needed)} by prediction, and {format_bytes(left)} are to be had"
        return Outcome(Status.pruned, f"not run: {told}; prune_predicted=false runs it anyway")

    def _memory_bytes(self, run: RunConfig) -> int | None:
        """What a worker has for the whole model: its GPUs' memory, or the host's before it loaded anything."""
        here = devices_for(run, self.slot)
        if here.on_gpu(run):
            return here.memory_bytes(run)
        return self._worker.memory_bytes if self._worker and self._loaded_key == run.load_key else memory_limit_bytes(run)

    def _measured(self, job: Job, monitor: SystemMonitor | None) -> Outcome:
        try:
            self._worker_for(job)
            if job.run.noise is NoisePolicy.wait:
                self._wait_until_quiet(job.run.noise_wait_s)
            if monitor:
                monitor.start()
            if job.line and (sampled := self._lines.measurement(job, self._sampled)):
                return Outcome(Status.ok, measurement=sampled)
            if self.stopped_by:
                return Outcome(Status.interrupted, self.stopped_by)
            return Outcome(
                Status.ok, measurement=self._lines.once(job, lambda: self._worker_for(job).measure(job.run, self._repeating(job)))
            )
        except JobLost as lost:
            self._recycle_after(lost)
            return Outcome(lost.status, str(lost))
        finally:
            if monitor:
                monitor.stop()

    def _sampled(self, job: Job, points: Sequence[RunConfig]) -> Line:
        """The windows of these points. Raises JobLost, also where the model cannot be loaded again."""
        pruned = [run for run in points if run.prune and self.ledger.ruled_out_by(replace(job, run=run))]
        possible = [run for run in points if run not in pruned]
        if not possible:
            raise JobLost(Status.pruned, "all that need these windows are known not to fit")
        try:
            return self._worker_for(job).sample(possible, self._repeating(job))
        except JobLost as lost:
            self._recycle_after(lost)
            raise

    def _repeating(self, job: Job) -> OnRepeat:
        return lambda repeat: self.observer.repeating(job, repeat.kind, repeat.number, repeat.count)

    def _recycle_after(self, lost: JobLost) -> None:
        if lost.status not in REFUSALS:
            self._recycle()

    def _wait_until_quiet(self, limit_s: float) -> None:
        def say(reason: str) -> None:
            self.observer.note(f"waiting up to {limit_s:g} s for a quiet host: {reason}")

        wait_until_quiet(limit_s, say, given_up=lambda: self.stopped_by is not None, cpus=self.slot.cpus)

    def _worker_for(self, job: Job) -> ResidentWorker:
        """The worker with this job's model. Raises JobLost; a load that failed twice is not tried for each point again."""
        key = job.run.load_key
        if self._worker and key == self._loaded_key:
            return self._worker
        if key in self._broken_loads:
            raise self._broken_loads[key]
        try:
            return self._loaded(job)
        except JobLost as lost:
            if lost.status in _NOT_TRIED_AGAIN or self.stopped_by:
                raise self._broken(key, lost) from lost
            self.observer.note(f"loading {job.run.model.name} once more: {lost}")
        try:
            return self._loaded(job)
        except JobLost as lost:
            raise self._broken(key, lost) from lost

    def _loaded(self, job: Job) -> ResidentWorker:
        self._recycle()
        self.observer.loading(job)
        worker = self._worker = ResidentWorker(job.run, self._log(job), self.slot)
        if self.stopped_by:  # since before there was a worker to kill
            raise JobLost(Status.interrupted, self.stopped_by)
        worker.load(self.ledger.largest.get(job.run.load_key, job.run))
        self._loaded_key = job.run.load_key
        return worker

    def _broken(self, key: str, lost: JobLost) -> JobLost:
        self._broken_loads[key] = JobLost(lost.status, f"while loading: {lost}")
        return self._broken_loads[key]

    def _log(self, job: Job) -> Path:
        return self.store.folder / "logs" / f"{job.run.framework.name}-{job.run.load_key}.log"

    def _recycle(self) -> None:
        if self._worker:
            self._worker.close()
        self._worker = self._loaded_key = None
