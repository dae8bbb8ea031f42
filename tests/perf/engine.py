"""What the sweep engine costs at ten thousand points, after a worker's death, and against a fresh process per point."""

from __future__ import annotations

import os
import signal
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from time import perf_counter, process_time

from bench import sweep
from bench.config import RunConfig
from bench.host.devices import Slot
from bench.results import Status, Store
from bench.sweep.done import DONE_COLUMNS, rows_that_count
from bench.sweep.outcome import Outcome, host_of, to_row
from bench.sweep.plan import Job, make_plan
from bench.worker.resident import ResidentWorker
from tests.perf.figures import Figure, cost_of


def ten_thousand_points() -> list[Figure]:
    """Plan a sweep whose jobs are all done, at growing sizes; then merge and load its rows."""
    cpu_s: dict[int, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        for count in (100, 1_000, 10_000):
            store = Store(Path(folder) / str(count))
            store.prepare()
            _write_rows(store, sweep.points(*_grid(count)))
            started = perf_counter()
            store.compact()
            merge_s = perf_counter() - started
            before = process_time()
            points = sweep.points(*_grid(count))
            plan = make_plan(points, rows_that_count(points, store.rows(DONE_COLUMNS), here=True))
            cpu_s[count] = process_time() - before
            assert plan.done == count
            started = perf_counter()
            assert len(store.table()) == count
            load_s = perf_counter() - started
    growth = cpu_s[10_000] / cpu_s[1_000]
    return [
        Figure(
            "10,000 points composed, checked, grouped, ordered, all found done: CPU",
            f"{cpu_s[10_000]:.1f} s",
            "≤ 10 s",
            cpu_s[10_000] <= 10,
        ),
        Figure("the same at 100 and 1,000 points", f"{cpu_s[100]:.2f} s, {cpu_s[1_000]:.2f} s"),
        Figure("growth from 1,000 to 10,000 points", f"{growth:.1f}x", "linear", growth <= 12),
        Figure("10,000 rows loaded after merging", f"{load_s:.2f} s", "≤ 1 s", load_s <= 1),
        Figure("merging them, once", f"{merge_s:.1f} s"),
    ]


def _grid(count: int) -> list[str]:
    return ["framework=fake", f"batch_size=range(1,{count + 1})"]


def _write_rows(store: Store, points: list[RunConfig]) -> None:
    started_at = datetime(2026, 1, 1, tzinfo=UTC)
    for i, run in enumerate(points):
        row = to_row(Job(run, 0), Outcome(Status.unsupported), started_at + timedelta(seconds=i), host_of(run))
        store.write(row)


def restart_after_death(times: int = 5) -> list[Figure]:
    """Load a model, kill its worker, and load it in the next: against the first load."""
    [run] = sweep.points("hardware=cpu", "model.architecture.num_hidden_layers=16")  # 51 million parameters
    fresh, again = [], []
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        for _ in range(times):
            started = perf_counter()
            worker = ResidentWorker(run, log, Slot())
            worker.load(run)
            fresh.append(perf_counter() - started)
            os.kill(worker.pid, signal.SIGKILL)
            started = perf_counter()
            worker.close()
            following = ResidentWorker(run, log, Slot())
            following.load(run)
            again.append(perf_counter() - started)
            following.close()
    ratio = median(again) / median(fresh)
    told = f"{ratio:.2f}x ({median(again):.1f} s against {median(fresh):.1f} s)"
    return [Figure("restart after a worker's death over a fresh load, 51M parameters", told, "≤ 1.3x", ratio <= 1.3)]


def fresh_process_per_point() -> list[Figure]:
    """The demo's grid both ways, in turns: resident workers, and Hydra's launcher with a new worker for each point."""
    grid = ["-m", "bench.run", "-m", "+sweeps=demo", "report=false"]
    with tempfile.TemporaryDirectory() as folder:
        resident = cost_of([*grid, "name=resident"], Path(folder))
        fresh = cost_of([*grid, "name=fresh", "hydra/launcher=basic"], Path(folder))
        spent = {name: sum(row["spent_s"] for row in Store(Path(folder) / "outputs" / name).rows()) for name in ("resident", "fresh")}
    return [
        Figure(
            "demo with resident workers: wall, share of it measuring", f"{resident.wall_s:.0f} s, {spent['resident'] / resident.wall_s:.0%}"
        ),
        Figure("demo with a fresh process per point", f"{fresh.wall_s:.0f} s, {spent['fresh'] / fresh.wall_s:.0%}"),
        Figure(
            "without what both spend measuring",
            f"{resident.wall_s - spent['resident']:.0f} s against {fresh.wall_s - spent['fresh']:.0f} s",
        ),
    ]
