"""Charts: every setting is drawn or marked as missing, files are named and repeatable, odd tables don't break them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bench.analysis import axes, gallery, plots, style, tables
from bench.analysis.gallery import Picture
from bench.units import format_seconds
from tests import synthetic


@pytest.fixture(autouse=True)
def _house_style() -> Iterator[None]:
    with style.house_style():
        yield


def settings_of(tmp_path: Path, rows: list[dict[str, object]]) -> pd.DataFrame:
    return tables.settings(tables.jobs([synthetic.write(tmp_path, rows)]))


def pictures(tmp_path: Path, rows: list[dict[str, object]]) -> dict[str, Picture]:
    return {picture.chart.name: picture for picture in gallery.standard_pictures(settings_of(tmp_path, rows))}


def test_each_difference_gets_its_own_picture_or_line(tmp_path: Path) -> None:
    rows = synthetic.sweep(framework=["hf", "pace"], input_tokens=[32, 128])
    found = pictures(tmp_path, rows)
    assert sorted(name for name in found if name.startswith("latency")) == [
        *("latency-LLaMA-7B-hf-in128", "latency-LLaMA-7B-hf-in32", "latency-LLaMA-7B-pace-in128", "latency-LLaMA-7B-pace-in32")
    ]
    throughput = found["throughput-LLaMA-7B-in128-out101"]
    assert throughput.chart.line == ("framework",)
    assert throughput.chart.subtitle == "LLaMA-7B · 1xA100-80GB · bf16 · 128 prompt tokens · 101 output tokens"


def test_every_measured_setting_is_drawn_at_its_place(tmp_path: Path) -> None:
    picture = pictures(tmp_path, synthetic.sweep())["latency-LLaMA-7B-hf-in128"]
    [ax] = plots.draw(*picture).axes
    drawn = {(x, y) for line in ax.lines for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True)}  # type: ignore[arg-type]
    assert drawn == set(zip(picture.frame["output_tokens"], picture.frame["latency_s"], strict=True))


def test_out_of_memory_stands_in_a_lane_of_its_own(tmp_path: Path) -> None:
    found = pictures(tmp_path, synthetic.sweep(most_tokens=900))
    panel, lane = plots.draw(*found["batch-LLaMA-7B-hf-in128"]).axes
    crosses = np.asarray(lane.collections[0].get_offsets())
    assert sorted(crosses[:, 0]) == [4, 8, 8, 8]
    assert panel.get_xlim()[1] > 8
    words = plots.draw(*found["throughput-LLaMA-7B-hf-in128"]).axes[1]
    assert any(text.get_text() == "101 output tokens: batch 4, 8" for text in words.texts)


def test_frameworks_keep_their_colours_whoever_else_is_there() -> None:
    alone, together = style.unordered_styles(["pace"]), style.unordered_styles(["hf", "pace", "someone"])
    assert alone[0] == together[1]
    assert len({line.color for line in together}) == 3


@pytest.mark.parametrize(
    "grid",
    [
        {"batch_size": [1], "output_tokens": [101]},
        {"batch_size": [3], "output_tokens": [1, 2]},
        {"model": ["a model with a very long name " * 5, "$x_1$ & <b>"]},
        {"hardware": [f"machine {i}" for i in range(9)], "output_tokens": [64]},
    ],
)
def test_odd_tables_are_drawn_without_a_warning(tmp_path: Path, grid: dict[str, Any]) -> None:
    rows = synthetic.sweep(repeats=1, **grid)
    found = list(gallery.standard_pictures(settings_of(tmp_path, rows)))
    assert gallery.save(found, tmp_path / "charts")
    assert len({picture.chart.name for picture in found}) == len(found)


def test_a_rerun_writes_the_same_bytes(tmp_path: Path) -> None:
    found = list(gallery.standard_pictures(settings_of(tmp_path, synthetic.sweep(batch_size=[1, 4]))))
    first, second = gallery.save(found, tmp_path / "a"), gallery.save(found, tmp_path / "b")
    assert [file.read_bytes() for file in first] == [file.read_bytes() for file in second]


def test_axes_carry_round_values_in_human_units() -> None:
    assert [format_seconds(tick) for tick in axes.one_two_five(0.08, 12)] == ["100 ms", "200 ms", "500 ms", "1 s", "2 s", "5 s", "10 s"]
    assert axes.one_two_five(0.01, 100) == [0.01, 0.1, 1.0, 10.0, 100.0]
    assert axes.uncrowded([1, 2, 3, 4, 5, 6, 7, 8, 512]) == [1, 2, 3, 5, 8, 512]


def test_labels_move_apart_but_no_further_than_needed() -> None:
    assert style.spread([10, 0, 11], 4) == [8.5, 0, 12.5]
    assert style.spread([5, 100], 4) == [5, 100]


def report(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-m", "bench.report", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_the_command_prints_the_table_and_where_the_charts_are(tmp_path: Path) -> None:
    folder = synthetic.write(tmp_path / "demo", synthetic.sweep())
    done = report(str(folder))
    assert (done.returncode, done.stderr) == (0, "")
    assert f"{folder}/charts/latency-LLaMA-7B-hf-in128.png" in done.stdout
    assert (folder / "charts" / "latency-LLaMA-7B-hf-in128.svg").is_file()


def test_a_sweep_in_which_nothing_was_measured_says_why(tmp_path: Path) -> None:
    failed = report(str(synthetic.write(tmp_path, synthetic.sweep(most_tokens=0))))
    assert failed.returncode == 1
    assert "12 oom" in failed.stdout
    assert failed.stderr.startswith("bench-report: nothing to draw")
    assert len(failed.stderr.splitlines()) == 1


def test_a_missing_folder_is_one_message(tmp_path: Path) -> None:
    failed = report(str(tmp_path / "nowhere"))
    assert failed.returncode == 1
    assert failed.stderr.startswith("bench-report: no rows in")
