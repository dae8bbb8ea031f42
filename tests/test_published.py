"""The published charts are redrawn from their data to the vertex, and measured sweeps are laid over the right ones."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.lines import Line2D
from rich.console import Console

from bench import sweep
from bench.analysis import charts, published, style
from bench.analysis.charts import Picture
from bench.analysis.settings import pool_rounds, read_jobs
from bench.sweep.conductor import run_sweep
from tests import synthetic
from tests.conftest import ROOT

# Read here on their own, so that a mistake of bench.analysis.published cannot hide itself.
POINTS = pd.read_csv(published.FOLDER / "published.csv")
CHARTS = pd.read_csv(published.FOLDER / "charts.csv").sort_values("series_order", kind="stable")
PICTURES = {picture.name: picture for picture in published.published_pictures()}


@pytest.fixture(autouse=True)
def _house_style() -> Iterator[None]:
    with style.house_style():
        yield


def drawn_lines(picture: Picture) -> list[Line2D]:
    return [line for line in picture.figure().axes[0].lines if line.get_marker() != "None"]


def test_all_seven_charts_are_redrawn() -> None:
    assert len(PICTURES) == CHARTS["chart"].nunique() == 7
    assert sum(len(picture.frame) for picture in PICTURES.values()) == len(POINTS) == 149


@pytest.mark.parametrize("sweep", PICTURES)
def test_every_drawn_vertex_is_a_published_one_in_the_published_order(sweep: str) -> None:
    series = CHARTS[CHARTS["chart"] == published.SWEEPS[sweep]]
    points = POINTS[POINTS["chart"] == published.SWEEPS[sweep]]
    x, y = ("output_tokens", "latency_s") if "latency" in set(points["figure"]) else ("latency_s", "throughput_tok_s")
    lines = drawn_lines(PICTURES[sweep])
    assert len(lines) == len(series)
    for line, label in zip(lines, series["series_label"], strict=True):
        expected = points[points["series_label"] == label].sort_values("batch_size" if x == "latency_s" else x)
        np.testing.assert_array_equal(line.get_xydata(), expected[[x, y]])


@pytest.mark.parametrize("sweep", PICTURES)
def test_axes_are_the_published_ones(sweep: str) -> None:
    series = CHARTS[CHARTS["chart"] == published.SWEEPS[sweep]].iloc[0]
    ax = PICTURES[sweep].figure().axes[0]
    for axis, name, limits in ((ax.xaxis, "x", ax.get_xlim()), (ax.yaxis, "y", ax.get_ylim())):
        unit = 1000 if "[ms]" in series[f"{name}_label"] else 1
        assert axis.get_scale() == series[f"{name}_scale"]
        np.testing.assert_allclose(np.array(limits) * unit, series[[f"{name}_min", f"{name}_max"]].astype(float))
        ticks = [float(tick.replace(",", "")) for tick in series[f"{name}_ticks"].split()]
        np.testing.assert_allclose(axis.get_majorticklocs() * unit, ticks)


def measured(tmp_path: Path, **grid: object) -> pd.DataFrame:
    return pool_rounds(read_jobs([synthetic.write(tmp_path, synthetic.sweep(**grid))]))  # type: ignore[arg-type]


def test_a_sweep_of_a_published_name_is_laid_over_it(tmp_path: Path) -> None:
    settings = measured(tmp_path, name="mpt-7b-latency-short", model=["MPT-7B"], batch_size=[1, 4], output_tokens=[1, 11])
    [picture] = published.overlays(settings)
    hollow = [line for line in drawn_lines(picture) if line.get_markerfacecolor() == "white"]
    theirs = published.points_of("mpt-7b-latency-short")
    assert sum(np.size(line.get_xdata()) for line in hollow) == len(theirs)
    assert picture.chart.reference == "published: MPT-7B · hf · 1xA100-80GB · bf16"
    assert charts.save([picture], tmp_path / "charts")


def test_ratios_pair_each_point_with_the_published_one_of_its_kind(tmp_path: Path) -> None:
    settings = measured(
        tmp_path, name="open-models", model=["MPT-7B", "LLaMA-7B"], input_tokens=[512], output_tokens=[64], batch_size=[1, 3]
    )
    pairs = published.ratios(settings, "open-models")
    assert pairs["model"].tolist() == pairs["model_published"].tolist() == ["LLaMA-7B", "MPT-7B"]
    assert pairs["latency_s_published"].tolist() == [1.714, 0.988]
    assert pairs["ratio"].tolist() == (pairs["latency_s"] / pairs["latency_s_published"]).tolist()


def test_a_small_sibling_is_compared_with_its_family_and_the_table_says_so(tmp_path: Path) -> None:
    rows = synthetic.sweep(name="mpt-7b-hardware-small", model=["MPT-14M"], input_tokens=[512], output_tokens=[64], batch_size=[1])
    folder = synthetic.write(tmp_path, [{**row, "model_family": "mpt"} for row in rows])
    [(sweep, found)] = published.repeated(pool_rounds(read_jobs([folder])))
    pairs = published.ratios(found, sweep)
    assert pairs[["model_published", "hardware_published"]].to_numpy().tolist() == [["MPT-7B", "1xA100-80GB"]]
    choices = published.fidelity(found, sweep).set_index("choice")
    assert choices.loc[["model"], ["published runs", "here"]].to_numpy().tolist() == [["MPT-7B", "MPT-14M"]]
    assert choices.loc[["versions"], ["known by", "here"]].to_numpy().tolist() == [["unknown", "torch 2.13.0, transformers 5.12.1"]]
    assert choices.loc["batch size", "known by"] == "computed"


def test_sweeps_that_repeat_nothing_published_get_no_overlay(tmp_path: Path) -> None:
    assert list(published.overlays(measured(tmp_path))) == []


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "sweeps").glob("*.yaml")))
def test_every_named_sweep_runs_and_is_laid_over_what_it_repeats(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    points = sweep.points(f"+sweeps={name}", "framework=fake", "hardware=cpu", "num_runs=1", "warmup_runs=0", "report=false")
    run_sweep(points, Console())
    settings = pool_rounds(read_jobs([tmp_path / "outputs" / name]))
    assert len(settings) == len(points)
    assert set(settings["status"]) == {"ok"}
    overlays = list(published.overlays(settings))
    assert len(overlays) == (name.removesuffix("-small") in published.SWEEPS)
    assert charts.save(overlays, tmp_path / "charts") or not overlays
    for repeated, found in published.repeated(settings):
        assert len(published.ratios(found, repeated)) > 0
