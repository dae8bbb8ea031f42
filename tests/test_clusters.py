"""Sweeps on a real Slurm of two nodes and on a real local Ray."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bench.config import Device, HardwareConfig, RunConfig
from bench.frameworks import deepspeed_tp
from bench.results import Row, Store
from bench.sweep.ray import needed
from tests import slurm_cluster
from tests.conftest import PYTHONPATH, fake_run

FAST = ("num_runs=2", "warmup_runs=0", "input_tokens=8", "output_tokens=4", "report=false", "batch_size=1,2")
SLURM = ("hydra.launcher.executor=slurm", "hydra.launcher.params={timeout_min:5,cpus_per_task:1}")
RAY = ("hydra.launcher.executor=ray", "+hydra.launcher.params={num_cpus:1,init:{num_cpus:2}}")

needs_slurm = pytest.mark.skipif(slurm_cluster.why_not() is not None, reason=str(slurm_cluster.why_not()))
needs_submitit = pytest.mark.skipif(not importlib.util.find_spec("submitit"), reason="no submitit: pip install submitit")
needs_ray = pytest.mark.skipif(not importlib.util.find_spec("ray"), reason="no ray: pip install ray")


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    cluster = slurm_cluster.SlurmCluster(tmp_path_factory.mktemp("slurm"))
    try:
        cluster.start()
        yield
    finally:
        cluster.stop()


def sweep(folder: Path, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": PYTHONPATH, "RAY_AUTH_MODE": "disabled"}
    framework = () if "framework=faulty" in arguments else ("framework=fake",)
    command = [sys.executable, "-m", "bench.run", "-m", *FAST, *framework, *arguments]
    ran = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)
    assert not check or ran.returncode == 0, ran.stdout + ran.stderr
    return ran


def rows(folder: Path) -> list[Row]:
    return Store(folder / "outputs" / "sweep").rows()


@needs_slurm
@needs_submitit
@pytest.mark.usefixtures("slurm")
class TestSlurm:
    def test_each_loaded_model_is_one_slurm_job_and_its_rows_arrive(self, tmp_path: Path) -> None:
        told = sweep(tmp_path, *SLURM, "framework.load_s=0.01,0.02").stdout
        assert len(re.findall(r"\d+", told[told.index("Slurm jobs:") :].splitlines()[0])) == 2
        assert [row["status"] for row in rows(tmp_path)] == ["ok"] * 4
        assert "nothing left to do" in sweep(tmp_path, *SLURM, "framework.load_s=0.01,0.02").stdout

    def test_a_detached_sweep_goes_on_alone_and_is_collected_by_the_same_command(self, tmp_path: Path) -> None:
        detached = sweep(tmp_path, *SLURM, "framework.step_s=0.3", "hydra.launcher.detach=true")
        assert "2 jobs are under way; the same command collects them" in detached.stdout
        job_id = re.findall(r"Slurm jobs: (\d+)", detached.stdout)
        collected = sweep(tmp_path, *SLURM, "framework.step_s=0.3")
        assert re.findall(r"Slurm jobs: (\d+)", collected.stdout) == job_id  # the same one, not a second
        assert [row["status"] for row in rows(tmp_path)] == ["ok", "ok"]

    def test_a_cancelled_job_is_named_in_the_rows_and_run_again(self, tmp_path: Path) -> None:
        detached = sweep(tmp_path, *SLURM, "framework.step_s=2", "hydra.launcher.detach=true")
        [job_id] = re.findall(r"Slurm jobs: (\d+)", detached.stdout)
        deadline = time.monotonic() + 30
        while not list((tmp_path / "outputs/sweep/logs").glob("fake-*.log")):
            assert time.monotonic() < deadline, "the job never started"
            time.sleep(0.2)
        time.sleep(1)
        subprocess.run(["scancel", job_id], check=True)
        while not rows(tmp_path) and time.monotonic() < deadline:
            time.sleep(0.2)
        [row] = rows(tmp_path)
        assert row["status"] == "interrupted"
        assert "the Slurm job was told to stop" in row["error"]

    def test_a_cancelled_job_that_never_ran_leaves_rows_too(self, tmp_path: Path) -> None:
        command = [
            sys.executable,
            "-m",
            "bench.run",
            "-m",
            "framework=fake",
            *FAST,
            *SLURM[:1],
            "+hydra.launcher.params={timeout_min:5,nodes:2,exclusive:true}",
        ]
        environment = {**os.environ, "PYTHONPATH": PYTHONPATH}
        blocker = subprocess.run(
            ["sbatch", "--parsable", "-N2", "--exclusive", "--wrap", "sleep 60"], cwd=tmp_path, capture_output=True, text=True, check=True
        )
        waiting = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True)
        assert waiting.stdout
        while "Slurm jobs:" not in (line := waiting.stdout.readline()):
            assert line
        subprocess.run(["scancel", line.split()[-1]], check=True)
        waiting.communicate(timeout=60)
        subprocess.run(["scancel", blocker.stdout.strip()], check=True)
        assert {row["status"] for row in rows(tmp_path)} == {"interrupted"}
        assert all("ended as CANCELLED" in row["error"] for row in rows(tmp_path))

    def test_parameters_that_slurm_refuses_get_one_message(self, tmp_path: Path) -> None:
        ran = sweep(tmp_path, SLURM[0], "+hydra.launcher.params={slurm_partition:nowhere}", check=False)
        assert ran.returncode == 1
        assert "Slurm did not take the jobs" in ran.stderr
        assert "Traceback" not in ran.stderr


def test_a_group_takes_its_gpus_with_their_share_of_the_cores_and_on_cpus_a_whole_node() -> None:
    nodes = [{"CPU": 64.0, "GPU": 8.0}, {"CPU": 32.0, "GPU": 8.0}, {"CPU": 16.0}]
    split = RunConfig(model=fake_run().model, framework=deepspeed_tp.Settings(name="deepspeed_tp", tp=2))
    assert needed(split, nodes) == {"num_gpus": 2, "num_cpus": 8}
    assert needed(replace(split, hardware=HardwareConfig(device=Device.cpu)), nodes) == {"num_cpus": 16}
    assert needed(split, nodes[2:]) == {"num_cpus": 16}


@needs_ray
def test_ray_runs_each_group_and_a_killed_worker_costs_one_point(tmp_path: Path) -> None:
    ran = sweep(tmp_path, *RAY, "framework=faulty", "framework.fault=kill", "framework.fault_at=1", check=False)
    assert ran.returncode == 1, ran.stdout + ran.stderr
    assert {row["batch_size"]: row["status"] for row in rows(tmp_path)} == {1: "crashed", 2: "ok"}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["hydra.launcher.executor=cloud"], "no executor named 'cloud'"),
        (["hydra.launcher.workers=0"], "hydra.launcher.workers=0: must be at least 1"),
        (["hydra.launcher.detach=true"], "only executor=slurm goes on alone"),
    ],
)
def test_an_impossible_placement_is_refused(tmp_path: Path, arguments: list[str], told: str) -> None:
    ran = sweep(tmp_path, *arguments, check=False)
    assert ran.returncode == 1
    assert told in ran.stderr
