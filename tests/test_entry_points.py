"""A framework from another package is used like our own, and a broken one hurts nobody else."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.results import Store
from tests.conftest import ROOT

ECHO = """
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from bench.config import FrameworkConfig
from bench.roofline import shape_of


@dataclass
class Settings(FrameworkConfig):
    pretends: ClassVar[bool] = True  # no model, so no ceilings
    token: int = 7  # that it answers with


class Echo:
    def __init__(self, run):
        self.run = run

    def load(self):
        return shape_of(self.run.model.architecture)

    def prepare(self, run):
        self.run = run

    def generate(self, prompts, new_tokens, on_step):
        for _ in range(new_tokens):
            on_step()
        return np.full((len(prompts), new_tokens), self.run.framework.token)

    def describe(self):
        return {"framework_version": "0.1", "device": "cpu", "token": self.run.framework.token}
"""


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """A folder with two installed packages: one registers a framework that works, the other one that cannot be imported."""
    folder = tmp_path / "packages"
    for name, adapter, source in (("echo", "Echo", ECHO), ("broken", "Broken", "import no_such_module\n")):
        metadata = folder / f"{name}_engine-0.1.dist-info"
        metadata.mkdir(parents=True)
        (folder / f"{name}_engine.py").write_text(source)
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}-engine\nVersion: 0.1\n")
        (metadata / "entry_points.txt").write_text(f"[bench.frameworks]\n{name} = {name}_engine:{adapter}\n")
    return folder


def run(packages: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{packages}"}
    small = ("report=false", "num_runs=2", "warmup_runs=1", "output_tokens=3", "output_dir=out")
    command = [sys.executable, "-m", "bench.run", *small, *arguments]
    return subprocess.run(command, cwd=packages.parent, env=environment, capture_output=True, text=True, timeout=120)


def test_a_registered_framework_runs_with_its_own_settings_and_needs_no_yaml(packages: Path) -> None:
    done = run(packages, "framework=echo", "framework.token=9")
    assert done.returncode == 0, done.stderr
    (row,) = Store(packages.parent / "out").rows(["status", "framework", "framework_args", "framework_version"])
    assert (row["status"], row["framework"], row["framework_version"]) == ("ok", "echo", "0.1")
    assert '"token":9' in row["framework_args"]


def test_settings_of_a_registered_framework_are_typed(packages: Path) -> None:
    assert "framework.token" in run(packages, "framework=echo", "framework.token=many").stderr
    assert "no setting named 'framework.tokn'; did you mean 'token'?" in run(packages, "framework=echo", "+framework.tokn=1").stderr


def test_a_broken_framework_says_what_is_wrong_with_it(packages: Path) -> None:
    done = run(packages, "framework=broken")
    assert done.returncode == 1
    assert "framework=broken: broken_engine has no usable Settings (ModuleNotFoundError: No module named 'no_such_module')" in done.stderr


def test_a_broken_framework_does_not_disturb_the_others(packages: Path) -> None:
    assert run(packages, "framework=fake").returncode == 0
