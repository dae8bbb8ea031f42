"""Sampled decoding: a few windows of steps add up to whole generations, and the sweep says how well."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import timedelta
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench import sweep
from bench.analysis import draw, sampling, style
from bench.analysis.settings import pool_rounds, read_jobs
from bench.compare import main as compare
from bench.config import RunConfig
from bench.errors import InvalidSetting
from bench.frameworks.base import OnStep, Tokens
from bench.frameworks.failure import JobLost
from bench.measure.point import OnRepeat, measure
from bench.measure.sampled import Line, sample
from bench.results import Row, Status, Store
from bench.roofline import ModelShape
from bench.sweep.group import GroupRunner
from bench.sweep.plan import Job, Ledger
from bench.sweep.sampling import LineKeeper, decided, held_out
from bench.worker.resident import ResidentWorker
from tests import synthetic


class Curved:
    """An engine on a clock of its own: slow after a prefill, its steps grow with the context and bend where a cache is full.

    `moods`: how slow the host is in each generation.
    """

    def __init__(self, bend_tokens: int = 700, moods: Iterator[float] | None = None) -> None:
        self.now_s = 0.0
        self.generated = 0
        self._bend_tokens = bend_tokens
        self._moods = moods or repeat(1.0)

    def clock(self) -> float:
        return self.now_s

    def load(self) -> ModelShape: ...  # type: ignore[empty-body]

    def prepare(self, run: RunConfig) -> None: ...

    def generate(self, prompts: Tokens, new_tokens: int, on_step: OnStep) -> Tokens:
        (batch, length), slower = prompts.shape, next(self._moods)
        self.now_s += 1e-4 * batch * length
        for i in range(new_tokens):
            context = length + i
            step_s = 1e-3 + 1e-6 * batch * context + 4e-6 * max(0, context - self._bend_tokens)
            self.now_s += slower * step_s * (3 if 0 < i < 3 else 1)
            on_step()
        self.now_s += 2e-3
        self.generated += batch * new_tokens
        return np.zeros((batch, new_tokens), dtype=np.int64)

    def unload(self) -> None: ...

    def describe(self) -> dict[str, Any]:
        return {"device": "cpu"}


def _points(*arguments: str) -> list[RunConfig]:
    return sweep.points("framework=fake", "num_runs=3", "warmup_runs=1", "hardware=cpu", *arguments)


_GRID = ("batch_size=1,4", "input_tokens=32,128,512", "output_tokens=1,101,401,1001", "measure.decode=sampled")


def _line(engine: Curved, points: Sequence[RunConfig]) -> Line:
    return sample(points, engine, None, 0.0, lambda *_: None, engine.clock)


def test_windows_add_up_to_what_each_point_takes_in_full_also_where_the_curve_bends() -> None:
    engine = Curved()
    points = [run for run in _points(*_GRID) if run.batch_size == 4 and run.output_tokens > 1]
    line = _line(engine, points)
    sampled_tokens, engine.generated = engine.generated, 0
    for run in points:
        full = measure(run.in_full(), engine, None, 0.0, lambda *_: None, engine.clock)
        seen = line.measurement(run)
        assert seen.latencies_s[0] == pytest.approx(full.latencies_s[0], rel=0.005)
        assert full.token_times_s and seen.sampled
        assert seen.sampled.ttft_s == pytest.approx(full.token_times_s[0][0])
        assert len(seen.latencies_s) == 3
    assert sampled_tokens < 0.1 * engine.generated


def test_what_an_engine_does_to_tell_of_itself_is_no_memory_of_the_point() -> None:
    class Talkative(Curved):
        def describe(self) -> dict[str, Any]:
            return {"device": "cpu", "looked_at": int(np.ones(400 * 2**20, np.int8)[-1])}

    [point] = _points("output_tokens=2")
    plain, talkative = (measure(point, engine, None, 0.0, lambda *_: None, engine.clock) for engine in (Curved(), Talkative()))
    assert talkative.engine["looked_at"] == 1
    assert plain.peak_host_bytes and talkative.peak_host_bytes
    assert talkative.peak_host_bytes < plain.peak_host_bytes + 200 * 2**20


def test_a_straight_curve_needs_no_context_in_the_middle() -> None:
    def contexts(engine: Curved) -> int:
        return len(_line(engine, [run for run in _points(*_GRID) if run.batch_size == 1]).passes[0].windows)

    assert contexts(Curved(bend_tokens=10_000)) == 4  # three prompt lengths, and the end
    assert contexts(Curved(bend_tokens=700)) > 4


def test_where_a_hosts_speed_moves_the_search_for_bends_ends_at_its_budget() -> None:
    moods = map(np.random.default_rng(0).uniform, repeat(1), repeat(2))
    points = [run for run in _points(*_GRID, "num_runs=1", "warmup_runs=0") if run.batch_size == 4 and run.output_tokens > 1]
    line = _line(Curved(bend_tokens=10_000, moods=moods), points)
    assert line.seen.spent_s < 0.15 * sum(line.measurement(run).latencies_s[0] for run in points)


def test_a_window_never_reaches_beyond_the_longest_point() -> None:
    points = [run for run in _points(*_GRID) if run.batch_size == 1]
    reached = [w.prompt_tokens + len(w.arrived_s) for p in _line(Curved(), points).passes for w in p.windows]
    assert max(reached) == 512 + 1001


def test_held_out_points_are_a_tenth_at_least_two_over_batches_and_lengths_and_the_same_each_time() -> None:
    points = [run for run in _points("batch_size=1,2,4,8,16", *_GRID[1:]) if run.output_tokens > 1]
    chosen = held_out(points)
    assert len(chosen) == 5
    assert len({run.batch_size for run in chosen}) == 5
    assert len({run.output_tokens for run in chosen}) == 3
    assert {run.point_id for run in held_out(points[::-1])} == {run.point_id for run in chosen}
    assert len(held_out(points[:3])) == 2


def test_points_share_windows_unless_the_cache_knows_their_length() -> None:
    grid = ("input_tokens=32,128", "output_tokens=101,401", "measure.decode=sampled", "hardware=cpu")
    growing, whole = (sweep.points(*grid, f"framework.cache={cache}") for cache in ("dynamic", "static"))
    assert len({run.line_id for run in growing}) == 1
    assert len({run.line_id for run in whole}) == 4


def test_points_whose_windows_would_cost_as_much_as_they_do_are_measured_in_full() -> None:
    """PACE's cache knows a point's length, so that each has windows of its own, and the far one reads a long prompt."""
    pace = ("framework=pace", "model.dtype=bf16", "hardware=cpu", "measure.decode=sampled", "batch_size=16", "input_tokens=512")
    found = decided(sweep.points(*pace, "output_tokens=101,1001"))
    assert [run.output_tokens for run in found.points if run.measure.decode == "sampled"] == [1001]
    assert found.summary and found.summary.endswith("in full: 1 whose windows would cost about as much")
    alone = decided(sweep.points(*pace, "output_tokens=101"))
    assert alone.summary == "nothing to sample; in full: 1 whose windows would cost about as much"


def test_a_point_that_a_grid_has_twice_is_there_once() -> None:
    found = decided(_points("num_runs=2,2", "output_tokens=401", "measure.decode=sampled"))
    assert (found.sampled, len(found.points)) == (1, 2)


def test_what_cannot_be_sampled_is_measured_in_full_and_counted() -> None:
    beams = _points("framework=hf", "output_tokens=401", "generation=greedy,beams", "measure.decode=sampled", "batch_size=1,2")
    sampling = decided(beams)
    assert (sampling.sampled, sampling.held_out, dict(sampling.not_sampled)) == (2, 2, {"with beams": 2})
    assert (
        sampling.summary
        == "2 points sampled by 2 sets of windows, 2 of them measured in full, too, to know the error; in full: 2 with beams"
    )
    with pytest.raises(InvalidSetting, match="cannot sample any point of this sweep: 2 with beams"):
        decided([run for run in beams if run.generation.num_beams > 1])


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("measure.window=3000", "do not fit into the 2048 positions"),
        ("measure.window=1", "at least 4 steps"),
        ("measure.token_times=false", "needs the time of each step"),
    ],
)
def test_a_setting_that_makes_no_sense_is_told(setting: str, told: str) -> None:
    with pytest.raises(Exception, match=told):
        _points("measure.decode=sampled", setting)


def _swept(folder: Path, *arguments: str) -> list[Row]:
    quick = (
        "framework=fake",
        "framework.step_s=0.0005",
        "batch_size=1,2",
        "input_tokens=32,64",
        "output_tokens=1,61,101",
        "ceilings=false",
    )
    sweep.run(*quick, "num_runs=2", "warmup_runs=0", "report=false", "measure.window=8", f"output_dir={folder}", *arguments)
    return list(Store(folder).rows())


def test_a_sampled_sweep_leaves_rows_that_say_so_and_goes_on_where_it_was(tmp_path: Path) -> None:
    rows = _swept(tmp_path, "measure.decode=sampled")
    assert Counter(row["source"] for row in rows) == {"sampled": 8, "measured": 4 + 2}
    for row in (row for row in rows if row["source"] == "sampled"):
        assert row["peak_host_bytes"] is row["tokens_digest"] is row["token_times_s"] is row["energy_j"] is None
        assert {window["turn"] for window in row["windows"]} == {0, 1}
        assert row["tpot_s"] > 0
        assert row["saved_s"] is not None
    last = max((row for row in rows if row["source"] == "sampled"), key=lambda row: row["started_at"])
    next((tmp_path / "rows").glob(f"*{last['config_id']}*")).unlink()
    rows = _swept(tmp_path, "measure.decode=sampled")
    assert len(rows) == 14
    assert len(_swept(tmp_path)) == 14 + 6  # in full: the short and the held-out ones are there already


def test_windows_that_cost_more_than_the_points_say_so_and_lose_no_result(tmp_path: Path) -> None:
    rows = _swept(tmp_path, "measure.decode=sampled", "framework.prefill_s=3", "output_tokens=101", "num_runs=1", "batch_size=1")
    sampled = [row for row in rows if row["source"] == "sampled"]
    assert [row["status"] for row in sampled] == ["ok"] * len(sampled)
    assert all(row["saved_s"] < 0 for row in sampled)


def test_a_point_whose_windows_fail_is_measured_in_full_or_tells_why_not(tmp_path: Path) -> None:
    rows = _swept(tmp_path, "measure.decode=sampled", "framework.largest_batch=1")
    assert {row["status"] for row in rows if row["batch_size"] == 2} <= {"oom", "pruned"}
    assert {row["status"] for row in rows if row["batch_size"] == 1} == {"ok"}


def _crashing_windows(worker: ResidentWorker, points: Sequence[RunConfig], on_repeat: OnRepeat) -> Line:
    worker.kill()
    raise JobLost(Status.crashed, "the worker died of SIGSEGV")


@pytest.mark.parametrize("order", ["cost", "shuffle"])
def test_a_point_that_cannot_be_sampled_is_measured_once_in_a_round_although_it_is_held_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, order: str
) -> None:
    monkeypatch.setattr(ResidentWorker, "sample", _crashing_windows)
    rows = _swept(tmp_path, "measure.decode=sampled", "rounds=2", f"order={order}", "num_runs=2,3")
    assert {row["source"] for row in rows} == {"measured"}
    assert len(rows) == 2 * (24 + 2)
    per_setting = Counter((row["point_id"], row["round"], len(row["latencies_s"])) for row in rows)
    twice = {setting for setting, count in per_setting.items() if count == 2}
    assert twice
    for setting in twice:
        same = [row for row in rows if (row["point_id"], row["round"], len(row["latencies_s"])) == setting]
        assert same[0]["latencies_s"] == same[1]["latencies_s"]
        assert sorted(row["spent_s"] > 0 for row in same) == [False, True]
        assert "measured once in this round" in " ".join(mark for row in same for mark in row["marks"])
    assert all(
        "its windows ended as crashed" in " ".join(row["marks"])
        for row in rows
        if json.loads(row["config"])["measure"]["decode"] == "sampled"
    )
    assert len(_swept(tmp_path, "measure.decode=sampled", "rounds=2", f"order={order}", "num_runs=2,3")) == len(rows)


def test_a_far_window_that_runs_out_of_memory_costs_only_the_points_that_need_it(tmp_path: Path) -> None:
    """A prefill of a whole context may need more than the point itself, which then decides by being measured."""
    points = tuple(run for run in _points(*_GRID) if run.batch_size == 1 and run.output_tokens > 1)
    engine = Curved()

    def take(job: Job, asked: Sequence[RunConfig]) -> Line:
        if max(run.total_tokens for run in asked) > 1200:
            raise JobLost(Status.oom, "does not fit")
        return _line(engine, asked)

    keeper = LineKeeper()
    jobs = [Job(run, 0, points) for run in points]
    in_full = [job.run.total_tokens for job in jobs if keeper.measurement(job, take) is None]
    assert in_full == [512 + 1001]
    seen = measure(jobs[0].run, engine, None, 0.0, lambda *_: None, engine.clock)
    assert "ended as oom (does not fit)" in keeper.once(jobs[0], lambda: seen).remarks[0]


def test_where_no_window_is_known_to_fit_the_point_itself_is_tried() -> None:
    small, large = _points("input_tokens=1024,1100", "output_tokens=100")
    ledger = Ledger()
    ledger.record(Job(small, 0), Status.oom)
    with pytest.raises(JobLost, match="known not to fit"):
        GroupRunner(store=None, observer=None, ledger=ledger)._sampled(Job(large, 1), [small, large])  # type: ignore[arg-type]


def _both_ways(errors: Sequence[float], rounds: int = 4) -> list[Row]:
    """Rows of points that were sampled with this error and measured in full, and of one that was only sampled."""
    rows: list[Row] = []
    for number in range(rounds):
        measured = synthetic.sweep(output_tokens=[101], batch_size=[2**i for i in range(len(errors) + 1)])
        for row, error in zip(measured, [*errors, 0.5], strict=True):
            later = {"environment": "{}", "round": number, "started_at": row["started_at"] + timedelta(minutes=number)}
            times = [latency_s * (1 + error) for latency_s in row["latencies_s"]]
            rows.append({**row, **later, "source": "sampled", "latencies_s": times, "latency_s": row["latency_s"] * (1 + error)})
            if error != 0.5:
                rows.append({**row, **later, "source": "measured", "config_id": "full"})
    return rows


def test_the_end_of_a_sweep_tells_signed_errors_beside_what_measuring_twice_gives(tmp_path: Path) -> None:
    jobs = read_jobs([synthetic.write(tmp_path, _both_ways([0.01, -0.02, 0.015]))], settle=False)
    [errors, twice, sampled_twice] = sampling.in_words(sampling.holdout(jobs), 4)
    assert errors == ("Sampled against measured, 3 points in 4 rounds: median +1.0 %, 90 % of the points within 1.9 %, largest -2.0 %")
    assert twice.startswith("The same measured twice: median +0.0 %")
    assert sampled_twice.startswith("The same sampled twice: median +0.0 %")


def test_what_a_host_did_to_the_windows_of_a_line_shows_in_sampling_it_twice(tmp_path: Path) -> None:
    rows = _both_ways([0.01, 0.01])
    for row in rows:
        if row["source"] == "sampled" and row["round"] % 2:
            row["latency_s"] *= 1.1
    found = sampling.holdout(read_jobs([synthetic.write(tmp_path, rows)], settle=False))
    assert found.sampled_twice is not None and found.sampled_twice.median == pytest.approx(1 / 1.1 - 1)
    assert found.twice is not None and found.twice.median == 0


def test_an_error_above_three_percent_says_what_to_do_and_one_round_says_that_it_is_one(tmp_path: Path) -> None:
    jobs = read_jobs([synthetic.write(tmp_path, _both_ways([0.05, 0.04], rounds=1))], settle=False)
    told = " ".join(sampling.in_words(sampling.holdout(jobs), 3))
    assert "too far off" in told
    assert "measure.decode=full" in told
    assert "the error is that of one measurement" in told


def test_a_sweep_that_lost_its_held_out_points_says_that_the_error_is_not_known(tmp_path: Path) -> None:
    rows = [row for row in _both_ways([0.01]) if row["source"] == "sampled"]
    folder = synthetic.write(tmp_path, rows)
    assert "not known" in sampling.in_words(sampling.holdout(read_jobs([folder], settle=False)), 2)[0]
    assert sampling.key_of_sampled(pool_rounds(read_jobs([folder]))) == "sampled, error not known"


def test_what_was_measured_counts_and_the_interval_of_the_rest_holds_the_error(tmp_path: Path) -> None:
    folder = synthetic.write(tmp_path, _both_ways([0.02, -0.02]))
    settings = pool_rounds(read_jobs([folder]))
    assert settings["source"].tolist() == ["measured", "measured", "sampled"]
    only = settings.iloc[-1]
    assert only["latency_s_low"] == pytest.approx(only["latency_s"] * 0.98, rel=1e-3)
    assert only["latency_s_high"] == pytest.approx(only["latency_s"] * 1.02, rel=1e-3)
    assert sampling.key_of_sampled(settings) == "sampled, error 2.0 %"


def test_sampled_is_compared_with_sampled_and_with_measured_only_when_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = _both_ways([0.0])
    base = synthetic.write(tmp_path / "base", rows)
    new = synthetic.write(tmp_path / "new", [{**row, "source": "measured"} for row in rows if row["source"] == "sampled"])
    with pytest.raises(SystemExit):
        compare([str(base), str(base), "--json"])
    assert len(json.loads(capsys.readouterr().out)["points"]) == 2
    with pytest.raises(SystemExit):
        compare([str(base), str(new)])
    assert "1 points were sampled on one side and measured on the other, and are left out" in " ".join(capsys.readouterr().out.split())
    with pytest.raises(SystemExit):
        compare([str(base), str(new), "--mixed", "--json"])
    assert len(json.loads(capsys.readouterr().out)["points"]) == 2


def test_charts_draw_sampled_points_hollow_and_their_key_holds_the_error(tmp_path: Path) -> None:
    folder = synthetic.write(tmp_path, _both_ways([0.02, -0.02]))
    settings = pool_rounds(read_jobs([folder]))
    chart = draw.Chart("latency", "Latency", x="batch_size", y="latency_s")
    with style.house_style():
        figure = draw.draw(chart, settings)
        figure.savefig(tmp_path / "chart.svg")
    assert "sampled, error 2.0 %" in (tmp_path / "chart.svg").read_text()
