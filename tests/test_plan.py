"""Which jobs run, in what order, and which are left out."""

from __future__ import annotations

from bench.config import Order, Rerun
from bench.results import Row, Status
from bench.sweep.plan import Job, Ledger, estimated_s, make_plan, with_probes
from tests.conftest import fake_run


def done(job: Job, status: str = "ok") -> Row:
    return {"config_id": job.run.config_id, "round": job.round, "status": status}


def test_points_that_share_a_model_follow_each_other_so_that_it_is_loaded_once() -> None:
    points = [fake_run(batch_size=batch, load_s=load) for batch in (1, 2, 4) for load in (0.0, 0.1)]
    plan = make_plan(points, [])
    assert plan.loads == 2
    assert [job.run.framework.load_s for job in plan.todo] == [0.0] * 3 + [0.1] * 3  # type: ignore[attr-defined]


def test_cheap_points_come_first() -> None:
    points = [fake_run(batch_size=batch, output_tokens=out) for batch in (64, 1) for out in (100, 1)]
    costs = [estimated_s(job.run) for job in make_plan(points, []).todo]
    assert costs == sorted(costs)


def test_rounds_visit_the_whole_grid_each() -> None:
    points = [fake_run(batch_size=batch, rounds=3) for batch in (1, 2)]
    visits = [(job.round, job.run.batch_size) for job in make_plan(points, []).todo]
    assert visits == [(0, 1), (0, 2), (1, 1), (1, 2), (2, 1), (2, 2)]


def test_every_other_round_goes_back_so_that_drift_favours_no_model_and_fewer_are_loaded() -> None:
    points = [fake_run(load_s=load, batch_size=batch, rounds=3) for load in (0.0, 0.1, 0.2) for batch in (1, 2)]
    plan = make_plan(points, [])
    assert [group[0].run.framework.load_s for group in plan.groups] == [0.0, 0.1, 0.2, 0.1, 0.0, 0.1, 0.2]  # type: ignore[attr-defined]
    assert [job.run.batch_size for job in plan.todo] == [1, 2] * 9


def test_a_job_with_an_ok_row_from_this_environment_is_done() -> None:
    first, second = (Job(fake_run(batch_size=batch), 0) for batch in (1, 2))
    plan = make_plan([first.run, second.run], [done(first)])
    assert [job.run.batch_size for job in plan.todo] == [2]
    assert plan.done == 1


def test_a_changed_config_measures_again() -> None:
    job = Job(fake_run(), 0)
    assert make_plan([fake_run(num_runs=3)], [done(job)]).todo


def test_rerun_chooses_what_runs_again() -> None:
    def runs(status: str, rerun: Rerun) -> bool:
        run = fake_run(rerun=rerun)
        return bool(make_plan([run], [done(Job(run, 0), status)]).todo)

    assert [runs(status, Rerun.missing) for status in ("ok", "oom", "failed", "interrupted")] == [False, False, True, True]
    assert [runs(status, Rerun.failed) for status in ("ok", "oom", "failed", "interrupted")] == [False, True, True, True]
    assert all(runs(status, Rerun.all) for status in ("ok", "oom", "failed", "interrupted"))


def test_a_point_that_is_listed_twice_runs_once() -> None:
    assert len(make_plan([fake_run(), fake_run()], []).todo) == 1


def test_a_larger_point_is_estimated_to_cost_more() -> None:
    assert estimated_s(fake_run(batch_size=2)) > estimated_s(fake_run(batch_size=1))
    assert estimated_s(fake_run(output_tokens=8)) > estimated_s(fake_run(output_tokens=4))


def test_the_order_is_cost_given_or_shuffled_by_the_seed() -> None:
    def order(kind: Order, seed: int = 0) -> list[int]:
        points = [fake_run(batch_size=batch, order=kind, seed=seed) for batch in (8, 1, 4, 2, 16, 32)]
        return [job.run.batch_size for job in make_plan(points, []).todo]

    assert order(Order.cost) == [1, 2, 4, 8, 16, 32]
    assert order(Order.given) == [8, 1, 4, 2, 16, 32]
    assert order(Order.shuffle) == order(Order.shuffle) != order(Order.given)
    assert sorted(order(Order.shuffle)) == [1, 2, 4, 8, 16, 32]


def job(batch: int, inp: int = 8, out: int = 4, **settings: object) -> Job:
    return Job(fake_run(batch_size=batch, input_tokens=inp, output_tokens=out, **settings), 0)


def test_an_out_of_memory_rules_out_what_needs_at_least_as_much_and_nothing_else() -> None:
    ledger = Ledger()
    ledger.record(job(8), Status.oom)
    assert ledger.ruled_out_by(job(16)) == job(8)
    assert ledger.ruled_out_by(job(8, inp=9, out=5))
    assert ledger.ruled_out_by(job(8))
    assert not ledger.ruled_out_by(job(4, inp=100))
    assert not ledger.ruled_out_by(job(16, out=3))
    assert not ledger.ruled_out_by(job(16, load_s=1.0))  # another model


def test_an_out_of_memory_of_an_earlier_sweep_is_remembered() -> None:
    small, large = job(8), job(16)
    plan = make_plan([small.run, large.run], [done(small, "oom")])
    assert [left.run.batch_size for left in plan.todo] == [16]
    assert plan.ledger.ruled_out_by(plan.todo[0]) == small


def search(largest: int, known: Ledger | None = None) -> tuple[list[tuple[int, int | str]], Ledger]:
    """The (batch, repeats) that a search tries on a machine that holds `largest` sequences."""
    ledger = known or Ledger()
    tried = []
    for probe in with_probes([Job(fake_run(batch_size="max"), 0)], ledger):
        tried.append((probe.run.batch_size, probe.run.num_runs))
        ledger.record(probe, Status.ok if probe.run.batch_size <= largest else Status.oom)
    return tried, ledger


def test_the_largest_batch_is_found_by_doubling_and_bisection_and_then_measured_in_full() -> None:
    tried, _ = search(11)
    assert [size for size, repeats in tried if repeats == 1] == [1, 2, 4, 8, 16, 12, 10, 11]
    assert tried[-1] == (11, 7)
    assert search(0)[0] == [(1, 1)]


def test_a_search_goes_on_from_its_rows_and_knows_when_it_is_over() -> None:
    _, ledger = search(5)
    assert search(5, ledger)[0] == []
    rows = [{"config_id": key[0], "round": key[1], "status": str(status)} for key, status in ledger.statuses.items()]
    assert make_plan([fake_run(batch_size="max")], rows).todo == ()
    assert len(make_plan([fake_run(batch_size="max")], rows[:-1]).todo) == 1


def test_a_search_ends_where_even_one_sequence_fails_for_another_reason() -> None:
    ledger = Ledger()
    for probe in with_probes([Job(fake_run(batch_size="max"), 0)], ledger):
        ledger.record(probe, Status.failed)
    assert list(ledger.statuses.values()) == [Status.failed]
