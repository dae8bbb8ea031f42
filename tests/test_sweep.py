"""A sweep from the command line to its rows, through real worker processes and the fake framework."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import bench
from bench.compose.help import help_page
from bench.compose.schemas import CONF
from bench.results import Store
from tests.conftest import PYTHONPATH, Command

FAST = ("framework=fake", "num_runs=2", "warmup_runs=1", "input_tokens=8", "output_tokens=4", "report=false")
FAULTY = ("framework=faulty", *FAST[1:])


def rows(tmp_path: Path, name: str = "sweep") -> list[dict[str, object]]:
    return list(Store(tmp_path / "outputs" / name).rows())


def test_the_documented_command_runs_every_batch_size(bench_run: Command, tmp_path: Path) -> None:
    ran = bench_run("-m", "batch_size=1,2,4,...,64", *FAST)
    assert ran.returncode == 0, ran.stderr
    assert sorted(row["batch_size"] for row in rows(tmp_path)) == [1, 2, 4, 8, 16, 32, 64]  # type: ignore[type-var]
    assert {row["status"] for row in rows(tmp_path)} == {"ok"}
    again = bench_run(*FAST, "-m", "batch_size=1, 2, 4, .., 64")
    assert "nothing left to do: all 7 jobs are done" in again.stdout
    wider = bench_run("batch_size=1,2,4,...,128", *FAST)
    assert "1 job to run, 7 already done" in wider.stdout


def test_no_output_of_an_engine_is_taken_for_a_result(bench_run: Command, tmp_path: Path) -> None:
    """Neither what it prints nor what it writes to the line to the sweep; and none of it is unpickled."""
    ran = bench_run("framework.fault=shout,forge", "batch_size=1,2", "framework.fault_at=1", f"framework.marks={tmp_path}", *FAULTY)
    assert ran.returncode == 1
    by_fault = {(json.loads(str(row["framework_args"]))["fault"], row["batch_size"]): row for row in rows(tmp_path)}
    assert {key: row["status"] for key, row in by_fault.items()} == {
        **{("shout", 1): "ok", ("shout", 2): "ok", ("forge", 1): "crashed", ("forge", 2): "ok"}
    }
    assert "not this program" in str(by_fault["forge", 1]["error"])
    assert not {row["tokens_digest"] for row in rows(tmp_path)} & {"forged"}
    assert not (tmp_path / "opened").exists()


def test_a_series_in_yaml_is_expanded_too(bench_run: Command, tmp_path: Path) -> None:
    folder = tmp_path / "conf" / "sweeps"  # one's own, in the current folder
    folder.mkdir(parents=True)
    params = "batch_size: '1,2,4,...,16', output_tokens: [1, 2, 3, ..., 5]"
    (folder / "small.yaml").write_text(f"name: small\nhydra: {{sweeper: {{params: {{{params}}}}}}}\n")
    fast = [setting for setting in FAST if not setting.startswith("output_tokens")]
    ran = bench_run("sweeps=small", *fast)
    assert ran.returncode == 0, ran.stderr
    assert len(rows(tmp_path, "small")) == 25


def test_a_single_run_takes_the_same_path(bench_run: Command, tmp_path: Path) -> None:
    ran = bench_run("batch_size=3", *FAST)
    assert ran.returncode == 0, ran.stderr
    [row] = rows(tmp_path)
    latency_s, repeats = row["latency_s"], row["latencies_s"]
    assert row["output_tok_s"] == 3 * 4 / latency_s  # type: ignore[operator]
    assert row["total_tok_s"] == 3 * (8 + 4) / latency_s  # type: ignore[operator]
    assert len(repeats) == 2  # type: ignore[arg-type]
    assert [len(steps) for steps in row["token_times_s"]] == [4, 4]  # type: ignore[attr-defined]
    assert row["ttft_s"] <= latency_s  # type: ignore[operator]
    assert json.loads(str(row["config"]))["batch_size"] == 3
    assert all(row[column] for column in ("host", "cpu", "python", "environment_id", "tokens_digest", "model", "hardware"))


def test_each_fault_costs_one_point_and_leaves_a_row_that_says_why(bench_run: Command, tmp_path: Path) -> None:
    faults = "error,sticky,oom,bad_alloc,exit,kill,segfault,short"
    ran = bench_run("-m", f"framework.fault={faults}", "framework.fault_at=2", "batch_size=1,2,4", *FAULTY)
    assert ran.returncode == 1
    assert "6 of 24 points have no result" in ran.stderr
    seen = {(json.loads(str(row["config"]))["framework"]["fault"], row["batch_size"]): row for row in rows(tmp_path)}
    assert len(seen) == 24
    pruned = {("oom", 4), ("bad_alloc", 4)}
    assert {row["status"] for point, row in seen.items() if point[1] != 2 and point not in pruned} == {"ok"}
    assert {seen[point]["status"] for point in pruned} == {"pruned"}
    assert str(seen["oom", 4]["error"]).startswith("not run: batch 2, 8 input and 4 output tokens ran out of memory")
    told = {fault: (seen[fault, 2]["status"], str(seen[fault, 2]["error"])) for fault in faults.split(",")}
    assert {fault: status for fault, (status, _) in told.items()} == {
        "error": "failed",
        "sticky": "failed",
        "oom": "oom",
        "bad_alloc": "oom",
        "exit": "crashed",
        "kill": "crashed",
        "segfault": "crashed",
        "short": "failed",
    }
    assert told["error"][1] == "ValueError: batch of 2 refused (pretend)"
    assert "exit code 3" in told["exit"][1]
    assert "SIGKILL" in told["kill"][1]
    assert "SIGSEGV" in told["segfault"][1]
    assert "asked for tokens of shape (2, 4)" in told["short"][1]


def test_the_end_of_a_sweep_does_not_repeat_what_went_wrong_with_other_points(bench_run: Command) -> None:
    bench_run("framework.fault=error", "framework.fault_at=1", *FAULTY)
    told = bench_run(*FAULTY[:-1]).stdout
    assert "refused" not in told
    assert "jobs of other commands without a result: 1; python -m bench.report outputs/sweep tells why" in told


def test_pruning_can_be_turned_off(bench_run: Command, tmp_path: Path) -> None:
    bench_run("-m", "framework.fault=oom", "framework.fault_at=1", "batch_size=1,2", "prune=false", *FAULTY)
    assert {row["batch_size"]: row["status"] for row in rows(tmp_path)} == {1: "oom", 2: "ok"}


def test_the_largest_batch_that_completes_is_found(bench_run: Command, tmp_path: Path) -> None:
    ran = bench_run("batch_size=max", "framework.largest_batch=5", *FAST)
    assert ran.returncode == 0, ran.stderr
    assert [row["batch_size"] for row in rows(tmp_path)] == [1, 2, 4, 8, 6, 5, 5]
    assert [row["status"] for row in rows(tmp_path)] == ["ok", "ok", "ok", "oom", "oom", "ok", "ok"]
    found = "LLaMA-28M fake batch max in 8 out 4: 5 is the largest that completes"
    assert found in ran.stdout
    again = bench_run("batch_size=max", "framework.largest_batch=5", *FAST).stdout
    assert "nothing left to do" in again and found in again
    assert "largest that" not in bench_run("batch_size=max", "framework.largest_batch=0", *FAST).stdout
    two = bench_run("batch_size=max", "framework.largest_batch=2,3", "name=two", *FAST).stdout
    assert "batch max in 8 out 4 largest_batch=2: 2 is the largest" in two and "largest_batch=3: 3 is the largest" in two


def test_a_batch_whose_full_measurement_takes_too_long_is_not_told_as_one_that_completes(bench_run: Command) -> None:
    slow = ("framework.step_s=0.1", "timeout_s=2", "num_runs=8", "warmup_runs=0")  # a probe takes half a second, eight repeats four
    ran = bench_run("batch_size=max", "framework.largest_batch=1", *FAST, *slow)
    assert "timeout" in ran.stdout
    assert "largest that" not in ran.stdout


def test_sampled_decoding_is_refused_where_each_point_is_run_by_itself(bench_run: Command) -> None:
    ran = bench_run("hydra/launcher=basic", "measure.decode=sampled", *FAST)
    assert ran.returncode == 1
    assert "measure.decode=sampled: points share windows only where one process runs them all" in ran.stderr


def test_zipped_axes_advance_together_and_excluded_combinations_are_left_out(bench_run: Command, tmp_path: Path) -> None:
    fast = [setting for setting in FAST if not setting.startswith(("input_tokens", "output_tokens"))]
    bench_run("-m", "batch_size=1,2,4", "input_tokens=4,8,16", "output_tokens=1,2", "sweep.zip=['batch_size,input_tokens']", *fast)
    assert sorted({(row["batch_size"], row["input_tokens"]) for row in rows(tmp_path)}) == [(1, 4), (2, 8), (4, 16)]
    assert len(rows(tmp_path)) == 6
    bench_run("-m", "name=less", "batch_size=1,2", "output_tokens=1,2", "sweep.exclude=['batch_size=2,output_tokens=2']", *fast)
    assert sorted((row["batch_size"], row["output_tokens"]) for row in rows(tmp_path, "less")) == [(1, 1), (1, 2), (2, 1)]


def test_workers_side_by_side_run_every_group_once(bench_run: Command, tmp_path: Path) -> None:
    ran = bench_run("-m", "hydra.launcher.workers=2", "framework.load_s=0.01,0.02,0.03", "batch_size=1,2", *FAST)
    assert ran.returncode == 0, ran.stderr
    assert len(rows(tmp_path)) == 6


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_sweep_keeps_its_rows_and_goes_on(tmp_path: Path, how: signal.Signals) -> None:
    command = [sys.executable, "-m", "bench.run", "-m", "batch_size=1,2,4", "framework.step_s=0.4", *FAST]
    environment = {**os.environ, "PYTHONPATH": PYTHONPATH}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    # A test run in a shell's background inherits that Ctrl-C is ignored.
    heeds_interrupts = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)}
    with subprocess.Popen(command, cwd=tmp_path, env=environment, **pipes, **heeds_interrupts) as sweep:  # type: ignore[call-overload]
        assert sweep.stdout
        while "1/3 ok" not in (line := sweep.stdout.readline()):
            assert line
        time.sleep(0.3)
        sweep.send_signal(how)
        _, told = sweep.communicate(timeout=20)
    assert sweep.returncode == 130
    assert "the same command goes on from here" in told
    assert [row["status"] for row in rows(tmp_path)] == ["ok", "interrupted"]
    again = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert "2 jobs to run, 1 already done" in again.stdout


def test_of_two_processes_on_one_folder_one_waits_and_no_job_runs_twice(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bench.run", "-m", *FAST, "input_tokens=1,2,3,...,20", "framework.step_s=0.01"]
    environment = {**os.environ, "PYTHONPATH": PYTHONPATH}
    sweeps = [subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    told = [sweep.communicate(timeout=60)[0] for sweep in sweeps]
    assert [sweep.returncode for sweep in sweeps] == [0, 0], told
    assert sum("works on outputs/sweep; waiting for its end" in each for each in told) == 1
    assert sum("nothing left to do" in each for each in told) == 1
    assert sorted(int(str(row["input_tokens"])) for row in rows(tmp_path)) == list(range(1, 21))


def test_a_memory_limit_turns_a_large_allocation_into_a_row(bench_run: Command, tmp_path: Path) -> None:
    ran = bench_run("-m", "hardware=cpu", "hardware.memory_limit_gb=0.5", "framework.bytes_per_sequence=200000000", "batch_size=1,8", *FAST)
    assert ran.returncode == 0, ran.stderr
    assert {row["batch_size"]: row["status"] for row in rows(tmp_path)} == {1: "ok", 8: "oom"}


def test_a_hanging_point_is_ended_after_its_time(bench_run: Command, tmp_path: Path) -> None:
    bench_run("-m", "framework.fault=hang", "framework.fault_at=1", "batch_size=1,2", "timeout_s=3", *FAULTY)
    assert {row["batch_size"]: row["status"] for row in rows(tmp_path)} == {1: "timeout", 2: "ok"}


def test_a_model_that_cannot_be_loaded_is_not_tried_for_each_point(bench_run: Command, tmp_path: Path) -> None:
    ran = bench_run("-m", "framework.fault=unsupported,load_error", "batch_size=1,2,4", *FAULTY)
    assert ran.stdout.count("loading LLaMA-28M in faulty") == 3  # what raised is tried once more
    statuses = [row["status"] for row in rows(tmp_path)]
    assert sorted(map(str, statuses)) == ["failed"] * 3 + ["unsupported"] * 3


def test_what_was_missing_runs_once_it_is_there(bench_run: Command, tmp_path: Path) -> None:
    command = ("framework.fault=unavailable", f"framework.marks={tmp_path / 'installed'}", *FAULTY)
    assert bench_run(*command).returncode == 1
    (tmp_path / "installed").mkdir()
    assert "1 job to run" in bench_run(*command).stdout
    assert [row["status"] for row in rows(tmp_path)] == ["unavailable", "ok"]


@pytest.mark.parametrize("points", [("batch_size=1,2",), ("batch_size=max",), ("measure.decode=sampled",)], ids=" ".join)
def test_a_run_of_nothing_but_unsupported_points_says_so_and_fails(bench_run: Command, points: tuple[str, ...]) -> None:
    for _ in range(2):  # when its rows are there, too
        ran = bench_run(*points, "framework.fault=unsupported", *FAULTY)
        assert ran.returncode == 1
        assert "no point can be run by its framework" in ran.stderr


def test_system_metrics_are_sampled_when_asked(bench_run: Command, tmp_path: Path) -> None:
    bench_run("measure.system_metrics=true", "measure.interval_s=0.05", "framework.step_s=0.05", *FAST)
    [row] = rows(tmp_path)
    samples = row["system"]
    assert len(samples) >= 2  # type: ignore[arg-type]
    assert all(sample["ram_bytes"] > 0 for sample in samples)  # type: ignore[attr-defined]


def test_token_times_can_be_left_out(bench_run: Command, tmp_path: Path) -> None:
    bench_run("measure.token_times=false", *FAST)
    [row] = rows(tmp_path)
    assert row["token_times_s"] is None
    assert row["latency_s"]


@pytest.mark.parametrize("launcher", ["basic", "joblib", "submitit_local"])
def test_hydras_own_launchers_work_too_with_a_fresh_load_per_point(bench_run: Command, tmp_path: Path, launcher: str) -> None:
    package = f"hydra_plugins.hydra_{launcher.removesuffix('_local')}_launcher"
    if launcher != "basic" and not importlib.util.find_spec(package):
        pytest.skip(f"no hydra-{launcher.removesuffix('_local')}-launcher")
    ran = bench_run("-m", f"hydra/launcher={launcher}", "batch_size=1,2", *FAST)
    assert ran.returncode == 0, ran.stderr
    assert sorted(str(row["status"]) for row in rows(tmp_path)) == ["ok", "ok"]


BAD_INPUT = [
    (["batchsize=4"], "no setting named 'batchsize'; did you mean 'batch_size'?"),
    (["framework.atention=eager"], "no setting named 'framework.atention'; did you mean 'attention'?"),
    (["+colour=red"], "no setting named 'colour'"),
    (["batch_size=four"], "batch_size=four: must be a whole number from 1, or max"),
    (["model.dtype=bf17"], "model.dtype=bf17: invalid value 'bf17', expected one of [fp32, bf16, fp16]"),
    (["model.name=???"], "model.name=???: has no value; set model.name=..."),
    (["dtype=bf16"], "no setting named 'dtype'; did you mean model.dtype?"),
    (["model=facebook/opt-125m"], "write model=pretrained model.path=facebook/opt-125m"),
    (["data=mine/prompts.jsonl"], "write data=dataset data.path=mine/prompts.jsonl"),
    (["+sweeps=./mine.yaml"], "write +from=./mine.yaml"),
    (["framework=fake", "framework.draft=mine"], "did you mean framework.draft of framework=hf?"),
    (["model.path=mine"], "model.path=mine: is read by no point; write model=pretrained model.path=mine, or model.path=null"),
    (["data.path=mine.jsonl"], "data.path=mine.jsonl: is read by no point; write data=dataset data.path=mine.jsonl, or data.path=null"),
    (["+sweep=demmo"], "did you mean 'demo'?"),
    (["output_tokens=[1,101]"], "is a list; leave out the brackets to sweep its values: output_tokens=1,101"),
    (["batch_size='1,2'"], "sweep several by batch_size=1,2,4"),
    (["input_tokens=1.5"], "input_tokens=1.5: must be a whole number"),
    (["batch_size=99999999999"], "must be below 2,147,483,648"),
    (["model=llama_28n"], "no model named 'llama_28n'; did you mean 'llama_28m'?"),
    (["framework=vroom"], "no framework named 'vroom'"),
    (["-m", "+sweeps=demmo"], "did you mean 'demo'?"),
    (["-m", "batch_size=1,2,4,...,63"], "batch_size=1,2,4,...,63: the series never lands on 63; it passes 32, 64"),
    (["-m", "batch_size=1,2,...,8"], "1,2,3,...,8 (arithmetic) or 1,2,4,...,8 (geometric)"),
    (["-m", "batch_size=1,2", "sweep.exclude=['bach_size=2']"], "sweep.exclude=bach_size=2: bach_size is not swept"),
    (["input_tokens=5000"], "5000 + 101: 5101 is more than the 2048 positions of LLaMA-28M"),
    (["framework=fake", "generation=beams"], "generation.num_beams=4: framework=fake has no beam search"),
    (["-m", "framework=fake", "batch_size=1,2,0"], "batch_size=0: must be a whole number from 1, or max"),
    (["framework=fake", "output_dir=/proc/nowhere"], "output_dir=/proc/nowhere: cannot be written"),
    (["-m", "framework=fake", "name=a,b"], "output_dir=outputs/a, outputs/b: holds for the whole sweep"),
    (["framework=fake", "rounds=1,3"], "rounds=1, 3: holds for the whole sweep: give it one value"),
    (["batch_size=1,", "2"], "'batch_size=1,' is no setting: write key=value without spaces"),
    (["demo"], "'demo' is no setting: write key=value without spaces"),
    (["sweep=demo"], "sweep is a group of settings, and has no value of its own; set one of sweep.zip"),
    (["sweep=demo"], "a named sweep is +sweeps=demo"),
    (["hardware.enw.OMP_WAIT_POLICY=passive"], "no setting named 'hardware.enw'; did you mean 'env'?"),
    (["--hlep"], "option=--hlep: is none of bench-run; did you mean --help?"),
    (["--batch-size", "4"], "a setting is written as key=value"),
]


@pytest.mark.parametrize(("arguments", "told"), BAD_INPUT, ids=lambda value: " ".join(value) if isinstance(value, list) else "")
def test_bad_input_gets_one_message_before_anything_is_loaded(bench_run: Command, tmp_path: Path, arguments: list[str], told: str) -> None:
    ran = bench_run(*arguments)
    assert ran.returncode == 1
    assert told in ran.stderr
    assert "Traceback" not in ran.stderr
    assert "loading" not in ran.stdout
    assert not list(tmp_path.rglob("*.parquet"))


def test_help_is_a_page_about_this_program_as_wide_as_the_terminal(bench_run: Command, tmp_path: Path) -> None:
    (tmp_path / "conf" / "model").mkdir(parents=True)
    (tmp_path / "conf" / "model" / "my_own.yaml").touch()
    page = bench_run("--help").stdout
    for told in ("bench-run batch_size=1,2,4,...,64", "llama_28m", "my_own", "input_tokens=128", "sequences generated at once"):
        assert told in page
    assert max(map(len, help_page([CONF], columns=80).splitlines())) <= 80
    assert bench_run("--version").stdout.strip() == bench.__version__
