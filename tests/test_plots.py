"""Charts: every setting is drawn or marked as missing, files are named and repeatable, odd tables don't break them."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.text import Text

from bench.analysis import charts, pace, scales, style
from bench.analysis.charts import Picture
from bench.analysis.settings import pool_rounds, read_jobs
from bench.errors import BenchError
from bench.units import format_seconds
from tests import synthetic


@pytest.fixture(autouse=True)
def _house_style() -> Iterator[None]:
    with style.house_style():
        yield


def settings_of(tmp_path: Path, rows: list[dict[str, object]]) -> pd.DataFrame:
    return pool_rounds(read_jobs([synthetic.write(tmp_path, rows)]))


def drawable(tmp_path: Path, rows: list[dict[str, object]]) -> list[Picture]:
    return charts.standard_pictures(settings_of(tmp_path, rows))


def pictures(tmp_path: Path, rows: list[dict[str, object]]) -> dict[str, Picture]:
    return {picture.name: picture for picture in drawable(tmp_path, rows)}


def test_each_difference_gets_its_own_picture_or_line(tmp_path: Path) -> None:
    rows = synthetic.sweep(framework=["hf", "pace"], input_tokens=[32, 128])
    found = pictures(tmp_path, rows)
    assert sorted(name for name in found if name.startswith("latency")) == [
        *("latency-LLaMA-7B-hf-in128", "latency-LLaMA-7B-hf-in32", "latency-LLaMA-7B-pace-in128", "latency-LLaMA-7B-pace-in32")
    ]
    throughput = found["throughput-LLaMA-7B-in128-out101"]
    assert throughput.chart.line == ("framework",)
    assert throughput.chart.subtitle(throughput.frame) == "LLaMA-7B · 1xA100-80GB · bf16 · 128 prompt tokens · 101 output tokens"


def test_engines_that_cannot_run_here_take_no_line_from_those_that_can(tmp_path: Path) -> None:
    rows = synthetic.sweep(
        framework=["hf", "vllm", "llama_cpp", "openvino", "pace"], dtype=["bf16", "fp32"], input_tokens=[128], output_tokens=[11]
    )
    cannot = {("openvino", "bf16"), ("pace", "bf16"), ("pace", "fp32")}
    rows = [{**row, "status": "unsupported"} if (row["framework"], row["dtype"]) in cannot else row for row in rows]
    found = [picture for name, picture in pictures(tmp_path, rows).items() if name.startswith("throughput")]
    assert [picture.chart.line for picture in found] == [("framework", "dtype")]


def test_every_measured_setting_is_drawn_at_its_place(tmp_path: Path) -> None:
    picture = pictures(tmp_path, synthetic.sweep())["latency-LLaMA-7B-hf-in128"]
    [ax] = picture.figure().axes
    drawn = {(x, y) for line in ax.lines for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True)}  # type: ignore[arg-type]
    assert drawn == set(zip(picture.frame["output_tokens"], picture.frame["latency_s"], strict=True))


def test_the_band_spans_the_interval_and_the_key_says_which_one_it_is(tmp_path: Path) -> None:
    picture = pictures(tmp_path, synthetic.sweep(batch_size=[1], repeats=9))["latency-LLaMA-7B-hf-in128"]
    figure = picture.figure()
    [band] = figure.axes[0].collections
    heights = {y for path in band.get_paths() for _, y in np.asarray(path.vertices)}
    assert heights == {*picture.frame["latency_s_low"], *picture.frame["latency_s_high"]}
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["measured: median of 9 repeats, band: 95 % interval"]


def crosses(ax: Axes) -> list[float]:
    """Where along x."""
    marks = [
        mark
        for mark in ax.collections
        if isinstance(mark, PathCollection) and not mark.get_offset_transform().contains_branch(ax.transData)
    ]
    return sorted(float(x) for mark in marks for x, _ in np.asarray(mark.get_offsets()))


def test_where_bars_are_horizontal_the_spread_of_throughput_takes_no_room(tmp_path: Path) -> None:
    rows = synthetic.sweep(input_tokens=[128], output_tokens=[101], repeats=7)
    burst = [
        {**row, "latencies_s": [value * factor for value, factor in zip(row["latencies_s"], (1, 1, 1, 1, 1, 1, 50), strict=True)]}
        for row in rows
    ]
    steady, disturbed = (
        next(picture for picture in drawable(tmp_path / name, found) if picture.name.startswith("throughput")).figure().axes[0].get_ylim()
        for name, found in (("steady", rows), ("burst", burst))
    )
    assert disturbed == pytest.approx(steady, rel=0.1)


def test_out_of_memory_stands_in_a_lane_over_the_data(tmp_path: Path) -> None:
    found = pictures(tmp_path, synthetic.sweep(most_tokens=900))
    [ax] = found["batch-LLaMA-7B-hf-in128"].figure().axes
    assert crosses(ax) == [4, 8, 8, 8]
    assert ax.get_xlim()[1] > 8
    lane = next(patch for patch in ax.patches if isinstance(patch, Rectangle))
    highest = max(y for line in ax.lines for y in np.asarray(line.get_ydata(), float))
    assert ax.transAxes.inverted().transform(ax.transData.transform((1, highest)))[1] < lane.get_y()
    [words] = found["throughput-LLaMA-7B-hf-in128"].figure().axes
    assert any(text.get_text() == "101 output tokens: batch 4, 8" for text in words.texts)


def test_frameworks_keep_their_colours_whoever_else_is_there() -> None:
    alone, together = style.unordered_styles(["pace"]), style.unordered_styles(["hf", "pace", None])
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
    found = drawable(tmp_path, rows)
    assert charts.save(found, tmp_path / "charts")
    assert len({picture.name for picture in found}) == len(found)


def test_a_rerun_writes_the_same_bytes(tmp_path: Path) -> None:
    found = drawable(tmp_path, synthetic.sweep(batch_size=[1, 4]))
    first, second = charts.save(found, tmp_path / "a"), charts.save(found, tmp_path / "b")
    assert [file.read_bytes() for file in first] == [file.read_bytes() for file in second]


def test_axes_carry_round_values_in_human_units() -> None:
    seconds = [format_seconds(tick) for tick in scales.round_values("seconds", 0.08, 12)]
    assert seconds == [
        "100 ms",
        "200 ms",
        "500 ms",
        "1 s",
        "2 s",
        "5 s",
        "10 s",
    ]
    assert scales.round_values("count", 0.01, 100) == [0.01, 0.1, 1.0, 10.0, 100.0]
    assert scales.uncrowded([1, 2, 3, 4, 5, 6, 7, 8, 512]) == [1, 2, 3, 5, 8, 512]


def test_labels_move_apart_but_no_further_than_needed() -> None:
    assert style.spread([10, 0, 11], 4).tolist() == [8.5, 0, 12.5]
    assert style.spread([5, 100], 4).tolist() == [5, 100]
    assert style.spread([], 4).tolist() == []


@pytest.mark.parametrize(("count", "in_key"), [(3, False), (9, True)])
def test_names_stand_at_their_lines_or_in_the_key_where_they_would_get_lost(tmp_path: Path, count: int, in_key: bool) -> None:
    machines = [f"machine {i}" for i in range(count)]
    settings = settings_of(tmp_path, synthetic.sweep(hardware=machines, output_tokens=[11])).assign(latency_s=1.0)
    figure = charts.own_picture(settings, "batch_size", "latency_s").figure()
    at_lines = [text.get_text() for text in figure.axes[0].texts]
    key = [text.get_text() for text in figure.legends[0].get_texts()]
    assert [name for name in key if name in machines] == (machines if in_key else [])
    assert at_lines == ([] if in_key else machines)


def test_a_key_of_many_long_names_makes_the_picture_higher_and_leaves_room_for_the_panels(tmp_path: Path) -> None:
    machines = [f"1x machine number {i} of the second rack on the left, with a GPU" for i in range(24)]
    settings = settings_of(tmp_path, synthetic.sweep(hardware=machines, framework=["hf", "pace"], output_tokens=[11]))
    picture = charts.own_picture(settings, "batch_size", "latency_s", facet=["framework"])
    picture.save(tmp_path)
    figure = picture.figure()
    figure.draw_without_rendering()
    assert len(figure.legends[0].get_texts()) == 25
    assert all(ax.get_window_extent().height > 1.0 * figure.dpi for ax in figure.axes)  # an inch
    assert figure.get_figheight() < 12
    assert figure.axes[0].get_window_extent().y1 < figure.legends[0].get_window_extent().y0


@pytest.mark.parametrize(("x", "facet"), [("batch_size", []), ("hardware", []), ("batch_size", ["hardware"]), ("latency_s", ["hardware"])])
def test_long_texts_stay_inside_the_picture_and_off_each_other(tmp_path: Path, x: str, facet: list[str]) -> None:
    machines = [f"1x machine number {i} of the second rack on the left" for i in range(3)]
    settings = settings_of(tmp_path, synthetic.sweep(hardware=machines, model=["a model with a long name " * 6], output_tokens=[11]))
    settings["latency_s"] *= np.geomspace(1, 90, len(settings))
    figure = charts.own_picture(settings, x, "output_tok_s", facet=facet).figure()
    figure.draw_without_rendering()
    for text in figure.findobj(Text):
        assert not text.get_text() or figure.bbox.padded(1).fully_containsx(text.get_window_extent().x1), text.get_text()
    for ax in figure.axes:
        boxes = [label.get_window_extent() for label in ax.get_xticklabels() if label.get_text()]
        assert not any(one.overlaps(other) for one, other in itertools.pairwise(boxes))


def test_a_chart_over_the_status_shows_what_was_measured(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, synthetic.sweep(batch_size=[1, 2], output_tokens=[11]))
    [ax] = charts.own_picture(settings, "status", "latency_s").figure().axes
    assert [label.get_text() for label in ax.get_xticklabels()] == ["status ok"]


def test_a_name_with_dollars_is_no_formula(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, synthetic.sweep(model=["$x_1$ & $y$"], output_tokens=[11]))
    [svg] = [file for file in charts.own_picture(settings, "batch_size", "latency_s").save(tmp_path) if file.suffix == ".svg"]
    assert "$x_1$ &amp; $y$" in svg.read_text()


def test_panels_stand_for_two_columns_and_missing_ones_stay_empty(tmp_path: Path) -> None:
    rows = synthetic.sweep(model=["MPT-7B", "LLaMA-7B"], hardware=["1xA100", "EPYC"], framework=["hf", "pace"], most_tokens=900)
    rows = [row for row in rows if (row["model"], row["hardware"]) != ("MPT-7B", "EPYC")]
    figure = pictures(tmp_path, rows)["panels-in128-out101"].figure()
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["1xA100", "EPYC", "", ""]
    drawn = [len([line for line in ax.lines if line.get_marker() != "None"]) for ax in figure.axes]
    assert drawn == [2, 2, 2, 0]
    assert [crosses(ax) for ax in figure.axes] == [[4, 4, 8, 8]] * 3 + [[]]
    assert len({(ax.get_xlim(), ax.get_ylim()) for ax in figure.axes}) == 1


def test_a_heat_map_labels_every_cell_and_frames_the_best(tmp_path: Path) -> None:
    rows = synthetic.sweep(input_tokens=[32, 64, 128], output_tokens=[11], batch_size=[1, 2, 4], most_tokens=400)
    picture = pictures(tmp_path, rows)["heatmap-LLaMA-7B-hf-out11"]
    cells = [text.get_text() for text in picture.figure().axes[0].texts]
    assert len(cells) == 9
    assert cells.count("OOM") == (picture.frame["status"] == "oom").sum() == 1


@pytest.mark.parametrize(
    ("column", "caption", "ticks"),
    [
        ("itl_p99_s", "Time between tokens, 99th percentile, log scale", ["20 ms", "50 ms"]),
        ("peak_host_bytes", "Peak host memory, log scale", ["512 MiB", "1 GiB", "2 GiB", "4 GiB"]),
        ("spent_s", "Time inside warm-ups and repeats, log scale", ["1 s", "10 s", "2 min"]),
        ("prefill_mfu", "Prefill: share of the measured FLOP/s (MFU)", ["0%", "20%", "40%", "60%", "80%"]),
        ("energy_j", "Energy of a generation, log scale", ["100 J", "200 J", "500 J", "1 kJ"]),
        ("mystery_s", "Mystery s, log scale", ["1 s", "10 s", "2 min"]),
        ("threads", "CPU threads", ["4", "8"]),
    ],
)
def test_how_a_column_is_shown_follows_from_its_suffix(tmp_path: Path, column: str, caption: str, ticks: list[str]) -> None:
    settings = settings_of(tmp_path, synthetic.sweep(output_tokens=[11], batch_size=[1, 2, 4, 8]))
    low, high = {"itl_p99_s": (0.0154615625, 0.06), "peak_host_bytes": (2**29, 5e9), "prefill_mfu": (0.1, 0.9), "threads": (4, 8)}.get(
        column, (80, 1100) if column == "energy_j" else (0.9, 300)
    )
    values = np.geomspace(low, high, 4) if column != "threads" else [4, 4, 8, 8]
    picture = charts.own_picture(settings.assign(**{column: values}), "batch_size", column)
    figure = picture.figure()
    [ax] = figure.axes
    assert caption in [text.get_text() for text in figure.texts]
    low, high = ax.get_ylim()
    assert [ax.yaxis.get_major_formatter()(tick) for tick in ax.get_yticks() if low <= tick <= high] == ticks


def test_a_panel_per_value_holds_its_own_lines(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, synthetic.sweep(framework=["hf", "pace"], batch_size=[1, 2, 4]))
    axes = charts.own_picture(settings, "framework", "output_tok_s", line=["batch_size"], facet=["output_tokens"]).figure().axes
    assert [ax.get_title(loc="left") for ax in axes] == ["1 output token", "11 output tokens", "101 output tokens"]
    for ax, (_, frame) in zip(axes, settings.groupby("output_tokens"), strict=True):
        assert {y for line in ax.lines for y in np.asarray(line.get_ydata())} == set(frame["output_tok_s"])


@pytest.mark.parametrize(
    ("question", "message"),
    [
        ({"x": "batchsize", "y": "latency_s"}, "did you mean 'batch_size'"),
        ({"x": "batch_size", "y": "latency_s", "line": ("framework",)}, "say --line framework output_tokens"),
        ({"x": "batch_size", "y": "latency_s", "where": "batch_size > 99"}, "leaves no result"),
        ({"x": "batch_size", "y": "latency_s", "where": "batch_size >"}, "write it like"),
        ({"x": "batch_size", "y": "status"}, "does not hold numbers"),
        ({"x": "noise", "y": "latency_s"}, "holds a list"),
        ({"x": "batch_size", "y": "latency_s", "facet": ("framework", "output_tokens", "model")}, "one column, or two"),
        (
            {"x": "batch_size", "y": "latency_s", "facet": ["energy_j"]},
            "has no value in 24 of 24 results, which no panel would show; name another",
        ),
    ],
)
def test_a_question_that_cannot_be_drawn_says_what_to_change(tmp_path: Path, question: dict[str, Any], message: str) -> None:
    settings = settings_of(tmp_path, synthetic.sweep(framework=["hf", "pace"]))
    with pytest.raises(BenchError, match=message):
        charts.own_picture(settings, **question)


def test_a_setting_that_is_a_number_here_and_a_word_there_gets_its_lines(tmp_path: Path) -> None:
    rows = synthetic.sweep(dtype=["bf16", "fp16"], output_tokens=[11])
    for row in rows:
        config = json.loads(str(row["config"]))
        config["framework"]["chunk"] = 512 if row["dtype"] == "bf16" else "auto"
        row["config"], row["dtype"] = json.dumps(config), "bf16"
    figure = charts.own_picture(settings_of(tmp_path, rows), "batch_size", "latency_s", line=["framework.chunk"]).figure()
    told = " ".join(text.get_text() for text in figure.axes[0].texts)
    assert "512" in told
    assert "auto" in told


def test_results_that_stand_in_no_panel_are_not_left_out_in_silence(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, synthetic.sweep(framework=["hf", "pace"], output_tokens=[11])).assign(
        cache=pd.Series(["static", None] * 4, dtype=object)
    )
    with pytest.raises(BenchError, match=r"has no value in 4 of 8 results, .* choose the others with --where \"`cache`.notna\(\)\""):
        charts.own_picture(settings, "batch_size", "latency_s", facet=["cache"])
    assert charts.own_picture(settings, "batch_size", "latency_s", facet=["cache"], where="`cache`.notna()").figure().axes


def test_more_lines_than_anybody_can_tell_apart_are_refused(tmp_path: Path) -> None:
    machines = [f"machine {i}" for i in range(60)]
    settings = settings_of(tmp_path, synthetic.sweep(framework=["hf", "pace"], hardware=machines, output_tokens=[11], batch_size=[1, 2]))
    with pytest.raises(BenchError, match="gives 120 lines, more than anybody can tell apart; choose some of them with --where"):
        charts.own_picture(settings, "batch_size", "latency_s")


def test_frameworks_side_by_side_under_the_names_of_amds_benchmark(tmp_path: Path) -> None:
    rows = synthetic.sweep(framework=["hf", "pace"], output_tokens=[11], batch_size=[1, 4])
    steps = [0.1 + 0.02 * i for i in range(11)]
    samples = [{"t_s": float(i), "cpu_percent": 90.0, "ram_bytes": 10**9 + i} for i in range(3)]
    rows = [{**row, "token_times_s": [steps, steps], "system": samples} for row in rows]
    jobs = read_jobs([synthetic.write(tmp_path, rows)], pace.HEAVY_COLUMNS)
    names = {file.stem for file in pace.save(jobs, tmp_path / "compare")}
    assert names == {*pace.BARS, *pace.LINES}
    gaps = {"mine": replace(pace.LINES["time_per_tokens"], title="Gaps")}
    assert [file.stem for file in pace.create_comparison_line_graph(jobs, tmp_path / "own", gaps)] == ["mine", "mine"]
    mine = {"mine": pace.Metric("once per model", lambda job: job["batch_size"] * 1.0, title="Loading")}
    assert [file.stem for file in pace.create_comparison_bar_graph(jobs, tmp_path / "own", mine)] == ["mine", "mine"]


def test_frameworks_are_compared_where_most_of_them_arrived(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = synthetic.sweep(framework=["hf", "pace"], output_tokens=[11], batch_size=[1, 4])
    rows = [{**row, "token_times_s": [[0.1 * i for i in range(1, 12)]]} for row in rows]
    rows[1] |= {"status": "oom", "token_times_s": None, "latencies_s": None}  # hf at batch 4
    jobs = read_jobs([synthetic.write(tmp_path, rows)], pace.HEAVY_COLUMNS)
    drawn: list[Figure] = []
    monkeypatch.setattr(style, "save", lambda figure, stem: drawn.append(figure) or [stem])  # type: ignore[func-returns-value]
    pace.create_comparison_line_graph(jobs, tmp_path / "own")
    assert [{text.get_text() for text in figure.axes[0].texts} for figure in drawn] == [{"hf", "pace"}]


def test_per_token_metrics_keep_amds_definitions(tmp_path: Path) -> None:
    jobs = read_jobs([synthetic.write(tmp_path, synthetic.sweep(batch_size=[4], output_tokens=[11]))])
    values = {name: metric.value(jobs.iloc[0]) for name, metric in pace.BARS.items()}
    assert values["average_latency_per_token"] == pytest.approx(1 / values["total_tps"])
    assert values["output_tps"] == pytest.approx(4 * 11 / values["average_gen_time"])


def test_a_long_key_is_not_tried_in_every_number_of_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[Any] = []
    legend = Figure.legend

    def counted(*given: Any, **named: Any) -> Any:
        tries.append(named)
        return legend(*given, **named)

    monkeypatch.setattr(Figure, "legend", counted)
    with style.house_style():
        figure = style.new_figure(6.4, 5.0)
        style.put_texts(figure, "title", "", "", style.swatches({f"a setting with a long name, {i}": "black" for i in range(60)}))
    assert len(tries) <= 30
