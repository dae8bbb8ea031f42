"""The JSON configurations of AMD PACE's benchmark_llm_offline.py, old and new, as named sweeps of ours."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from bench.errors import InvalidSetting
from bench.frameworks.pace import OPERATORS
from bench.importers import known_models
from bench.importers.named_sweep import NamedSweep
from bench.importers.reader import Reader

FORMAT = "AMD PACE"
# What tells such a file from others.
KEYS = frozenset({"frameworks", "model_args", "generation_args", "token_metrics"})

# Their key: ours, and what the script takes where it is missing.
ALIKE = {
    "generation_args.batch_size": ("batch_size", 1),
    "generation_args.input_tokens": ("input_tokens", 128),
    "generation_args.output_tokens": ("output_tokens", 128),
    "generation_args.num_beams": ("generation.num_beams", None),
    "generation_args.do_sample": ("generation.do_sample", None),
    "generation_args.manual_seed": ("seed", None),
    "num_runs": ("num_runs", 10),
    "warmup_runs": ("warmup_runs", 2),
    "system_metrics": ("measure.system_metrics", False),
    "visualize": ("report", None),
}

_DTYPES = {"bf16": "bf16", "bfloat16": "bf16", "fp32": "fp32", "float32": "fp32"}
_OURS = ("pace", "hf")


def fill(sweep: NamedSweep, reader: Reader) -> None:
    """Raises InvalidSetting where no framework of the file is one of ours."""
    own = _pace_settings(reader)
    # A draft's guesses only come true for the model that it was trained with.
    _take_model(reader, sweep, pretrained=bool(own["framework.spec_config.model_name"]))
    sweep.choices["hardware"] = "cpu"  # the script knows no other
    _take_measuring(reader, sweep)
    _take_frameworks(reader, sweep, {key: value for key, value in own.items() if value not in (None, {})})


def _take_model(reader: Reader, sweep: NamedSweep, pretrained: bool) -> None:
    path = reader.need("model_args.model_name")
    known = None if pretrained or os.path.exists(path) else known_models.by_hub_name(path)
    sweep.choices["model"] = known.option if known else "pretrained"
    if known:
        sweep.notes.append(
            f"model_name={path}: its architecture with random weights, as fast and without a download; "
            f"for its own weights: model.weights=pretrained model.path={path}"
        )
    else:
        sweep.settings["model.path"] = path
    dtype = str(reader.take("model_args.dtype", "bf16"))
    sweep.settings["model.dtype"] = _DTYPES.get(dtype, "fp32")
    if dtype not in _DTYPES:
        sweep.notes.append(f"dtype={dtype}: fp32, which the script takes for everything but bf16")


def _take_measuring(reader: Reader, sweep: NamedSweep) -> None:
    if sweep.settings.get("generation.do_sample"):
        sweep.notes.append("do_sample=true: the script draws a temperature for PACE by chance; here it is generation.temperature")
    real = reader.take("use_real_data", False)
    sweep.choices["data"] = "prose" if real else "random"
    if real:
        sweep.notes.append("use_real_data=true: the embedded prose; for a dataset: data=dataset data.path=FILE_OR_HUB_ID")

    tokens = [reader.take(f"token_metrics.{key}", False) for key in ("time_to_first_token", "time_per_tokens")]
    sweep.settings["measure.token_times"] = any(tokens)
    folder = reader.take("output_dir")
    if folder and (Path(str(folder)).is_absolute() or ".." in Path(str(folder)).parts):
        sweep.notes.append(f"output_dir={folder}: leads out of the current folder; if that is meant, set output_dir yourself")
    elif folder:
        sweep.settings["output_dir"] = f"{str(folder).rstrip('/')}/${{name}}"
        sweep.notes.append("output_dir: rows, not JSON; bench-convert FOLDER --to pace-json writes the metrics under their old names")
    reader.note("verbose", "the results are always printed", unless=(None, True))


def _take_frameworks(reader: Reader, sweep: NamedSweep, own: dict[str, Any]) -> None:
    named = reader.take("frameworks") or []
    asked = [named] if isinstance(named, str) else list(named)
    ours = [name for name in dict.fromkeys(asked) if name in _OURS]
    missing = [str(name) for name in asked if name not in _OURS]
    if missing:
        sweep.notes.append(f"frameworks={','.join(missing)}: not among the frameworks here, so left out")
    if not ours:
        raise InvalidSetting("frameworks", ",".join(missing), f"none of them can be measured here; {' and '.join(_OURS)} can")
    if ours == ["pace"]:
        sweep.choices["framework"] = "pace"
        sweep.settings |= own
    elif ours == ["hf"]:
        sweep.choices["framework"] = "hf"
        sweep.notes += [f"{key}={value}: only pace has it" for key, value in own.items()]
    else:
        sweep.settings = {"framework": ours, **sweep.settings}
        sweep.only_with |= {"framework=pace": own} if own else {}


def _pace_settings(reader: Reader) -> dict[str, Any]:
    spellings = {operator.casefold(): operator for operator in OPERATORS}
    operators = reader.take_all("model_args.llm_operators")
    cache = reader.take("generation_args.kv_cache_type")
    spec = {f"framework.spec_config.{key}": reader.take(f"model_args.spec_config.{key}") for key in ("model_name", "num_speculated_tokens")}
    return {
        "framework.kv_cache_type": str(cache).upper() if cache else None,
        "framework.llm_operators": {spellings.get(key.casefold(), key): str(value).upper() for key, value in operators.items()},
        **spec,
    }
