"""Workers in another Python environment: two versions of an engine, or two engines that exclude each other, in one sweep."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import numpy as np
import pytest

from bench.analysis.settings import pool_rounds, read_jobs, telling_apart
from bench.host import processes
from bench.results import Row, Store
from tests.conftest import ROOT, Command

FAST = ("framework=fake", "num_runs=6", "warmup_runs=1", "input_tokens=8", "output_tokens=4", "report=false")


@pytest.fixture
def other_python(tmp_path: Path) -> Path:
    """An environment with the packages of this one, but another numpy by name; its interpreter notes what it is asked to run."""
    folder = tmp_path / "other"
    venv.create(folder, symlinks=True)
    [site] = (folder / "lib").glob("python*/site-packages")
    (site / "shared.pth").write_text(sysconfig.get_paths()["purelib"])
    (site / "sitecustomize.py").write_text(f"import sys\nprint(*sys.orig_argv, file=open({str(tmp_path / 'ran')!r}, 'a'))\n")
    dist = site / "numpy-9.9.9.dist-info"
    dist.mkdir()
    (dist / "METADATA").write_text("Metadata-Version: 2.1\nName: numpy\nVersion: 9.9.9\n")
    return folder / "bin" / "python"


def rows(tmp_path: Path) -> list[Row]:
    return list(Store(tmp_path / "outputs" / "sweep").rows())


def test_two_environments_in_one_sweep_and_compared(bench_run: Command, other_python: Path, tmp_path: Path) -> None:
    ran = bench_run(*FAST, f"framework.python={sys.executable},{other_python}", "rounds=3", "framework.step_s=0.01")
    assert ran.returncode == 0, ran.stderr
    assert "6 jobs to run, 4 model loads" in ran.stdout
    assert "bench.worker.child" in (tmp_path / "ran").read_text()
    found = {json.loads(row["config"])["framework"]["python"]: row for row in rows(tmp_path)}
    assert found[str(other_python)]["framework_version"] == "9.9.9"
    assert json.loads(found[sys.executable]["environment"])["packages"] == {"numpy": np.__version__}
    assert telling_apart(pool_rounds(read_jobs([tmp_path / "outputs" / "sweep"]))) == ["framework_version"]
    again = bench_run(*FAST, f"framework.python={sys.executable},{other_python}", "rounds=3", "framework.step_s=0.01")
    assert "nothing left to do: all 6 jobs are done" in again.stdout
    command = [sys.executable, "-m", "bench.compare", "outputs/sweep", "--by", "python"]
    compared = subprocess.run(command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert compared.returncode in (0, 2), compared.stderr  # 2 on a noisy host
    assert "9.9.9" in compared.stdout


def test_an_environment_that_changed_is_measured_again(bench_run: Command, other_python: Path) -> None:
    settings = (*FAST, f"framework.python={other_python}")
    assert bench_run(*settings).returncode == 0
    [dist] = other_python.parents[1].glob("lib/python*/site-packages/numpy-9.9.9.dist-info")
    (dist / "METADATA").write_text("Metadata-Version: 2.1\nName: numpy\nVersion: 9.9.10\n")
    assert "1 job to run" in bench_run(*settings).stdout


def test_an_interpreter_that_is_not_there_stops_the_sweep_before_it_begins(bench_run: Command) -> None:
    ran = bench_run(*FAST, "framework.python=/nowhere/bin/python")
    assert ran.returncode == 1
    assert "framework.python=/nowhere/bin/python: cannot be started (No such file or directory)" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_an_environment_without_this_program_is_told_what_to_install(bench_run: Command, tmp_path: Path) -> None:
    venv.create(tmp_path / "bare", symlinks=True)
    ran = bench_run(*FAST, f"framework.python={tmp_path / 'bare/bin/python'}")
    assert ran.returncode == 1
    assert "No module named 'psutil'" in ran.stderr
    assert "install llm-bench-sweep" in ran.stderr


def test_an_environment_with_another_version_of_this_program_is_refused(bench_run: Command, tmp_path: Path) -> None:
    other = tmp_path / "older"
    other.write_text('#!/bin/sh\necho \'{"version": "0.0.1", "python": "3.12.1", "packages": {}}\'\n')
    other.chmod(0o755)
    ran = bench_run(*FAST, f"framework.python={other}")
    assert ran.returncode == 1
    assert "it has llm-bench-sweep 0.0.1, and this is" in ran.stderr


def test_another_environment_is_shown_a_checkout_but_never_the_packages_of_this_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/mine")
    assert processes.child_environment("/other/python")["PYTHONPATH"] == f"{ROOT}:/mine"
    installed = Path(sysconfig.get_paths()["purelib"])
    monkeypatch.setattr(processes, "ROOT", installed)
    monkeypatch.setenv("PYTHONPATH", f"{installed}:/mine")
    assert processes.child_environment("/other/python")["PYTHONPATH"] == "/mine"
