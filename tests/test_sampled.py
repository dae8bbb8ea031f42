"""Sampled decoding: a few windows of steps add up to whole generations, and the sweep says how well."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench import sweep
from bench.compose.request import compose_sweep
from bench.config import Decode, RunConfig
from bench.errors import InvalidSetting
from bench.frameworks.base import OnStep, Tokens
from bench.measure.point import measure
from bench.measure.sampled import Line, sample
from bench.results import Row, Store
from bench.roofline import ModelShape
from bench.sweep.sampling import decided, held_out


class Curved:
    """An engine on a clock of its own: slow after a prefill, its steps grow with the context and bend where a cache is full."""

    def __init__(self, bend_tokens: int = 700) -> None:
        self.now_s = 0.0
        self.generated = 0
        self._bend_tokens = bend_tokens

    def clock(self) -> float:
        return self.now_s

    def load(self) -> ModelShape: ...  # type: ignore[empty-body]

    def prepare(self, run: RunConfig) -> None: ...

    def generate(self, prompts: Tokens, new_tokens: int, on_step: OnStep) -> Tokens:
        batch, length = prompts.shape
        self.now_s += 1e-4 * batch * length
        for i in range(new_tokens):
            context = length + i
            step_s = 1e-3 + 1e-6 * batch * context + 4e-6 * max(0, context - self._bend_tokens)
            self.now_s += step_s * (3 if 0 < i < 3 else 1)
            on_step()
        self.now_s += 2e-3
        self.generated += batch * new_tokens
        return np.zeros((batch, new_tokens), dtype=np.int64)

    def unload(self) -> None: ...

    def describe(self) -> dict[str, Any]:
        return {"device": "cpu"}


def _points(*arguments: str) -> list[RunConfig]:
    return compose_sweep(["framework=fake", "num_runs=3", "warmup_runs=1", "hardware=cpu", *arguments])


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


def test_a_straight_curve_needs_no_context_in_the_middle() -> None:
    def contexts(engine: Curved) -> int:
        return len(_line(engine, [run for run in _points(*_GRID) if run.batch_size == 1]).passes[0].windows)

    assert contexts(Curved(bend_tokens=10_000)) == 4  # three prompt lengths, and the end
    assert contexts(Curved(bend_tokens=700)) > 4


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
    growing, whole = (compose_sweep([*grid, f"framework.cache={cache}"]) for cache in ("dynamic", "static"))
    assert len({run.line_id for run in growing}) == 1
    assert len({run.line_id for run in whole}) == 4


def test_what_cannot_be_sampled_is_measured_in_full_and_counted() -> None:
    beams = _points("framework=hf", "output_tokens=401", "generation=greedy,beams", "measure.decode=sampled", "batch_size=1,2")
    sampling = decided(beams)
    assert (sampling.sampled, sampling.held_out, dict(sampling.in_full)) == (2, 2, {"with beams": 2})
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


def test_a_point_whose_windows_fail_is_measured_in_full_or_tells_why_not(tmp_path: Path) -> None:
    rows = _swept(tmp_path, "measure.decode=sampled", "framework.largest_batch=1")
    assert {row["status"] for row in rows if row["batch_size"] == 2} <= {"oom", "pruned"}
    assert {row["status"] for row in rows if row["batch_size"] == 1} == {"ok"}


def test_a_far_window_that_runs_out_of_memory_costs_only_the_points_that_need_it(tmp_path: Path) -> None:
    """A prefill of a whole context may need more than the point itself, which then decides by being measured."""
    from bench.frameworks.failure import JobLost
    from bench.results import Status
    from bench.sweep.lines import LineKeeper
    from bench.sweep.plan import Job

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
    assert "ended as oom (does not fit)" in keeper.remarks(jobs[0])[0]
    assert replace(points[0].measure, decode=Decode.full) == points[0].in_full().measure
