"""Every kind of install works from an empty folder: by command, by python -m, and in a script of one's own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

SCRIPT = """
from bench import load, sweep

folder = sweep.run(framework="fake", batch_size=[1, 2], ceilings=False, num_runs=1, warmup_runs=0, output_tokens=2)
assert sorted(load(folder)["batch_size"]) == [1, 2]
"""
SMALL = ("framework=fake", "batch_size=1,2", "ceilings=false", "num_runs=1", "warmup_runs=0", "output_tokens=2", "report=false")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what a wheel installs; the wheel is made from the source distribution, so that both are whole."""
    pytest.importorskip("build")
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run([sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT], check=True, capture_output=True)
    [file] = folder.glob("*.whl")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--disable-pip-version-check"]
    subprocess.run([*pip, "--target", folder / "installed", file], check=True, capture_output=True)
    return folder / "installed"


def run(*command: str | Path, folder: Path, path: Path | None = None) -> str:
    environment = {**os.environ, "PYTHONPATH": str(path or "")}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("how", ["editable", "wheel"])
def test_an_install_works_from_an_empty_folder(how: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    path = request.getfixturevalue("wheel") if how == "wheel" else None
    command = path / "bin" / "bench-run" if path else Path(sys.executable).with_name("bench-run")
    where = run(sys.executable, "-c", "import bench; print(bench.__file__)", folder=tmp_path, path=path)
    assert where.startswith(str(path or ROOT))
    assert "2/2 ok" in run(command, *SMALL, folder=tmp_path, path=path)
    assert "nothing left to do" in run(sys.executable, "-m", "bench.run", *SMALL, folder=tmp_path, path=path)
    (tmp_path / "mine.py").write_text(SCRIPT)
    run(sys.executable, "mine.py", folder=tmp_path, path=path)
