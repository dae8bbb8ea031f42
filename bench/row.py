"""What a row is: its columns with their types and meanings, in one versioned schema. How rows are kept is told in results.py."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pyarrow as pa

from bench.status import Status

SCHEMA_VERSION = 1

_DISTURBANCE = pa.struct(
    [
        *((name, pa.float64()) for name in ("seconds", "other_cpu_s", "stolen_s", "limited_s")),
        *((name, pa.int64()) for name in ("switches", "heat_events", "cpus", "needed_cpus", "gpu_others")),
        *((name, pa.float64()) for name in ("clock_mhz", "celsius", "gpu_clock_mhz", "gpu_celsius", "energy_j", "load")),
        ("gpu_throttles", pa.list_(pa.string())),
    ]
)
_SAMPLE = pa.struct(
    [
        *(("t_s", pa.float64()), ("cpu_percent", pa.float64()), ("ram_bytes", pa.int64())),
        *(("gpu_percent", pa.float64()), ("gpu_memory_bytes", pa.int64())),
        *(("gpu_power_w", pa.float64()), ("gpu_clock_mhz", pa.float64())),
    ]
)

_WINDOW = pa.struct(
    [
        *(("turn", pa.int32()), ("prompt_tokens", pa.int32()), ("context_tokens", pa.float64())),
        *(("arrived_s", pa.list_(pa.float64())), ("total_s", pa.float64())),
    ]
)

# name, type, meaning; docs and charts read the meanings from here.
COLUMNS: tuple[tuple[str, pa.DataType, str], ...] = (
    ("schema_version", pa.int32(), "version of this schema"),
    ("bench_version", pa.string(), "version of this program"),
    ("name", pa.string(), "the sweep's name"),
    ("point_id", pa.string(), "hash of what was measured"),
    ("config_id", pa.string(), "hash of what was measured and how (repeats, warm-ups, token times)"),
    ("round", pa.int32(), "pass over the grid, from 0"),
    ("started_at", pa.timestamp("us", tz="UTC"), "when the job started"),
    ("status", pa.string(), " · ".join(Status)),
    ("error", pa.string(), "the message, where status is not ok"),
    ("source", pa.string(), "where the times come from: measured (null in older rows), or sampled, from windows of steps"),
    ("model", pa.string(), "as configured"),
    ("model_family", pa.string(), "transformers model_type"),
    ("n_params", pa.int64(), "parameters, counted in the loaded model"),
    ("dtype", pa.string(), "of weights, activations and KV cache"),
    ("weights", pa.string(), "random or pretrained"),
    ("framework", pa.string(), "as configured"),
    ("framework_version", pa.string(), ""),
    ("framework_args", pa.string(), "JSON: its settings, and what it really used"),
    ("tp", pa.int32(), "tensor-parallel ranks"),
    ("hardware", pa.string(), "the hardware's name as people write it"),
    ("device", pa.string(), "cpu, or the GPU's name"),
    ("n_devices", pa.int32(), "devices used"),
    ("gpu_uuids", pa.list_(pa.string()), "of the GPUs used, rank by rank"),
    ("batch_size", pa.int32(), "sequences generated at once"),
    ("input_tokens", pa.int32(), "length of every prompt"),
    ("output_tokens", pa.int32(), "generated per sequence"),
    ("num_beams", pa.int32(), "1: no beam search"),
    ("do_sample", pa.bool_(), ""),
    ("seed", pa.int64(), ""),
    ("data", pa.string(), "source of the prompts"),
    ("latencies_s", pa.list_(pa.float64()), "each repeat's wall time of the whole batch's generation"),
    ("latency_s", pa.float64(), "their median"),
    ("latency_low_s", pa.float64(), "lower end of a 95 % interval for the median; null under six repeats"),
    ("latency_high_s", pa.float64(), "upper end of it"),
    ("token_times_s", pa.list_(pa.list_(pa.float64())), "per repeat: when each step's tokens were on the host, from the request"),
    ("ttft_s", pa.float64(), "median time to first token"),
    ("tpot_s", pa.float64(), "median over repeats of (last - first) / (output_tokens - 1)"),
    ("itl_p50_s", pa.float64(), "inter-token latency: median gap between two steps, over all repeats"),
    ("itl_p90_s", pa.float64(), "90 % of the gaps are shorter"),
    ("itl_p99_s", pa.float64(), "99 % of the gaps are shorter"),
    (
        "windows",
        pa.list_(_WINDOW),
        "of a sampled row: per turn and prompt length, when each step's tokens were on the host, and the context of the steps that count",
    ),
    ("saved_s", pa.float64(), "of a sampled row: what its repeats would have taken, less its share of the windows"),
    (
        "marks",
        pa.list_(pa.string()),
        "what limits the trust: few or short repeats, lopsided experts, a draft for random weights, windows that failed",
    ),
    ("output_tok_s", pa.float64(), "batch_size × output_tokens / latency_s"),
    ("total_tok_s", pa.float64(), "batch_size × (input_tokens + output_tokens) / latency_s"),
    ("prefill_mfu", pa.float64(), "prefill FLOPs / ttft_s / ceiling_flops_per_s"),
    ("decode_mbu", pa.float64(), "bytes that a decoding step must bring from memory / tpot_s / ceiling_bytes_per_s"),
    ("ceiling_flops_per_s", pa.float64(), "best rate of matrix products in this dtype, measured on the devices used"),
    ("ceiling_bytes_per_s", pa.float64(), "best memory bandwidth measured on the devices used"),
    ("floor_s", pa.float64(), "least latency_s that the ceilings allow"),
    ("suspect", pa.list_(pa.string()), "why this row may be a measuring error: faster than its hardware"),
    ("busiest_expert", pa.float64(), "part of a layer's work that the busiest of its experts got, mean of the layers"),
    ("limits_unknown", pa.string(), "why prefill_mfu, decode_mbu and floor_s are null although the model ran"),
    ("predicted_bytes", pa.int64(), "memory that the model's shape needs at least, engine not counted"),
    ("peak_device_bytes", pa.int64(), "of this job, allocated by torch on the fullest GPU"),
    ("peak_allocated_bytes", pa.list_(pa.int64()), "the same of each rank's GPU"),
    ("peak_reserved_bytes", pa.list_(pa.int64()), "what torch's allocator held for it on each: with what is lost to fragments"),
    ("peak_host_bytes", pa.int64(), "of this job, resident memory of the worker"),
    ("energy_j", pa.float64(), "mean of a repeat, of GPUs and CPU packages where they tell"),
    ("tokens_digest", pa.string(), "hash of the first repeat's tokens: do two frameworks agree?"),
    ("noisy", pa.bool_(), "whether something disturbed the repeats"),
    ("noise", pa.list_(pa.string()), "by what"),
    ("disturbance", pa.list_(_DISTURBANCE), "per repeat: other processes' CPU time, stolen time, clocks, temperatures, throttling"),
    ("system", pa.list_(_SAMPLE), "the host during the repeats, when measure.system_metrics is on"),
    ("load_s", pa.float64(), "time to load the model that this job used"),
    ("spent_s", pa.float64(), "time inside warm-ups and repeats"),
    ("host", pa.string(), "host name"),
    ("cpu", pa.string(), ""),
    ("gpu", pa.string(), ""),
    ("driver", pa.string(), "of the GPU"),
    ("torch", pa.string(), "version"),
    ("transformers", pa.string(), "version"),
    ("python", pa.string(), "version"),
    ("git_sha", pa.string(), "commit of this program, + where it was changed"),
    ("threads", pa.int32(), "CPU threads of the engine"),
    ("environment_id", pa.string(), "hash of hardware and versions of the engine's packages: a job is done only where it is the same"),
    ("environment", pa.string(), "JSON: the host, versions of the engine's packages, variables that change timings"),
    ("command", pa.string(), "what was typed"),
    ("config", pa.string(), "JSON: the whole resolved config; the job can be rerun from it"),
)
SCHEMA = pa.schema([pa.field(name, kind) for name, kind, _ in COLUMNS])
Row = dict[str, Any]

# What tells one row from all others.
IDENTITY = ("started_at", "point_id", "config_id", "round", "host")


def schema_of(columns: Iterable[str]) -> pa.Schema:
    """The columns of these names, each once."""
    return pa.schema([SCHEMA.field(name) for name in dict.fromkeys(columns)])
