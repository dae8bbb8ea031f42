"""Somebody else's rows: the same points here, and both hosts beside each other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench import compare, sweep
from bench.config import RunConfig
from bench.errors import BenchError
from bench.importers import with_sweep_from_file
from bench.results import Row, Store
from tests.conftest import Command

TYPED = ["framework=fake,hf", "model=mpt_5m,llama_5m", "batch_size=1,2", "output_tokens=3", "hardware.env.OMP_NUM_THREADS=1", "rounds=2"]


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    """The folder of a sweep that was measured elsewhere."""
    return written(tmp_path / "theirs", [row_of(run) for run in sweep.points(*TYPED)])


def row_of(run: RunConfig, **columns: Any) -> Row:
    from datetime import UTC, datetime

    known = {
        "point_id": run.point_id,
        "config_id": run.config_id,
        "round": 0,
        "started_at": datetime(2026, 1, 1, tzinfo=UTC),
        "status": "ok",
    }
    return {**known, "config": json.dumps(run.as_dict), **columns}


def written(folder: Path, rows: list[Row]) -> Path:
    store = Store(folder)
    store.prepare()
    for row in rows:
        store.write(row)
    return folder


def changed(row: Row, **groups: dict[str, Any]) -> Row:
    config = json.loads(row["config"])
    merged = {group: {**config[group], **values} if isinstance(config.get(group), dict) else values for group, values in groups.items()}
    return {**row, "config": json.dumps({**config, **merged})}


def points_from(path: Path, *typed: str) -> tuple[list[RunConfig], str]:
    told: list[str] = []
    made = path.parent / f"made-{len(list(path.parent.iterdir()))}"
    return sweep.points(*with_sweep_from_file([f"+from={path}", *typed], made, told.extend)), "\n".join(told)


def test_the_points_are_the_same_and_their_results_go_elsewhere(theirs: Path) -> None:
    points, told = points_from(theirs)
    assert [point.config_id for point in sorted(points, key=lambda one: one.config_id)] == sorted(
        point.config_id for point in sweep.points(*TYPED)
    )
    assert {(point.name, point.output_dir, point.rounds) for point in points} == {("theirs-here", "outputs/theirs-here", 2)}
    assert not told


def test_points_that_are_no_grid_come_back_as_they_are_and_one_file_is_enough(theirs: Path) -> None:
    files = sorted((theirs / "rows").glob("*.parquet"))
    assert len(points_from(files[0])[0]) == 1
    for file in files[:3]:
        file.unlink()
    assert len(points_from(theirs)[0]) == len(files) - 3
    assert len(points_from(theirs / "rows", "num_runs=2")[0]) == len(files) - 3


def test_what_holds_for_a_whole_sweep_may_differ_between_the_commands_that_gave_the_rows(tmp_path: Path) -> None:
    runs = [*sweep.points("framework=fake", "batch_size=1,2", "rounds=3"), *sweep.points("framework=fake", "batch_size=4", "order=given")]
    folder = written(tmp_path / "theirs", [row_of(run) for run in runs])
    points, told = points_from(folder)
    assert {(point.batch_size, point.rounds, point.order) for point in points} == {(1, 3, "cost"), (2, 3, "cost"), (4, 3, "cost")}
    assert "rounds=1, 3: holds for the whole sweep, so 3 is taken; set rounds for another one" in told
    assert {point.rounds for point in points_from(folder, "rounds=5")[0]} == {5}


@pytest.mark.parametrize("older", [0, 1])
def test_rows_of_an_older_version_lack_settings(tmp_path: Path, older: int) -> None:
    rows = [row_of(run) for run in sweep.points("framework=fake", "batch_size=1,2", "measure.window=12", "prune=false")]
    config = json.loads(rows[older]["config"])
    del config["prune"], config["measure"]
    rows[older]["config"] = json.dumps(config)
    points, _ = points_from(written(tmp_path / "theirs", rows))
    found = [(point.prune, point.measure.window) for point in sorted(points, key=lambda point: int(point.batch_size))]
    assert found.pop(1 - older) == (False, 12)
    assert found == [(True, 16)]


def test_what_this_version_does_not_know_is_told_and_what_would_run_their_code_is_off(tmp_path: Path) -> None:
    row = row_of(sweep.points("framework=fake", "hardware.env.OMP_NUM_THREADS=1")[0])
    env = {"OMP_NUM_THREADS": "1", "LD_PRELOAD": "/x/evil.so", "OMP_TOOL_LIBRARIES": "evil.so", "MKL_X": "/x"}
    row = changed(
        row, measure={"stopwatch": "old"}, framework={"python": "/x/python"}, model={"trust_remote_code": True}, hardware={"env": env}
    )
    row = changed(row, colour={"a": 1})
    [point], told = points_from(written(tmp_path / "odd", [row]))
    assert (point.framework.python, point.model.trust_remote_code, point.hardware.env) == (None, False, {"OMP_NUM_THREADS": "1"})
    for key in ("measure.stopwatch", "colour", "framework.python", "model.trust_remote_code", "LD_PRELOAD", "OMP_TOOL", "MKL_X"):
        assert key in told


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"config": "{"}, "no row in it holds the config"),
        ({"config": "[" * 100_000}, "no row in it holds the config"),
        ({"config": None}, "no row in it holds the config"),
        ({"framework": {"name": "warp"}}, "framework=warp: is not known here"),
        ({"framework": {"name": ["x"]}}, "is not known here"),
        ({"model": {"name": "${oc.env:HOME}"}}, "is a formula"),
        ({"model": {"dtype": "fp7"}}, "model.dtype"),
        ({"seed": {"a": 1}}, "seed=.* is one value"),
        ({"measure": {"window": [1]}}, "measure.window=.* is one value"),
    ],
)
def test_rows_that_were_changed_end_with_one_message(tmp_path: Path, columns: dict[str, Any], message: str) -> None:
    row = row_of(sweep.points("framework=fake")[0])
    row = {**row, **columns} if "config" in columns else changed(row, **columns)
    with pytest.raises(BenchError, match=message):
        points_from(written(tmp_path / "odd", [row]))


def test_does_it_reproduce_is_two_commands(tmp_path: Path, bench_run: Command, capsys: pytest.CaptureFixture[str]) -> None:
    run = sweep.points("framework=fake", "model=mpt_5m", "output_tokens=3", "ceilings=false")[0]
    host = {"host": "lab7", "cpu": "Xeon", "ceiling_bytes_per_s": 2.1e11, "dtype": "fp32", "environment": '{"cpus": 999}'}
    theirs = written(tmp_path / "theirs", [row_of(run, latency_s=1.0, latencies_s=[1.0] * 7, model="MPT-5M", framework="fake", **host)])
    ran = bench_run("+from=theirs", "report=false")
    assert ran.returncode == 0, ran.stderr
    with pytest.raises(SystemExit):
        compare.main([str(theirs), str(tmp_path / "outputs" / "theirs-here")])
    printed = capsys.readouterr().out
    for part in ("lab7", "Xeon", "999", "210.0 GB/s", "not measured"):
        assert part in printed
    with pytest.raises(SystemExit):
        compare.main(["--json", str(theirs), str(tmp_path / "outputs" / "theirs-here")])
    assert json.loads(capsys.readouterr().out)["hosts"]["differences"]["host"]["base"] == "lab7"
