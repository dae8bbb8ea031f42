"""What tells points apart: hashes of their settings, without those that have no effect in a run.

Settings are plain here, as a row's config keeps them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from bench.groups import AUTO, Decode, PromptSource, Weights

Settings = Mapping[str, Any]


def loaded(settings: Settings) -> dict[str, Any]:
    """What decides what must be loaded."""
    model = settings["model"]
    of_hub = () if model["weights"] == Weights.pretrained or model["tokenizer"] else ("path", "trust_remote_code")
    return {
        **_pick(settings, "framework", "seed"),
        "model": without(model, *of_hub),
        "hardware": without(settings["hardware"], "name", "is_label", "ranks"),
    }


def measured(settings: Settings) -> dict[str, Any]:
    """What is measured. How often and where is not part of it."""
    generation, data = settings["generation"], settings["data"]
    of_sampling = () if generation["do_sample"] else ("temperature", "top_k", "top_p")
    of_dataset = () if data["source"] == PromptSource.dataset else ("path", "subset", "split", "column")
    return {
        **loaded(settings),
        **_pick(settings, "batch_size", "input_tokens", "output_tokens"),
        "generation": without(generation, *of_sampling),
        "data": without(data, *of_dataset),
    }


def way(settings: Settings) -> dict[str, Any]:
    """How it is measured."""
    measure, counts = settings["measure"], (settings["num_runs"], settings["warmup_runs"])
    until = {"precision": counts[0] == AUTO, "max_seconds": AUTO in counts}
    of_windows = ("decode", "window") if measure["decode"] == Decode.full else ()
    of_metrics = () if measure["system_metrics"] else ("interval_s",)
    return {
        **_pick(settings, "num_runs", "warmup_runs", *(key for key, has_effect in until.items() if has_effect)),
        "measure": without(measure, *of_windows, *of_metrics),
    }


def without(settings: Settings, *keys: str) -> dict[str, Any]:
    return {key: value for key, value in settings.items() if key not in keys}


def flat(settings: Settings, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every setting under its dotted key."""
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def canonical_json(values: Mapping[str, Any]) -> str:
    return json.dumps(values, sort_keys=True, separators=(",", ":"))


def digest(values: Mapping[str, Any]) -> str:
    return hashlib.sha256(canonical_json(values).encode()).hexdigest()[:12]


def _pick(settings: Settings, *keys: str) -> dict[str, Any]:
    return {key: settings[key] for key in keys}
