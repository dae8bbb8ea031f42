"""The same from Python: run a grid, load its rows, draw a chart; and the notebook that shows it."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import load, plots, sweep
from bench.errors import BenchError, InvalidSetting, PointsFailed
from tests.conftest import ROOT

FAST = {"framework": "fake", "ceilings": False, "num_runs": 2, "warmup_runs": 0, "input_tokens": 8}


def test_a_grid_is_run_loaded_and_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = sweep.run("batch_size=1,2,4,...,8", name="mine", output_tokens=[2, 4], **FAST)
    assert folder == Path("outputs/mine")
    settings = load(folder)
    assert sorted(settings["batch_size"].unique()) == [1, 2, 4, 8]
    assert len(settings) == 8
    drawing = plots.chart(settings, x="batch_size", y="latency_s")
    assert drawing._repr_png_().startswith(b"\x89PNG")
    assert [file.suffix for file in drawing.save(tmp_path)] == [".png", ".svg"]
    assert plots.standard(settings)[0].figure().axes


def test_a_mistake_is_told_before_anything_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BenchError, match="did you mean 'batch_size'"):
        sweep.run("+batch_sise=1")
    with pytest.raises(InvalidSetting, match="output_tokens=0"):
        sweep.run(output_tokens=0)
    with pytest.raises(InvalidSetting, match=r"hydra.launcher.workers=0: must be at least 1"):
        sweep.run("hydra.launcher.workers=0")
    assert not (tmp_path / "outputs").exists()


def test_a_point_without_a_result_raises_after_the_others_have_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PointsFailed, match="1 of 2 points"):
        sweep.run("framework.step_s=0.5", "timeout_s=3", output_tokens=[1, 9], **FAST)
    assert load("outputs/sweep")["status"].tolist() == ["ok", "timeout"]


def test_values_are_spelled_as_the_command_line_takes_them() -> None:
    [point] = sweep.points("name='a, b'", "++framework.llm_operators={Norm:JIT}", "framework=pace")
    assert (point.name, point.framework.llm_operators) == ("a, b", {"Norm": "JIT"})  # type: ignore[attr-defined]


def test_the_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbclient = pytest.importorskip("nbclient")
    nbformat = pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    monkeypatch.delenv("PYTHONPATH", raising=False)
    notebook = nbformat.read(ROOT / "docs" / "notebook.ipynb", as_version=4)
    nbclient.NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = [output["data"] for cell in notebook.cells for output in cell.get("outputs", []) if "data" in output]
    assert sum("image/png" in data for data in shown) == 2
    assert (tmp_path / "outputs" / "notebook" / "rows").is_dir()
