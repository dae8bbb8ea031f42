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
from bench.results import Row, Status, Store
from bench.row import COLUMNS

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
        "definitions": {name: str(metric) for name, metric in (pace.METRICS | pace.SYSTEM_METRICS).items()},
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
    host = {name: metric.value(job) for name, metric in pace.SYSTEM_METRICS.items()}
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
        "metrics": {name: metric.value(job) for name, metric in pace.METRICS.items()},
        "system_metrics": None if host["cpu_usage"] is None else host,
    }


def _whole(value: Any) -> int | None:
    return None if pd.isna(value) else int(value)
