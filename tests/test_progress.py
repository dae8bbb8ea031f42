"""What a sweep shows while it runs."""

from __future__ import annotations

import io
import re
import time

import pytest
from rich.console import Console

from bench.sweep.plan import Job, make_plan
from bench.sweep.progress import SweepProgress
from tests.conftest import Command, fake_run


def test_points_that_would_look_alike_are_told_apart_by_the_settings_in_which_they_differ(bench_run: Command) -> None:
    ran = bench_run("framework=fake", "framework.largest_batch=4,8", "seed=1,2", "batch_size=2,3", "num_runs=1", "report=false")
    lines = [line for line in ran.stdout.splitlines() if " ok " in line]
    assert len({re.sub(r"^.*? ok +|:.*", "", line) for line in lines}) == len(lines) == 8
    assert sum(" largest_batch=8 seed=1:" in line for line in lines) == 2
    ran = bench_run("framework=fake", "num_runs=1,2", "report=false", "name=ways")
    assert all(f"out 101 num_runs={count}: " in ran.stdout for count in (1, 2))
    alone = bench_run("framework=fake", "batch_size=2", "num_runs=1", "report=false", "name=alone")
    assert "out 101: " in alone.stdout


def test_the_time_left_is_of_the_right_size_early_in_a_sweep_although_cheap_jobs_take_longer_than_their_cost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each job takes 0.5 s and what it costs, the first one 5 s more, for loading."""
    clock_s, screen = 100.0, io.StringIO()
    monkeypatch.setattr(time, "monotonic", lambda: clock_s)
    plan = make_plan([fake_run(batch_size=2**i, output_tokens=3**j) for i in range(6) for j in range(6)], [])
    left_s = {job.key: 0.5 + job.cost_s * 1e4 for job in plan.todo}
    left_s[plan.todo[0].key] += 5
    off = []
    with SweepProgress(plan, Console(file=screen, force_terminal=True, width=200)) as shown:
        for number, job in enumerate(plan.todo):
            shown.repeating(job, "repeat", 1, 1)
            clock_s += left_s.pop(job.key)
            screen.truncate(0)
            shown.finished(job, _row(job))
            if number >= 2 and left_s and (told := re.findall(r"([\d.]+) (ms|s|min|h) left", screen.getvalue())):
                number_s, unit = told[-1]
                off.append(float(number_s) * {"ms": 1e-3, "s": 1, "min": 60, "h": 3600}[unit] / sum(left_s.values()))
    assert len(off) > 20
    assert max(off) < 2.5
    assert min(off) > 0.4


def test_of_jobs_that_cost_the_same_those_that_load_a_model_do_not_stand_for_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight models of four jobs: each job takes 2 s, and loading 30 s."""
    clock_s, screen = 100.0, io.StringIO()
    monkeypatch.setattr(time, "monotonic", lambda: clock_s)
    plan = make_plan([fake_run(seed=seed) for seed in range(32)], [])
    with SweepProgress(plan, Console(file=screen, force_terminal=True, width=200)) as shown:
        for number, job in enumerate(plan.todo[:16]):
            clock_s += 2 if number % 4 else 32
            screen.truncate(0)
            shown.finished(job, _row(job))
        shown.repeating(job, "repeat", 1, 1)
    [left_min] = re.findall(r"([\d.]+) min left", screen.getvalue())[-1:]
    assert 1.5 < float(left_min) < 3.5  # 152 s


def _row(job: Job) -> dict[str, object]:
    return {"status": "ok", "latency_s": 1.0, "output_tok_s": 1.0, "noise": [], "suspect": []}
