"""One sweep from its points to its rows: plan, run, and say what happened. A single run is a sweep of one point."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from bench.compose.placement import Placement
from bench.config import RunConfig
from bench.errors import InvalidSetting, NothingSupported, PointsFailed
from bench.host import machine
from bench.host.ceilings import CeilingKeeper
from bench.host.devices import Slot, devices_for
from bench.results import Status, Store
from bench.sweep.alone import alone_in
from bench.sweep.cluster import collect
from bench.sweep.done import DONE_COLUMNS, rows_that_count
from bench.sweep.group import GroupRunner, Observer
from bench.sweep.local import run_locally
from bench.sweep.outcome import host_of
from bench.sweep.plan import Plan, make_plan
from bench.sweep.progress import SweepProgress
from bench.sweep.sampling import decided, with_lines
from bench.sweep.sigterm import on_sigterm

MANY_FILES = 2_000  # from here on, reading them one by one is what a resumed sweep waits for


@dataclass(frozen=True)
class Finished:
    folder: Path
    ran: int = 0
    failed: int = 0  # jobs without a result: crashed, failed, timed out
    elsewhere: int = 0  # jobs that a cluster goes on with
    unsupported: bool = False  # that is what all points are

    def check(self) -> None:
        """Raise PointsFailed or NothingSupported where the sweep did not bring what was asked for."""
        if self.failed:
            raise PointsFailed(self.failed, self.ran, self.folder)
        if self.unsupported:
            raise NothingSupported(self.folder)


def run_sweep(points: Sequence[RunConfig], console: Console, placement: Placement | None = None) -> Finished:
    """Run what is not done yet, a row for each job.

    Raises InvalidSetting where the output folder is no good, RowNotWritten where the disk is full, and
    KeyboardInterrupt, for SIGTERM too, once the jobs in flight have their rows.
    """
    placement = placement or Placement()
    store = Store(one_folder(points))
    if placement.executor == "local":
        _refuse_other_hardware(points)
    store.prepare()
    for point in points:
        host_of(point)  # an interpreter that is not there is told now
    with alone_in(store.folder, console.print):
        return _run_alone(points, store, console, placement)


def _run_alone(points: Sequence[RunConfig], store: Store, console: Console, placement: Placement) -> Finished:
    names = store.names()
    sampling = decided(points)
    rows = rows_that_count(sampling.points, store.rows(DONE_COLUMNS), here=placement.executor == "local")
    plan = make_plan(sampling.points, rows)
    plan = replace(plan, todo=tuple(with_lines(plan.todo)))
    console.print(announcement(plan, machine.describe().summary, sampling.summary), highlight=False, markup=False)
    sweep = _Sweep(store, plan, names, placement, console)
    with SweepProgress(plan, console) as progress, on_sigterm(_interrupt):
        elsewhere = getattr(sweep, placement.executor)(progress)
    if len(store.names()) >= MANY_FILES and not elsewhere:
        store.compact()
    statuses = {plan.ledger.statuses.get((point.config_id, 0)) for point in points}
    return Finished(store.folder, progress.finished_jobs, progress.failed, elsewhere, statuses == {Status.unsupported})


def _refuse_other_hardware(points: Sequence[RunConfig]) -> None:
    for point in points:
        if found := devices_for(point).misfit(point.hardware):
            remedy = "choose the hardware that is there, or keep the name as a mere label by hardware.is_label=true"
            raise InvalidSetting("hardware.name", point.hardware.name, f"{found}; {remedy}")


@dataclass(frozen=True)
class _Sweep:
    """A planned sweep; a method per executor, each returns how many jobs are in the hands of somebody else."""

    store: Store
    plan: Plan
    names: frozenset[str]
    placement: Placement
    console: Console

    def local(self, observer: Observer) -> int:
        ceilings = CeilingKeeper(may_repeat=self.placement.workers == 1)
        for job in self.plan.todo:
            ceilings.ensure(job.run, observer.note)  # before any worker starts: it needs the host to itself

        def make_runner(slot: Slot) -> GroupRunner:
            return GroupRunner(self.store, observer, self.plan.ledger, slot, ceilings)

        if self.plan.todo:
            run_locally(self.plan.groups, make_runner, self.placement.workers)
        return 0

    def slurm(self, observer: Observer) -> int:
        from bench.sweep import slurm

        submissions = slurm.Submissions(self.store)
        placed = submissions.alive(self.plan.todo)
        under_way = {job.key for group in placed for job in group.jobs}
        new = [[job for job in group if job.key not in under_way] for group in self.plan.groups]
        submitted = slurm.submit([group for group in new if group], self.store, self.plan.ledger, self.placement.params)
        submissions.add(submitted)
        placed += submitted
        if placed:
            self.console.print(f"Slurm jobs: {' '.join(group.job_id for group in placed)}", highlight=False)
        if self.placement.detach:
            return sum(len(group.jobs) for group in placed)
        collect(placed, self.store, self.names, observer, self.plan.ledger)
        return 0

    def ray(self, observer: Observer) -> int:
        from bench.sweep import ray

        if self.plan.todo:
            with ray.placed(self.plan.groups, self.store, self.plan.ledger, self.placement.params) as tasks:
                collect(tasks, self.store, self.names, observer, self.plan.ledger)
        return 0


def _interrupt() -> None:
    raise KeyboardInterrupt


def one_folder(points: Sequence[RunConfig]) -> Path:
    folders = sorted({point.output_dir for point in points})
    if len(folders) > 1:
        raise InvalidSetting("output_dir", ", ".join(folders), "one sweep writes to one folder; don't let it or name depend on a swept key")
    return Path(folders[0])


def announcement(plan: Plan, host: str, sampling: str | None = None) -> str:
    if not plan.todo:
        return f"{host}\nnothing left to do: all {plan.done} jobs are done; rerun=all runs them again"
    jobs = f"{len(plan.todo)} jobs to run" if len(plan.todo) != 1 else "1 job to run"
    done = f", {plan.done} already done" if plan.done else ""
    told = f"\n{sampling}" if sampling else ""
    return f"{host}\n{jobs}{done}, {plan.loads} model load{'s' if plan.loads != 1 else ''}{told}"
