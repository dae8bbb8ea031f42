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
from bench.analysis.settings import pool_rounds, read_jobs, telling_apart
from bench.errors import NothingMeasured
from bench.results import COLUMNS, Row, Status, Store

_JSON_COLUMNS = ("framework_args", "environment", "config")
_FOUNDRY_HEADER = "name, latency (s), throughput (tokens/s), latency_per_sequence_output_token (ms)"

# What pace.py draws has its definition there.
_DEFINITIONS = {
    "total_tokens": "batch × (prompt + output tokens), of all repeats together",
    "total_gen_tokens": "batch × output tokens, of all repeats together",
    **{name: f"s; {bar.definition}" if name.startswith("average") else f"tokens/s; {bar.definition}" for name, bar in pace.BARS.items()},
    "generation_times": "s; each repeat, whole batch",
    "time_per_tokens": f"s per output token; {pace.LINES['time_per_tokens'].definition}",
    "mean_accepted_tokens": "tokens of the draft that the model accepted per step, in the last repeat",
    "interval": "s; between two samples of the host",
    "cpu_usage": f"percent of all CPUs; {pace.LINES['cpu_usage'].definition}",
    "ram_usage": f"MB of 2^20 bytes; {pace.LINES['ram_usage'].definition}",
    "peak_ram_usage": "MB; the largest ram_usage",
}


def as_csv(folder: Path) -> str:
    """A line per row with every column; lists as JSON, null as nothing."""
    page = io.StringIO()
    writer = csv.writer(page, lineterminator="\n")
    names = [name for name, _, _ in COLUMNS]
    writer.writerow(names)
    writer.writerows([_cell(row[name]) for name in names] for row in _rows(folder))
    return page.getvalue()


def as_json_lines(folder: Path) -> str:
    """An object per row; columns that hold JSON become objects, too."""
    return "".join(f"{json.dumps(_opened(row), default=datetime.isoformat, ensure_ascii=False)}\n" for row in _rows(folder))


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
        "definitions": _DEFINITIONS,
    }
    return json.dumps(page, indent=4, ensure_ascii=False) + "\n"


def as_llm_foundry(folder: Path) -> str:
    """What llm-foundry's benchmark.py prints. Its latency is the mean of the repeats; several series are told apart in the name."""
    jobs = _measured(folder)
    series = jobs.assign(series=line_names(jobs, telling_apart(jobs)))
    lines = [_FOUNDRY_HEADER, "=" * 75]
    for (_, _), setting in series.groupby(["point_id", "environment_id"], sort=False, dropna=False):
        job, mean_s = setting.iloc[0], float(np.mean(np.concatenate(setting["latencies_s"].to_list())))
        name = "_".join(
            str(part)
            for part in (job["name"], job["series"].replace(" · ", "_"), *job[["batch_size", "input_tokens", "output_tokens"]])
            if part != ""
        )
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


def _rows(folder: Path) -> list[Row]:
    return list(Store(folder).table().to_pylist())


def _measured(folder: Path, extra_columns: tuple[str, ...] = ()) -> pd.DataFrame:
    jobs = read_jobs([folder], extra_columns)
    ok = jobs[jobs["status"] == Status.ok]
    if ok.empty:
        raise NothingMeasured(folder)
    return ok


def _cell(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, list) else value.isoformat() if isinstance(value, datetime) else value


def _opened(row: Row) -> Row:
    return {key: json.loads(value) if key in _JSON_COLUMNS and value else value for key, value in row.items()}


def _pace_result(job: pd.Series) -> dict[str, Any]:
    config = json.loads(job["config"])
    framework = config["framework"]
    return {
        "framework": job["framework"],
        "model_name": job["model"],
        "dtype": job["dtype"],
        "llm_operators": framework.get("llm_operators"),
        "kv_cache_type": framework.get("kv_cache_type"),
        "generation_args": {
            **{key: int(job[key]) for key in ("input_tokens", "output_tokens", "batch_size", "num_beams")},
            "do_sample": bool(job["do_sample"]),
            "manual_seed": int(job["seed"]),
        },
        "num_runs": len(job["latencies_s"]),
        "warmup_runs": config.get("warmup_runs"),
        "metrics": _pace_metrics(job),
        "system_metrics": _pace_system(job, config),
    }


def _pace_metrics(job: pd.Series) -> dict[str, Any]:
    averages = {name: _number(bar.value(pd.DataFrame([job])).iloc[0]) for name, bar in pace.BARS.items()}
    times, repeats = job["token_times_s"], len(job["latencies_s"])
    per_token = pace.LINES["time_per_tokens"].points(job)[1].tolist() if times is not None and len(times) else None
    return {
        "total_tokens": int(job["batch_size"] * (job["input_tokens"] + job["output_tokens"])) * repeats,
        "total_gen_tokens": int(job["batch_size"] * job["output_tokens"]) * repeats,
        **averages,
        "generation_times": [float(latency_s) for latency_s in job["latencies_s"]],
        "time_per_tokens": per_token,
        "mean_accepted_tokens": json.loads(job["framework_args"]).get("used", {}).get("accepted_tokens"),
    }


def _pace_system(job: pd.Series, config: Mapping[str, Any]) -> dict[str, Any] | None:
    if job["system"] is None or not len(job["system"]):
        return None
    cpu, ram = (pace.LINES[name].points(job)[1] for name in ("cpu_usage", "ram_usage"))
    used = ram.tolist()
    return {"interval": config["measure"]["interval_s"], "cpu_usage": cpu.tolist(), "ram_usage": used, "peak_ram_usage": max(used)}


def _number(value: Any) -> float | None:
    return None if pd.isna(value) else float(value)
