"""bench.report as one types it: what it prints, draws, takes away, and says where nothing was measured."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from bench.analysis import charts
from bench.report import show
from tests import synthetic
from tests.test_plots import drawable


def report(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-m", "bench.report", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_the_command_prints_the_table_and_where_the_charts_are(tmp_path: Path) -> None:
    folder = synthetic.write(tmp_path / "demo", synthetic.sweep())
    done = report(str(folder))
    assert (done.returncode, done.stderr) == (0, "")
    assert f"{folder}/charts/latency-LLaMA-7B-hf-in128.png" in done.stdout
    assert (folder / "charts" / "latency-LLaMA-7B-hf-in128.svg").is_file()
    assert (folder / "report.html").is_file()


def test_charts_that_a_grown_sweep_no_longer_has_go_and_those_of_the_user_stay(tmp_path: Path) -> None:
    folder = tmp_path / "charts"
    before = {file.name for file in charts.renew(drawable(tmp_path, synthetic.sweep()), folder)}
    [own] = {file.stem for file in charts.save(drawable(tmp_path, synthetic.sweep())[:1], tmp_path / "own")}
    (tmp_path / "own" / f"{own}.png").rename(folder / "mine.png")
    grown = synthetic.sweep(framework=["hf", "pace"], hardware=["1xA100", "EPYC"])
    after = {file.name for file in charts.renew(drawable(tmp_path / "grown", grown), folder)}
    assert before - after
    assert {file.name for file in folder.iterdir()} == {"mine.png", ".drawn", *after}


def test_several_sweeps_are_reported_together_beside_each_other(tmp_path: Path) -> None:
    one = synthetic.write(tmp_path / "one", synthetic.sweep(framework=["hf"], name="one"))
    two = synthetic.write(tmp_path / "two", synthetic.sweep(framework=["pace"], name="two"))
    done = report(str(one), str(two), "--x", "batch_size", "--y", "ttft_s", "--where", "output_tokens == 11")
    assert done.stderr == ""
    assert (tmp_path / "one+two" / "charts" / "custom-ttft_s-over-batch_size-by-framework.png").is_file()


def test_markdown_goes_to_the_terminal_alone(tmp_path: Path) -> None:
    done = report(str(synthetic.write(tmp_path, synthetic.sweep())), "--format", "markdown")
    assert done.stdout.startswith("**LLaMA-7B")
    assert not (tmp_path / "charts").exists()


def test_the_published_charts_need_no_sweep(tmp_path: Path) -> None:
    done = report("--published", "--out", str(tmp_path))
    assert done.stderr == ""
    assert len(list(tmp_path.glob("*.svg"))) == 7


def test_a_sweep_in_which_nothing_was_measured_says_why(tmp_path: Path) -> None:
    failed = report(str(synthetic.write(tmp_path, synthetic.sweep(most_tokens=0))))
    assert failed.returncode == 1
    assert "12 oom" in failed.stdout
    assert failed.stderr.startswith("bench-report: nothing to draw")
    assert len(failed.stderr.splitlines()) == 1


@pytest.mark.parametrize("status", ["oom", "crashed", "unsupported", "interrupted"])
def test_a_sweep_that_measured_nothing_still_ends_with_its_reasons(tmp_path: Path, status: str) -> None:
    rows = synthetic.sweep(framework=["hf", "pace"], most_tokens=0)
    folder = synthetic.write(tmp_path, [{**row, "status": status, "error": "no luck"} for row in rows])
    console = Console(file=io.StringIO(), width=80)
    show(folder, console)
    assert isinstance(console.file, io.StringIO)
    assert f"24 {status}: hf in 128 out 1 batch 1" in " ".join(console.file.getvalue().split())
    assert (folder / "report.html").is_file()


def test_a_missing_folder_is_one_message(tmp_path: Path) -> None:
    failed = report(str(tmp_path / "nowhere"))
    assert failed.returncode == 1
    assert failed.stderr.startswith("bench-report: no rows in")
