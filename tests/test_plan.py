"""Which jobs run, in what order, and which are left out."""

from __future__ import annotations

from bench.config import Rerun
from bench.results import Row
from bench.sweep.plan import Job, estimated_s, make_plan
from tests.conftest import fake_run


def done(job: Job, status: str = "ok", environment: str = "here") -> Row:
    return {"config_id": job.run.config_id, "round": job.round, "status": status, "environment_id": environment}


def test_points_that_share_a_model_follow_each_other_so_that_it_is_loaded_once() -> None:
    points = [fake_run(batch_size=batch, load_s=load) for batch in (1, 2, 4) for load in (0.0, 0.1)]
    plan = make_plan(points, [], "here")
    assert plan.loads == 2
    assert [job.run.framework.load_s for job in plan.todo] == [0.0] * 3 + [0.1] * 3  # type: ignore[attr-defined]


def test_cheap_points_come_first() -> None:
    points = [fake_run(batch_size=batch, output_tokens=out) for batch in (64, 1) for out in (100, 1)]
    costs = [estimated_s(job.run) for job in make_plan(points, [], "here").todo]
    assert costs == sorted(costs)


def test_rounds_visit_the_whole_grid_each() -> None:
    points = [fake_run(batch_size=batch, rounds=3) for batch in (1, 2)]
    visits = [(job.round, job.run.batch_size) for job in make_plan(points, [], "here").todo]
    assert visits == [(0, 1), (0, 2), (1, 1), (1, 2), (2, 1), (2, 2)]


def test_a_job_with_an_ok_row_from_this_environment_is_done() -> None:
    first, second = (Job(fake_run(batch_size=batch), 0) for batch in (1, 2))
    plan = make_plan([first.run, second.run], [done(first)], "here")
    assert [job.run.batch_size for job in plan.todo] == [2]
    assert plan.done == 1


def test_a_changed_environment_or_config_measures_again() -> None:
    job = Job(fake_run(), 0)
    assert make_plan([job.run], [done(job, environment="elsewhere")], "here").todo
    assert make_plan([fake_run(num_runs=3)], [done(job)], "here").todo


def test_rerun_chooses_what_runs_again() -> None:
    def runs(status: str, rerun: Rerun) -> bool:
        run = fake_run(rerun=rerun)
        return bool(make_plan([run], [done(Job(run, 0), status)], "here").todo)

    assert [runs(status, Rerun.missing) for status in ("ok", "oom", "failed", "interrupted")] == [False, False, True, True]
    assert [runs(status, Rerun.failed) for status in ("ok", "oom", "failed", "interrupted")] == [False, True, True, True]
    assert all(runs(status, Rerun.all) for status in ("ok", "oom", "failed", "interrupted"))


def test_a_point_that_is_listed_twice_runs_once() -> None:
    assert len(make_plan([fake_run(), fake_run()], [], "here").todo) == 1


def test_a_larger_point_is_estimated_to_cost_more() -> None:
    assert estimated_s(fake_run(batch_size=2)) > estimated_s(fake_run(batch_size=1))
    assert estimated_s(fake_run(output_tokens=8)) > estimated_s(fake_run(output_tokens=4))
