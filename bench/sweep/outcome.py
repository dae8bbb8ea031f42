"""What came of a job, and the row that tells it."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import cache
from itertools import pairwise
from statistics import fmean, median
from typing import Any

import numpy as np

from bench import __version__
from bench.config import RunConfig, Weights
from bench.frameworks import environments
from bench.host import machine
from bench.host.ceilings import HostCeilings
from bench.host.devices import devices_for
from bench.host.machine import COMMAND_VARIABLE, Machine
from bench.host.monitors import History
from bench.host.noise import noise
from bench.identity import canonical_json
from bench.intervals import median_interval
from bench.measure.limits import draft_marks, limits, routing_marks
from bench.measure.point import Measurement
from bench.measure.stats import marks
from bench.measure.windows import SampledTimes
from bench.row import SCHEMA_VERSION, Row
from bench.status import Status
from bench.sweep.plan import Job, predicted_bytes


@dataclass(frozen=True)
class Outcome:
    status: Status
    error: str | None = None
    measurement: Measurement | None = None


def host_of(run: RunConfig) -> Machine:
    """This host as the point's framework meets it: with the versions of its packages. Raises InvalidSetting."""
    return machine.describe(environments.python_of(run.framework), run.framework.packages)


def to_row(
    job: Job,
    outcome: Outcome,
    started_at: datetime,
    host: Machine,
    ceilings: HostCeilings | None = None,
    history: History | None = None,
) -> Row:
    """What is to be kept of a job; `ceilings` and `history`: what is known of the host beside the measurement."""
    run, seen = job.run, outcome.measurement
    return {
        "schema_version": SCHEMA_VERSION,
        "bench_version": __version__,
        "round": job.round,
        "started_at": started_at,
        "status": str(outcome.status),
        "error": outcome.error,
        **_asked(run),
        **(_seen(run, seen, ceilings) if seen else {}),
        "system": [vars(sample) for sample in history.samples] if history else None,
        **_provenance(host, tuple(sorted(run.hardware.env.items()))),
        **_engine(run, seen),
        "hardware": run.hardware.name or _hardware(run, seen, host),
    }


def _asked(run: RunConfig) -> Row:
    return {
        "name": run.name,
        "point_id": run.point_id,
        "config_id": run.config_id,
        "model": run.model.name,
        "model_family": run.model.family,
        "dtype": str(run.model.dtype),
        "weights": str(run.model.weights),
        "framework": run.framework.name,
        "tp": run.framework.ranks,
        "batch_size": None if run.is_search else run.batch_size,
        "predicted_bytes": predicted_bytes(run),
        "input_tokens": run.input_tokens,
        "output_tokens": run.output_tokens,
        "num_beams": run.generation.num_beams,
        "do_sample": run.generation.do_sample,
        "seed": run.seed,
        "data": run.data.path or str(run.data.source),
        "config": canonical_json(run.as_dict),
    }


def _seen(run: RunConfig, seen: Measurement, ceilings: HostCeilings | None) -> Row:
    latency_s = median(seen.latencies_s)
    token_times = _sampled(seen.sampled) if seen.sampled else _token_times(seen.token_times_s)
    low_s, high_s = median_interval(seen.latencies_s) or (None, None)
    tokens = run.batch_size * run.output_tokens
    return {
        "n_params": seen.shape.n_params if seen.shape else seen.engine.get("n_params"),
        "latencies_s": list(seen.latencies_s),
        "latency_s": latency_s,
        "latency_low_s": low_s,
        "latency_high_s": high_s,
        "source": "sampled" if seen.sampled else "measured",
        "marks": [*marks(seen.latencies_s), *routing_marks(seen), *draft_marks(run), *seen.remarks],
        "busiest_expert": seen.engine.get("busiest_expert"),
        "output_tok_s": tokens / latency_s,
        "total_tok_s": run.batch_size * run.total_tokens / latency_s,
        "peak_device_bytes": max((allocated for allocated, _ in seen.peak_device_bytes), default=None),
        "peak_allocated_bytes": [allocated for allocated, _ in seen.peak_device_bytes] or None,
        "peak_reserved_bytes": [reserved for _, reserved in seen.peak_device_bytes] or None,
        "gpu_uuids": list(seen.gpus) or None,
        "peak_host_bytes": seen.peak_host_bytes,
        "tokens_digest": seen.tokens_digest,
        "load_s": seen.load_s,
        "spent_s": seen.spent_s,
        **_noise(seen),
        **token_times,
        **limits(run, seen, latency_s, token_times.get("ttft_s"), token_times.get("tpot_s"), ceilings),
    }


def _noise(seen: Measurement) -> Row:
    reasons = noise(seen.around, seen.latencies_s)
    energies_j = [one.energy_j for one in seen.around if one.energy_j is not None]
    return {
        "noisy": bool(reasons),
        "noise": reasons,
        "disturbance": [vars(one) for one in seen.around],
        "energy_j": fmean(energies_j) if energies_j else None,
    }


def _sampled(times: SampledTimes) -> Row:
    return {
        "windows": [
            {"turn": turn, "context_tokens": window.context_tokens, **vars(window)}
            for turn, each in enumerate(times.passes)
            for window in each.windows
        ],
        "ttft_s": times.ttft_s,
        "tpot_s": times.tpot_s,
        "saved_s": times.saved_s,
    }


def _token_times(times: tuple[tuple[float, ...], ...] | None) -> Row:
    if not times:
        return {}
    first = {"token_times_s": [list(steps) for steps in times], "ttft_s": median([steps[0] for steps in times])}
    gaps = [later - earlier for steps in times for earlier, later in pairwise(steps)]
    if not gaps:
        return first
    return {
        **first,
        "tpot_s": median([(steps[-1] - steps[0]) / (len(steps) - 1) for steps in times]),
        **{f"itl_p{percent}_s": float(np.percentile(gaps, percent)) for percent in (50, 90, 99)},
    }


@cache  # the same for nearly every row of a process
def _provenance(host: Machine, env: tuple[tuple[str, str], ...]) -> Row:
    environment = {**asdict(host), "variables": {**machine.timing_environment(), **dict(env)}}
    return {
        "host": host.host,
        "cpu": host.cpu,
        "gpu": host.gpu,
        "driver": host.driver,
        "torch": host.packages.get("torch"),
        "transformers": host.packages.get("transformers"),
        "python": host.python,
        "command": os.environ.get(COMMAND_VARIABLE),
        "git_sha": machine.git_sha(),
        "environment_id": host.fingerprint,
        "environment": canonical_json(environment),
    }


def _engine(run: RunConfig, seen: Measurement | None) -> Row:
    """What the engine was told, and what it said of itself."""
    if seen is None:
        return {"framework_args": canonical_json(run.as_dict["framework"])}
    told: dict[str, Any] = dict(seen.engine)
    if seen.shape and seen.shape.experts and run.model.weights is Weights.random:
        told["router"] = "random weights: it sends tokens to all experts nearly alike, which a trained one does not"
    return {
        "framework_version": told.get("framework_version"),
        "framework_args": canonical_json({**run.as_dict["framework"], "used": told}),
        "device": told.get("device"),
        "n_devices": told.get("n_devices", 1),
        "threads": told.get("threads"),
    }


def _hardware(run: RunConfig, seen: Measurement | None, host: Machine) -> str:
    """As people write it: 1xNVIDIA H100, or the CPU with the number of cores that were to be had."""
    told = seen.engine if seen else {}
    device = told.get("device") or (host.gpu if devices_for(run).on_gpu(run) else "cpu")
    if device and device != "cpu":
        return f"{told.get('n_devices') or getattr(run.framework, 'tp', 1)}x{device}"
    return f"{host.cpu} ({host.cpus} CPUs)"
