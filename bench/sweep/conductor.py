"""One sweep from its points to its rows: plan, run, and say what happened. A single run is a sweep of one point."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from bench import machine
from bench.config import RunConfig
from bench.errors import InvalidSetting
from bench.results import Store
from bench.sweep.claims import Claims
from bench.sweep.group import GroupRunner
from bench.sweep.local import run_locally
from bench.sweep.plan import DONE_COLUMNS, JobKey, Ledger, Plan, make_plan
from bench.sweep.progress import SweepProgress

MANY_FILES = 500  # from here on, reading them one by one is what a resumed sweep waits for


@dataclass(frozen=True)
class Finished:
    folder: Path
    ran: int
    failed: int  # jobs without a result: crashed, failed, timed out


def run_sweep(points: Sequence[RunConfig], console: Console, workers: int = 1) -> Finished:
    """Run what is not done yet, a row for each job.

    Raises InvalidSetting where the output folder is no good, RowNotWritten where the disk is full, and
    KeyboardInterrupt, for SIGTERM too, once the jobs in flight have their rows.
    """
    store = Store(one_folder(points))
    store.prepare()
    claims = Claims(store.folder)
    names, host = store.names(), machine.describe()
    plan = make_plan(points, store.rows(DONE_COLUMNS), host.fingerprint)
    console.print(announcement(plan, host.summary), highlight=False, markup=False)
    gate = _Gate(store, claims, names, plan.ledger)
    with SweepProgress(plan, console) as progress, _terminated_like_interrupted():
        run_locally(plan.groups, lambda slot: GroupRunner(store, progress, plan.ledger, gate, slot), workers)
    if gate.elsewhere:
        console.print(f"{gate.elsewhere} jobs were left to another process that works on {store.folder}", highlight=False)
    if len(store.names()) >= MANY_FILES and not claims.shared:
        store.compact()
    claims.close()
    return Finished(store.folder, progress.finished_jobs, progress.failed)


@dataclass
class _Gate:
    """Lets a job run unless another process runs it, or has run it since the plan was made."""

    store: Store
    claims: Claims
    names: frozenset[str]  # of the files that the plan knows
    ledger: Ledger
    elsewhere: int = 0

    def __call__(self, job: JobKey) -> bool:
        if not self.claims.claim(job):
            self.elsewhere += 1
            return False
        status = self.store.status_since(*job, self.names) if self.claims.shared else None
        if status and status.is_result:
            self.ledger.statuses[job] = status
            self.elsewhere += 1
            return False
        return True


@contextmanager
def _terminated_like_interrupted() -> Iterator[None]:
    """SIGTERM, which schedulers and shutdowns send, ends a sweep as Ctrl-C does."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    try:
        before = signal.signal(signal.SIGTERM, interrupt)
    except ValueError:  # not in the main thread, as in a notebook's worker: leave it
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def one_folder(points: Sequence[RunConfig]) -> Path:
    folders = sorted({point.output_dir for point in points})
    if len(folders) > 1:
        raise InvalidSetting("output_dir", ", ".join(folders), "one sweep writes to one folder; don't let it or name depend on a swept key")
    return Path(folders[0])


def announcement(plan: Plan, host: str) -> str:
    jobs = f"{len(plan.todo)} jobs to run" if len(plan.todo) != 1 else "1 job to run"
    done = f", {plan.done} already done" if plan.done else ""
    loads = f", {plan.loads} model load{'s' if plan.loads != 1 else ''}" if plan.loads else ""
    return f"{host}\n{jobs}{done}{loads}" if plan.todo else f"{host}\nnothing left to do: all {plan.done} jobs are done"
