"""Rows of sweeps that nobody ran, for the tests of tables, charts and pages: a plausible machine with a memory limit."""

from __future__ import annotations

import hashlib
import itertools
import random
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from bench.identity import canonical_json
from bench.row import SCHEMA, Row

STARTED_AT = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
_SPEED = {"hf": 1.0, "deepspeed_tp": 0.8, "pace": 0.6}
_GRID: dict[str, Sequence[Any]] = {
    "model": ["LLaMA-7B"],
    "framework": ["hf"],
    "hardware": ["1xA100-80GB"],
    "input_tokens": [128],
    "output_tokens": [1, 11, 101],
    "batch_size": [1, 2, 4, 8],
}


def sweep(most_tokens: float = float("inf"), repeats: int = 5, name: str = "made-up", **grid: Sequence[Any]) -> list[Row]:
    """A row per combination; a batch with more than `most_tokens` prompt and output tokens runs out of memory."""
    axes = {**_GRID, **grid}
    points = [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]
    return [row(number, point, most_tokens, repeats, name) for number, point in enumerate(points)]


def row(number: int, point: Mapping[str, Any], most_tokens: float = float("inf"), repeats: int = 5, name: str = "made-up") -> Row:
    settings = {"tp": 1, "dtype": "bf16", "num_beams": 1, "do_sample": False, "seed": 0, "data": "random", "weights": "random", **point}
    identity = canonical_json(settings)
    result = _measured(point, repeats) if _tokens(point) <= most_tokens else {"status": "oom", "error": "CUDA out of memory"}
    return {
        "schema_version": 1,
        "name": name,
        "point_id": hashlib.sha256(identity.encode()).hexdigest()[:12],
        "round": 0,
        "started_at": STARTED_AT + timedelta(seconds=number),
        "environment_id": "here",
        "host": "host-1",
        "torch": "2.13.0",
        "transformers": "5.12.1",
        "framework_args": canonical_json({"used": {"attention": "sdpa"}} if result["status"] == "ok" else {}),
        "config": canonical_json(
            {"model": {"name": point["model"]}, "framework": {"name": point["framework"]}, "hardware": {"name": point["hardware"]}}
        ),
        **{key: value for key, value in settings.items() if key in SCHEMA.names},
        **result,
    }


def _measured(point: Mapping[str, Any], repeats: int) -> Row:
    rng = random.Random(repr(sorted(point.items())))
    step_s = 0.02 * _SPEED.get(point["framework"], 1.2) * (1 + point["batch_size"] / 32)
    prefill_s = 2e-4 * point["input_tokens"] * point["batch_size"] / 8
    latencies = sorted((prefill_s + step_s * point["output_tokens"]) * rng.uniform(1, 1.15) for _ in range(repeats))
    latency_s = latencies[repeats // 2]
    return {
        "status": "ok",
        "latencies_s": latencies,
        "latency_s": latency_s,
        "ttft_s": prefill_s + step_s,
        "tpot_s": step_s,
        "output_tok_s": point["batch_size"] * point["output_tokens"] / latency_s,
        "total_tok_s": _tokens(point) / latency_s,
        "n_devices": 1,
        "n_params": 6_738_415_616,
        "device": "NVIDIA A100",
        "noisy": False,
        "noise": [],
        "peak_host_bytes": 10**9,
    }


def _tokens(point: Mapping[str, Any]) -> int:
    return int(point["batch_size"] * (point["input_tokens"] + point["output_tokens"]))


def write(folder: Path, rows: Sequence[Row]) -> Path:
    """One compacted file, which readers take like a file per job."""
    (folder / "rows").mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(list(rows), SCHEMA), folder / "rows" / f"{rows[0]['name']}-{rows[0]['point_id']}.parquet")
    return folder
