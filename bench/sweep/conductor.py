"""One sweep from its points to its rows: plan, run, and say what happened. A single run is a sweep of one point."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from bench import machine
from bench.config import RunConfig
from bench.errors import InvalidSetting
from bench.results import Store
from bench.sweep.group import GroupRunner
from bench.sweep.plan import DONE_COLUMNS, Plan, make_plan
from bench.sweep.progress import SweepProgress


@dataclass(frozen=True)
class Finished:
    folder: Path
    ran: int
    failed: int  # jobs without a result: crashed, failed, timed out


def run_sweep(points: Sequence[RunConfig], console: Console) -> Finished:
    """Run what is not done yet, a row for each job. Raises InvalidSetting where the output folder is no good."""
    store = Store(one_folder(points))
    store.prepare()
    host = machine.describe()
    plan = make_plan(points, store.rows(DONE_COLUMNS), host.fingerprint)
    console.print(announcement(plan, host.summary), highlight=False, markup=False)
    with SweepProgress(plan, console) as progress:
        GroupRunner(store, progress).run(plan.todo)
    return Finished(store.folder, len(plan.todo), progress.failed)


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
