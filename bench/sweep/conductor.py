"""One sweep from its points to its rows: plan, run, and say what happened. A single run is a sweep of one point."""

from __future__ import annotations

import fcntl
import os
import platform
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from hydra._internal.callbacks import Callbacks
from hydra.core.plugins import Plugins
from hydra.types import HydraContext
from omegaconf import DictConfig
from rich.console import Console

from bench.compose.composer import to_run_config
from bench.compose.request import Request
from bench.compose.schemas import Placement
from bench.config import OF_THE_SWEEP, Decode, RunConfig
from bench.errors import InvalidSetting, NothingSupported, PointsFailed, require
from bench.host import machine
from bench.host.devices import devices_for
from bench.host.processes import on_sigterm
from bench.results import Status, Store
from bench.sweep import ray, slurm
from bench.sweep.cluster import collect
from bench.sweep.done import DONE_COLUMNS, rows_that_count
from bench.sweep.group import Observer
from bench.sweep.local import run_locally
from bench.sweep.outcome import host_of
from bench.sweep.plan import Job, Ledger, Plan, largest_batch, make_plan, probe_of
from bench.sweep.progress import SweepProgress, told_apart
from bench.sweep.sampling import decided, with_lines

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


def launch(request: Request, console: Console) -> Finished:
    """Run the points by our launcher, which keeps models loaded, or by one of Hydra's own. Raises what run_sweep raises."""
    return run_sweep(request.points, console, request.placement) if request.placement else _launch_by_hydra(request)


def _launch_by_hydra(request: Request) -> Finished:
    """hydra/launcher=basic, joblib, submitit_slurm, ...: each point by itself, with a fresh load."""
    if any(point.measure.decode is Decode.sampled for point in request.points):
        problem = "points share windows only where one process runs them all; leave hydra/launcher out, or use full"
        raise InvalidSetting("measure.decode", "sampled", problem)
    context = HydraContext(config_loader=request.loader, callbacks=Callbacks())
    launcher = Plugins.instance().instantiate_launcher(hydra_context=context, task_function=_one_point, config=request.master)
    done: list[Finished] = [job.return_value for job in launcher.launch(request.overrides, initial_job_idx=0)]
    ran, failed, elsewhere = (sum(getattr(each, count) for each in done) for count in ("ran", "failed", "elsewhere"))
    return Finished(done[0].folder, ran, failed, elsewhere, all(each.unsupported for each in done))


def _one_point(config: DictConfig) -> Finished:
    return run_sweep([to_run_config(config)], Console())


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
    with _alone_in(store.folder, console.print):
        return _run_alone(points, store, console, placement)


@contextmanager
def _alone_in(folder: Path, tell: Callable[[str], None]) -> Iterator[None]:
    """Hold the folder's lock, which ends with its process, however it ends; `tell` hears of whom it has to wait for."""
    with (folder / ".lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            tell(f"{lock.read() or 'another process'} works on {folder}; waiting for its end")
            fcntl.flock(lock, fcntl.LOCK_EX)
        lock.truncate(0)
        print(f"process {os.getpid()} on {platform.node()}", end="", file=lock, flush=True)
        yield


def _run_alone(points: Sequence[RunConfig], store: Store, console: Console, placement: Placement) -> Finished:
    names = store.names()
    sampling = decided(points)
    rows = rows_that_count(sampling.points, store.rows(DONE_COLUMNS), here=placement.executor == "local")
    plan = make_plan(sampling.points, rows)
    plan = replace(plan, todo=tuple(with_lines(plan.todo)))
    console.print(announcement(plan, machine.describe().summary, sampling.summary), highlight=False, markup=False)
    with SweepProgress(plan, console) as progress, on_sigterm(_interrupt):
        elsewhere = _carry_out(plan, store, names, placement, progress)
    for found in _found(sampling.points, plan.ledger):
        console.print(found, highlight=False, markup=False)
    if len(store.names()) >= MANY_FILES and not elsewhere:
        store.compact()
    first = [probe_of(point, 1) if point.is_search else point for point in sampling.points]
    statuses = {plan.ledger.statuses.get((point.config_id, 0)) for point in first}
    return Finished(store.folder, progress.finished_jobs, progress.failed, elsewhere, statuses == {Status.unsupported})


def _found(points: Sequence[RunConfig], ledger: Ledger) -> Iterator[str]:
    """What the searches for the largest batch found, where each round found one."""
    searches = {point.config_id: Job(point, 0) for point in points if point.is_search}
    apart = told_apart(searches.values())
    for config_id, job in searches.items():
        sizes = [largest_batch(replace(job, round=number), ledger) or 0 for number in range(job.run.rounds)]
        if min(sizes) > 0:
            yield f"{job.label}{apart.get(config_id, '')}: {min(sizes)} is the largest that completes"


def _refuse_other_hardware(points: Sequence[RunConfig]) -> None:
    for point in points:
        if found := devices_for(point).misfit(point.hardware):
            remedy = "choose the hardware that is there, or keep the name as a mere label by hardware.is_label=true"
            raise InvalidSetting("hardware.name", point.hardware.name, f"{found}; {remedy}")


def _carry_out(plan: Plan, store: Store, names: frozenset[str], placement: Placement, observer: Observer) -> int:
    """Run what is planned; returns how many jobs are in the hands of somebody else then."""
    if placement.executor == "local":
        run_locally(plan, store, observer, placement.workers)
    elif plan.todo:
        cluster = slurm if placement.executor == "slurm" else ray
        with cluster.placed(plan, store, placement.params, observer.note) as groups:
            if placement.detach:
                return sum(len(group.jobs) for group in groups)
            collect(groups, store, names, observer, plan.ledger)
    return 0


def _interrupt() -> None:
    raise KeyboardInterrupt


def one_folder(points: Sequence[RunConfig]) -> Path:
    """The folder that all points go to. Raises InvalidSetting where they disagree in what holds for a whole sweep."""
    for key in OF_THE_SWEEP:
        values = sorted({f"{getattr(point, key)}" for point in points})
        require(len(values) == 1, key, ", ".join(values), "holds for the whole sweep: give it one value, that depends on no swept setting")
    return Path(points[0].output_dir)


def announcement(plan: Plan, host: str, sampling: str | None = None) -> str:
    if not plan.todo:
        return f"{host}\nnothing left to do: all {plan.done} jobs are done; rerun=all runs them again"
    jobs = f"{len(plan.todo)} jobs to run" if len(plan.todo) != 1 else "1 job to run"
    done = f", {plan.done} already done" if plan.done else ""
    told = f"\n{sampling}" if sampling else ""
    return f"{host}\n{jobs}{done}, {plan.loads} model load{'s' if plan.loads != 1 else ''}{told}"
