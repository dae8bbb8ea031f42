"""The comparison of folders: matching of points and environments, messages, exit codes, output."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count, product
from pathlib import Path
from typing import Any

import pytest

from bench import compare
from bench.analysis import terminal
from bench.analysis.compare import pairs as matching
from bench.analysis.settings import pool_rounds, read_jobs
from bench.config import ModelConfig, RunConfig
from bench.frameworks.fake import Settings
from bench.host import machine
from bench.host.disturbance import Disturbance
from bench.measure.point import Measurement
from bench.results import Row, Status, Store
from bench.roofline import ModelShape
from bench.sweep.outcome import Outcome, to_row
from bench.sweep.plan import Job
from tests import synthetic
from tests.conftest import TINY

_SECONDS = count()  # no two rows started at the same time
QUIET = Disturbance(1.0, 0.0, 0.0, 0, 0.0, 0, None, None, None, None, (), None)
NOISY = replace(QUIET, other_cpu_s=1e3)


def sweep(folder: Path, latency_s: float = 0.1, noisy: bool = False, rounds: int = 5, **varied: list[Any]) -> Path:
    """The rows of a sweep over batch 1 and 2, and over settings of the fake framework."""
    store = Store(folder)
    store.prepare()
    [(setting, values)] = varied.items() or [("step_s", [0.0])]
    for number, value, batch_size in product(range(rounds), values, (1, 2)):
        chosen: dict[str, Any] = {"name": "fake", setting: value}
        run = RunConfig(ModelConfig(name="tiny", architecture=dict(TINY)), Settings(**chosen), batch_size=batch_size)
        store.write(row(run, number, latency_s * batch_size * (1 + 10 * value), noisy))
    return folder


def changed(folder: Path, keep: Callable[[Row], bool] = lambda _: True, **columns: Any) -> None:
    """These rows once more, a day later and with other columns."""
    store = Store(folder)
    for old in filter(keep, store.rows()):
        store.write({**old, "started_at": old["started_at"] + timedelta(days=1), **columns})


def row(run: RunConfig, number: int, latency_s: float, noisy: bool) -> Row:
    latencies_s = tuple(latency_s * (1 + 0.001 * ((number + i) % 4)) for i in range(6))
    shape = ModelShape("fake", 1, 1, 1, 1, 1, 1, 1, gated=False, tied=True, n_params=1)
    around = (NOISY if noisy else QUIET,) * 6
    seen = Measurement(latencies_s, None, "", shape, 0.0, 1.0, around=around, engine={"device": "cpu"})
    started_at = datetime(2026, 11, 22, tzinfo=UTC) + timedelta(seconds=next(_SECONDS))
    return to_row(Job(run, number), Outcome(Status.ok, measurement=seen), started_at, machine.describe())


def matched(folder: Path) -> matching.Matching:
    """A sweep against itself."""
    settings = matching.read(folder)
    return matching.match(("base", settings), ("new", settings))


def rounds_of(folder: Path) -> list[Any]:
    """By point: the latency of each round."""
    return [base.rounds for base, _ in matched(folder).pairs]


def exit_code(*arguments: object) -> int:
    with pytest.raises(SystemExit) as left:
        compare.main([str(argument) for argument in arguments])
    assert isinstance(left.value.code, int)
    return left.value.code


def test_the_command_is_a_gate(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    base, same, slower = sweep(tmp_path / "base"), sweep(tmp_path / "same"), sweep(tmp_path / "slower", 0.11)
    assert exit_code(base, same) == 0
    assert exit_code(base, slower) == 1
    assert exit_code(slower, base) == 0
    printed = capsys.readouterr().out
    assert "+10.0%" in printed
    assert max(len(line.rstrip()) for line in printed.splitlines() if str(tmp_path) not in line) <= 80
    assert (slower / "charts/compare-base-slower.svg").stat().st_size > 1000
    assert "The rounds follow each other within 2 s" in printed


def test_json_is_for_machines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base, slower = sweep(tmp_path / "base"), sweep(tmp_path / "slower", 0.11)
    assert exit_code("--json", base, slower) == 1
    printed = json.loads(capsys.readouterr().out)
    assert printed["overall"]["verdict"] == "slower"
    assert [point["point"]["batch_size"] for point in printed["points"]] == [1, 2]
    assert printed["points"][0]["ratio"] == pytest.approx(1.1)
    assert printed["left_out"] == {"base": 0, "new": 0}


def test_noise_in_the_rows_reaches_the_verdict(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base, noisy = sweep(tmp_path / "base"), sweep(tmp_path / "noisy", 0.11, noisy=True)
    assert exit_code(base, noisy) == 2
    assert "noise=wait or more rounds" in capsys.readouterr().out
    assert exit_code("--trust-noisy", base, noisy) == 1


def test_settings_that_differ_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base, other = sweep(tmp_path / "base", load_s=[0.0]), sweep(tmp_path / "other", load_s=[0.0, 0.1])
    exit_code(base, other)
    assert "2 points have a result on one side only" in capsys.readouterr().out
    other = sweep(tmp_path / "another", load_s=[0.2])
    exit_code(base, other)
    assert "framework.load_s: 0.0 -> 0.2" in capsys.readouterr().out


def test_parts_of_one_sweep_compare_the_same_way(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = sweep(tmp_path / "both", load_s=[0.0, 0.02])
    assert exit_code(folder, "--by", "load_s") == 1
    assert "0.02 against 0.0" in capsys.readouterr().out
    assert exit_code(folder, "--by", "load_s", "--base", "0.02") == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("{base}",), "name two, BASE and NEW"),
        (("{base}", "{base}-missing"), "no rows in"),
        (("{base}", "--by", "frmework"), "is no setting of this sweep"),
        (("{base}", "--by", "framework"), "only fake has results in this sweep"),
        (("{base}", "--by", "batch_size", "--base", "7"), "is none of 1, 2"),
        (("{base}", "--by", "batch_size"), "no point has a result on both sides"),
    ],
)
def test_what_cannot_be_compared_is_told_in_one_message(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
) -> None:
    base = sweep(tmp_path / "base")
    assert exit_code(*(argument.format(base=base) for argument in arguments)) == 2
    assert message in capsys.readouterr().err


def test_the_later_row_of_a_round_counts(tmp_path: Path) -> None:
    folder = sweep(tmp_path / "base", rounds=1)
    assert rounds_of(folder)[0] == {0: pytest.approx(0.1, rel=0.01)}
    run = RunConfig(ModelConfig(name="tiny", architecture=dict(TINY)), Settings(name="fake"), batch_size=1)
    again = row(run, 0, 0.5, noisy=False)
    Store(folder).write({**again, "started_at": again["started_at"] + timedelta(minutes=1)})
    assert rounds_of(folder)[0] == {0: pytest.approx(0.5, rel=0.01)}


def test_a_pause_of_a_night_is_one_gap_among_many(tmp_path: Path) -> None:
    folder = sweep(tmp_path / "base")
    rows = Store(folder).rows()
    for file in (folder / "rows").iterdir():
        file.unlink()
    for old in rows:
        Store(folder).write({**old, "started_at": old["started_at"] + timedelta(hours=12) * (old["round"] > 2)})
    assert matched(folder).round_s == 2


def test_after_an_upgrade_like_is_compared_with_like(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A round measured again in another environment is no round of the first."""
    base, new = sweep(tmp_path / "base"), sweep(tmp_path / "new")
    changed(new, lambda old: old["round"] == 0, environment_id="upgraded", torch="9.9", latency_s=0.13, latencies_s=[0.13] * 6)
    assert exit_code("--json", base, new) == 0
    printed = json.loads(capsys.readouterr().out)
    assert [round(point["ratio"], 3) for point in printed["points"]] == [1, 1]
    assert printed["unmatched"] == 2
    assert printed["hosts"]["differences"] == {}  # of what is compared


def test_two_environments_without_their_like_are_refused_until_one_is_chosen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base, new = sweep(tmp_path / "base"), sweep(tmp_path / "new")
    changed(base, environment_id="older", torch="1.0")
    changed(new, environment_id="newer", torch="9.9")
    for file in (base / "rows").iterdir():
        if Store(base).rows_in([file.name])[0]["environment_id"] != "older":
            file.unlink()
    assert exit_code(base, new) == 2
    assert " or --environment torch=9.9, or compare them: --by torch" in capsys.readouterr().err
    assert exit_code(base, new, "--environment", "jobs=5") == 2
    assert " or --environment torch=9.9, or compare them: --by torch" in capsys.readouterr().err
    assert exit_code(base, new, "--environment", "torch=9.9") == 0
    assert exit_code(new, "--by", "torch", "--base", "9.9") == 0


_BROKEN_ROWS: list[dict[str, Any]] = [
    *({"latency_s": value} for value in (None, float("nan"), 0.0, float("inf"))),
    *({"latencies_s": value} for value in ([0.1, float("nan")], [0.1, -0.1], [None])),
    *({"status": value} for value in ("fine", None)),
    *({"ttft_s": -1.0}, {"round": -1}, {"batch_size": 0}, {"tpot_s": float("inf")}),
    *({name: None} for name in ("point_id", "batch_size", "round", "started_at")),
]


@pytest.mark.parametrize("broken", _BROKEN_ROWS, ids=str)
def test_a_row_with_a_cell_that_cannot_be_is_no_result(tmp_path: Path, broken: dict[str, Any]) -> None:
    """It neither ends the comparison nor moves it, and the report tells of it."""
    folder = synthetic.write(tmp_path / "made-up", synthetic.sweep(output_tokens=[11], batch_size=[1, 2]))
    whole = synthetic.sweep(output_tokens=[11], batch_size=[1, 2])
    synthetic.write(folder, [*whole, {**whole[0], "round": 1, "name": "made-up", **broken}])
    assert rounds_of(folder) == [{0: each["latency_s"]} for each in whole]
    jobs = read_jobs([folder])
    assert any("the row says " in line and " cannot be" in line for line in terminal.failures(jobs))
    assert len(pool_rounds(jobs).query("status == 'ok'")) == 2


@pytest.mark.parametrize("latencies_s", [None, []])
def test_a_result_without_its_repeats_is_one_repeat(tmp_path: Path, latencies_s: list[float] | None) -> None:
    [whole] = synthetic.sweep(output_tokens=[11], batch_size=[4])
    folder = synthetic.write(tmp_path / "made-up", [{**whole, "latencies_s": latencies_s}])
    assert matched(folder).pairs[0][0].repeats == [whole["latency_s"]]
    assert pool_rounds(read_jobs([folder]))["repeats"].tolist() == [1]


def test_a_batch_size_that_only_the_config_has_counts(tmp_path: Path) -> None:
    [whole] = synthetic.sweep(output_tokens=[11], batch_size=[4])
    config = json.dumps({**json.loads(whole["config"]), "batch_size": 4})
    folder = synthetic.write(tmp_path / "made-up", [{**whole, "config": config, "batch_size": None}])
    assert read_jobs([folder])[["batch_size", "status"]].to_numpy().tolist() == [[4, "ok"]]
    assert matched(folder).points[0]["batch_size"] == 4


@pytest.mark.parametrize("text", [None, '{"model": {"na', "[1]", '{"used": null, "details": null}'])
def test_columns_of_broken_json_end_nothing(tmp_path: Path, text: str | None) -> None:
    rows = synthetic.sweep(output_tokens=[11], batch_size=[1, 2])
    folder = synthetic.write(tmp_path / "made-up", [{**each, "config": text, "environment": text, "framework_args": text} for each in rows])
    assert exit_code("--json", folder, folder) == 2  # of one round, all is undecided
    assert "batch" in terminal.markdown(read_jobs([folder]), pool_rounds(read_jobs([folder])))


def test_a_sweep_without_a_result_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = sweep(tmp_path / "base")
    failed = synthetic.write(tmp_path / "failed", [{**each, "status": "crashed", "name": "failed"} for each in Store(base).rows()])
    assert exit_code(base, failed) == 2
    assert "failed: has no result: none of its jobs is ok" in capsys.readouterr().err


def test_a_chart_that_cannot_be_written_is_one_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = sweep(tmp_path / "base")
    assert exit_code(base, base, "--out", "/proc/x") == 2
    assert capsys.readouterr().err.startswith("bench-compare: --out=/proc/x: cannot be written")


def test_shares_are_read_as_people_write_them() -> None:
    assert compare._share("3%") == compare._share("0.03") == 0.03
    assert exit_code("a", "b", "--min-effect", "3") == 2
