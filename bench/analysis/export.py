"""Results for other programs: rows as CSV or JSON lines, and the metrics and lines of AMD PACE's and llm-foundry's benchmarks."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bench.analysis import pace, terminal
from bench.analysis.draw import line_names
from bench.analysis.settings import KEY, pool_rounds, read_jobs, telling_apart
from bench.cells import JSON_COLUMNS, json_object, json_value
from bench.errors import NothingMeasured
from bench.results import COLUMNS, Row, Status, Store

_Metric = tuple[str, Callable[[pd.Series], Any]]
_FOUNDRY_HEADER = "name, latency (s), throughput (tokens/s), latency_per_sequence_output_token (ms)"


def as_csv(folder: Path) -> str:
    """A line per row with every column; lists as JSON, null as nothing."""
    page = io.StringIO()
    writer = csv.writer(page, lineterminator="\n")
    names = [name for name, _, _ in COLUMNS]
    writer.writerow(names)
    writer.writerows([_cell(row[name]) for name in names] for row in Store(folder).table().to_pylist())
    return page.getvalue()


def as_json_lines(folder: Path) -> str:
    """An object per row; columns that hold JSON become objects, too."""
    rows = Store(folder).table().to_pylist()
    return "".join(f"{json.dumps(_opened(row), default=datetime.isoformat, ensure_ascii=False)}\n" for row in rows)


def as_markdown(folder: Path) -> str:
    jobs = read_jobs([folder])
    return terminal.markdown(jobs, pool_rounds(jobs))


def as_pace_json(folder: Path) -> str:
    """AMD PACE's results: what all jobs have in common, then a result per job, and what each metric means."""
    results = [_pace_result(job) for _, job in _measured(folder, pace.HEAVY_COLUMNS).iterrows()]
    own = [key for key, value in results[0].items() if any(result[key] != value for result in results)]
    own = list(dict.fromkeys(["framework", *own, "metrics", "system_metrics"]))
    page = {
        **{key: value for key, value in results[0].items() if key not in own},
        "benchmark_results": [{key: result[key] for key in own} for result in results],
        "definitions": {name: definition for name, (definition, _) in (_METRICS | _SYSTEM_METRICS).items()},
    }
    return json.dumps(page, indent=4, ensure_ascii=False) + "\n"


def as_llm_foundry(folder: Path) -> str:
    """What llm-foundry's benchmark.py prints. Its latency is the mean of the repeats; several series are told apart in the name."""
    jobs = _measured(folder)
    series = jobs.assign(series=line_names(jobs, telling_apart(jobs)))
    lines = [_FOUNDRY_HEADER, "=" * 75]
    for _, setting in series.groupby(KEY, sort=False, dropna=False):
        job, mean_s = setting.iloc[0], float(np.concatenate(setting["latencies_s"].to_list()).mean())
        parts = [job["name"], *job["series"].split(" · "), *job[["batch_size", "input_tokens", "output_tokens"]]]
        name = "_".join(str(part) for part in parts if part != "")
        rate = job["batch_size"] * job["output_tokens"] / mean_s
        lines.append(f"{name}, {mean_s:.3f}, {rate:.3f}, {mean_s * 1000 / job['output_tokens']:.3f}")
    return "\n".join(lines) + "\n"


WRITERS: Mapping[str, Callable[[Path], str]] = {
    "csv": as_csv,
    "jsonl": as_json_lines,
    "markdown": as_markdown,
    "pace-json": as_pace_json,
    "llm-foundry": as_llm_foundry,
}


def _measured(folder: Path, extra_columns: tuple[str, ...] = ()) -> pd.DataFrame:
    jobs = read_jobs([folder], extra_columns)
    ok = jobs[jobs["status"] == Status.ok]
    if ok.empty:
        raise NothingMeasured(folder)
    return ok


def _cell(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, list) else value.isoformat() if isinstance(value, datetime) else value


def _opened(row: Row) -> Row:
    return {key: json_object(value) if key in JSON_COLUMNS and value else value for key, value in row.items()}


def _pace_result(job: pd.Series) -> dict[str, Any]:
    return {
        "framework": job["framework"],
        "model_name": job["model"],
        "dtype": job["dtype"],
        "llm_operators": json_value(job["config"], "framework", "llm_operators"),
        "kv_cache_type": json_value(job["config"], "framework", "kv_cache_type"),
        "generation_args": {
            **{key: _whole(job[key]) for key in ("input_tokens", "output_tokens", "batch_size", "num_beams")},
            "do_sample": bool(job["do_sample"]),
            "manual_seed": _whole(job["seed"]),
        },
        "num_runs": len(job["latencies_s"]),
        "warmup_runs": json_value(job["config"], "warmup_runs"),
        "metrics": {name: value(job) for name, (_, value) in _METRICS.items()},
        "system_metrics": {name: value(job) for name, (_, value) in _SYSTEM_METRICS.items()}
        if pace.LINES["cpu_usage"].is_in(job)
        else None,
    }


def _whole(value: Any) -> int | None:
    return None if pd.isna(value) else int(value)


def _tokens(*lengths: str) -> Callable[[pd.Series], int]:
    return lambda job: int(job["batch_size"] * job[list(lengths)].sum()) * len(job["latencies_s"])


def _average(name: str) -> _Metric:
    bar, unit = pace.BARS[name], "s" if name.startswith("average") else "tokens/s"

    def value(job: pd.Series) -> float | None:
        [found] = bar.value(pd.DataFrame([job]))
        return None if pd.isna(found) else float(found)

    return f"{unit}; {bar.definition}", value


def _series(name: str, unit: str) -> _Metric:
    line = pace.LINES[name]
    return f"{unit}; {line.definition}", lambda job: line.points(job)[1].tolist() if line.is_in(job) else None


# What each metric means, and its value. What pace.py draws has its definition there.
_METRICS: dict[str, _Metric] = {
    "total_tokens": ("batch × (prompt + output tokens), of all repeats together", _tokens("input_tokens", "output_tokens")),
    "total_gen_tokens": ("batch × output tokens, of all repeats together", _tokens("output_tokens")),
    **{name: _average(name) for name in pace.BARS},
    "generation_times": ("s; each repeat, whole batch", lambda job: list(map(float, job["latencies_s"]))),
    "time_per_tokens": _series("time_per_tokens", "s per output token"),
    "mean_accepted_tokens": (
        "tokens of the draft that the model accepted per step, in the last repeat",
        lambda job: json_value(job["framework_args"], "used", "accepted_tokens"),
    ),
}
_SYSTEM_METRICS: dict[str, _Metric] = {
    "interval": ("s; between two samples of the host", lambda job: json_value(job["config"], "measure", "interval_s")),
    "cpu_usage": _series("cpu_usage", "percent of all CPUs"),
    "ram_usage": _series("ram_usage", "MB of 2^20 bytes"),
    "peak_ram_usage": ("MB; the largest ram_usage", lambda job: float(pace.LINES["ram_usage"].points(job)[1].max())),
}
