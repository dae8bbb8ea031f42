"""Exports: every row and column, and the metrics that other benchmarks' users expect, by their definitions."""

from __future__ import annotations

import csv
import io
import json
from datetime import timedelta
from pathlib import Path

import pytest

from bench.analysis import export
from bench.convert import FORMATS
from bench.errors import NoRows, NothingMeasured
from bench.row import COLUMNS
from tests import synthetic

HOST = [{"t_s": 0.0, "cpu_percent": 10.0, "ram_bytes": 2**30}, {"t_s": 1.0, "cpu_percent": 90.0, "ram_bytes": 2**30 + 3 * 2**20}]


def measured(folder: Path, **grid: object) -> Path:
    """Two frameworks at one point, with times per token and samples of the host."""
    rows = synthetic.sweep(**{"framework": ["hf", "pace"], "batch_size": [4], "output_tokens": [3], "name": "old", **grid})  # type: ignore[arg-type]
    for row in rows:
        row["token_times_s"] = [[0.1, 0.3, 0.6], [0.1, 0.3, 0.6], [0.3, 0.5, 0.8]]
        row["latencies_s"] = [0.6, 0.6, 0.9]
        row["system"] = HOST
        row["config"] = json.dumps({**json.loads(row["config"]), "warmup_runs": 2, "measure": {"interval_s": 1.0}})
    return synthetic.write(folder, rows)


def test_every_offered_format_has_a_writer() -> None:
    assert set(FORMATS) == set(export.WRITERS)


def test_csv_has_every_row_and_column(tmp_path: Path) -> None:
    lines = list(csv.DictReader(io.StringIO(export.as_csv(measured(tmp_path)))))
    assert list(lines[0]) == [name for name, _, _ in COLUMNS]
    assert [line["framework"] for line in lines] == ["hf", "pace"]
    assert json.loads(lines[0]["latencies_s"]) == [0.6, 0.6, 0.9]
    assert (lines[0]["energy_j"], lines[0]["started_at"]) == ("", "2026-11-22T09:00:00+00:00")


def test_json_lines_open_the_columns_that_hold_json(tmp_path: Path) -> None:
    first, _ = (json.loads(line) for line in export.as_json_lines(measured(tmp_path)).splitlines())
    assert list(first) == [name for name, _, _ in COLUMNS]
    assert first["config"]["model"]["name"] == first["model"]
    assert first["token_times_s"][0] == [0.1, 0.3, 0.6]
    assert first["energy_j"] is None


def test_markdown_is_the_table_of_results(tmp_path: Path) -> None:
    assert "| framework | latency |" in export.as_markdown(measured(tmp_path))


def test_pace_metrics_have_their_names_values_and_definitions(tmp_path: Path) -> None:
    page = json.loads(export.as_pace_json(measured(tmp_path)))
    assert (page["model_name"], page["num_runs"], page["warmup_runs"], page["generation_args"]["batch_size"]) == ("LLaMA-7B", 3, 2, 4)
    assert [result["framework"] for result in page["benchmark_results"]] == ["hf", "pace"]
    metrics, host = (page["benchmark_results"][0][key] for key in ("metrics", "system_metrics"))
    assert metrics["average_gen_time"] == pytest.approx(0.7)
    assert metrics["total_tps"] == pytest.approx(4 * 131 / 0.7)
    assert metrics["average_latency_per_token"] == pytest.approx(1 / metrics["total_tps"])
    assert metrics["output_tps"] == pytest.approx(4 * 3 / 0.7)
    assert metrics["total_gen_tokens"] == 4 * 3 * 3
    assert metrics["time_per_tokens"] == pytest.approx([0.1, 0.2, 0.3])
    assert host == {"interval": 1.0, "cpu_usage": [10.0, 90.0], "ram_usage": [0.0, 3.0], "peak_ram_usage": 3.0}
    assert {*metrics, *host} == set(page["definitions"])


def test_what_was_not_recorded_is_null(tmp_path: Path) -> None:
    folder = synthetic.write(tmp_path, synthetic.sweep(batch_size=[1], output_tokens=[1]))
    [result] = json.loads(export.as_pace_json(folder))["benchmark_results"]
    assert result["system_metrics"] is None
    assert result["metrics"]["time_per_tokens"] is None


def test_llm_foundry_lines_are_means_under_the_names_of_its_script(tmp_path: Path) -> None:
    header, rule, line = export.as_llm_foundry(measured(tmp_path, framework=["hf"])).splitlines()
    assert header == "name, latency (s), throughput (tokens/s), latency_per_sequence_output_token (ms)"
    assert set(rule) == {"="}
    assert line == "old_4_128_3, 0.700, 17.143, 233.333"


def test_llm_foundry_lines_of_several_frameworks_can_be_told_apart(tmp_path: Path) -> None:
    lines = export.as_llm_foundry(measured(tmp_path)).splitlines()[2:]
    assert [line.partition(",")[0] for line in lines] == ["old_hf_4_128_3", "old_pace_4_128_3"]


def test_two_sweeps_in_one_folder_are_never_pooled(tmp_path: Path) -> None:
    [old] = synthetic.sweep(name="old", batch_size=[4], output_tokens=[11])
    new = {**old, "name": "new", "started_at": old["started_at"] + timedelta(hours=1)}
    lines = export.as_llm_foundry(synthetic.write(tmp_path, [old, new])).splitlines()[2:]
    assert [line.partition("_")[0] for line in lines] == ["old", "new"]


def test_a_row_whose_json_is_broken_is_exported_without_what_it_would_tell(tmp_path: Path) -> None:
    [row] = synthetic.sweep(batch_size=[1], output_tokens=[11])
    folder = synthetic.write(tmp_path, [{**row, "config": "{", "framework_args": None}])
    assert json.loads(export.as_json_lines(folder))["config"] == {}
    page = json.loads(export.as_pace_json(folder))
    assert page["warmup_runs"] is None
    assert page["benchmark_results"][0]["metrics"]["mean_accepted_tokens"] is None


def test_an_empty_folder_and_one_without_measurements_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(NoRows):
        export.as_csv(tmp_path)
    failed = synthetic.write(tmp_path, synthetic.sweep(most_tokens=0))
    assert "oom" in export.as_csv(failed)
    with pytest.raises(NothingMeasured):
        export.as_pace_json(failed)
