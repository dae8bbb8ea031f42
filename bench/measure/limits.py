"""How far a measurement is from what the hardware allows, and why it may be a measuring error."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.config import RunConfig, Weights
from bench.host.ceilings import HostCeilings
from bench.measure.point import Measurement
from bench.roofline import ModelShape, decode_bytes, mean_context, prefill_flops, seconds_at

_MOST_UNEVEN = 2.0  # times its even share that the busiest expert may get before a row says so


def limits(
    run: RunConfig, seen: Measurement, latency_s: float, ttft_s: float | None, tpot_s: float | None, host: HostCeilings | None
) -> dict[str, Any]:
    """The columns that hold a measurement against its ceilings; None where a ceiling or a phase's time is not known."""
    if unknown := _why_unknown(run, seen.shape):
        return {"suspect": [], "limits_unknown": unknown}
    columns = _against_ceilings(run, seen, ttft_s, tpot_s, host)
    return {**columns, "suspect": _suspect(latency_s, columns)}


def _suspect(latency_s: float, columns: Mapping[str, float | None]) -> list[str]:
    """Reasons to take this for a measuring error: nothing is faster than its hardware."""
    remedy = "measure the ceilings again on a quiet host (python -m bench.hardware --fresh), or look for work that was skipped"
    floor_s = columns.get("floor_s") or 0.0
    reasons = [f"{name} of {share:.2f} is above 1" for name in ("prefill_mfu", "decode_mbu") if (share := columns.get(name) or 0.0) > 1]
    if latency_s < floor_s:
        reasons.insert(0, f"latency of {latency_s:.3g} s is below the {floor_s:.3g} s that the ceilings allow")
    return [f"{reason}; {remedy}" for reason in reasons]


def _why_unknown(run: RunConfig, shape: ModelShape | None) -> str | None:
    """Why no formula tells what this point needs; None where one does, and for an engine that pretends."""
    if run.framework.pretends:
        return None
    if not run.framework.reads_every_weight:
        return "with these settings a step need not read every weight in the model's dtype"
    if shape is None:
        return f"bench/roofline.py does not know the layers of this model ({run.model.family or run.model.name})"
    return shape.doubt


def _against_ceilings(
    run: RunConfig, seen: Measurement, ttft_s: float | None, tpot_s: float | None, host: HostCeilings | None
) -> dict[str, Any]:
    name = seen.engine.get("device")
    device = host.of(name) if host and not run.framework.pretends else None
    if device is None or seen.shape is None:
        return {}
    # Ranks on one CPU share its memory; each GPU has its own.
    count = 1 if name == "cpu" else int(seen.engine.get("n_devices") or 1)
    bytes_per_s = device.bytes_per_s * count
    flops_per_s = (device.flops_per_s.get(str(run.model.dtype)) or 0.0) * count or None
    cache_bytes = device.cache_bytes * count
    width = run.model.dtype.bytes
    prefill = prefill_flops(seen.shape, run.batch_size, run.input_tokens)
    sequences, context = run.batch_size * run.generation.num_beams, mean_context(run.input_tokens, run.output_tokens)
    # Of a mean decoding step: what its caches can keep from the step before is no traffic.
    step_bytes = max(0.0, decode_bytes(seen.shape, sequences, context, width) - cache_bytes)
    return {
        "ceiling_bytes_per_s": bytes_per_s,
        "ceiling_flops_per_s": flops_per_s,
        "floor_s": seconds_at(
            seen.shape, run.batch_size, run.input_tokens, run.output_tokens, width, flops_per_s or float("inf"), bytes_per_s, cache_bytes
        ),
        "prefill_mfu": prefill / ttft_s / flops_per_s if ttft_s and flops_per_s else None,
        "decode_mbu": step_bytes / tpot_s / bytes_per_s if tpot_s else None,
    }


def draft_marks(run: RunConfig) -> list[str]:
    """A remark where a draft guesses what random weights say: trained ones decide how many of its tokens are accepted."""
    if not run.framework.has_draft or run.model.weights is not Weights.random:
        return []
    return ["a draft for random weights: how many of its tokens are accepted, and so the speed, says nothing of trained ones"]


def routing_marks(seen: Measurement) -> list[str]:
    """A remark where a mixture of experts sends far more to one of them than the formulas, and trained models, do."""
    share = seen.engine.get("busiest_expert")
    if not share or seen.shape is None or seen.shape.experts is None or share * seen.shape.experts.count <= _MOST_UNEVEN:
        return []
    even = 1 / seen.shape.experts.count
    return [f"the busiest expert of a layer gets {share:.0%} of its work, where {even:.0%} would be even: trained weights may be slower"]
