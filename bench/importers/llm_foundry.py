"""llm-foundry's scripts/inference/benchmarking/yamls/*.yaml as named sweeps of ours."""

from __future__ import annotations

from typing import Any

from bench.errors import InvalidSetting
from bench.importers import known_models
from bench.importers.named_sweep import NamedSweep
from bench.importers.reader import Reader
from bench.roofline import shape_of
from bench.units import format_count

FORMAT = "llm-foundry"
# What tells such a file from others.
KEYS = frozenset({"benchmark_name", "batch_sizes", "input_lengths", "output_lengths", "num_batches"})

# Their key: ours, and what the script takes where it is missing.
ALIKE = {
    "batch_sizes": ("batch_size", [1]),
    "input_lengths": ("input_tokens", [1]),
    "output_lengths": ("output_tokens", [1]),
    "num_batches": ("num_runs", 5),
    "num_warmup_batches": ("warmup_runs", 3),
    "use_cache": ("generation.use_cache", True),
    "model_dtype": ("model.dtype", "fp32"),
    "tokenizer.name": ("model.tokenizer", None),
}

_SIZES = ("d_model", "n_heads", "n_layers", "expansion_ratio", "max_seq_len", "vocab_size")
_NEWER_PLACES = {"ffn_config.expansion_ratio": "expansion_ratio"}


def fill(sweep: NamedSweep, reader: Reader) -> None:
    """Raises InvalidSetting for a model that nothing here can stand for."""
    sweep.name = reader.take("benchmark_name") or sweep.name
    for key in ("tokenizer_name", "model.tokenizer_name"):
        reader.note(key, "tokenizer.name is what the script uses", unless=(None, sweep.settings.get("model.tokenizer")))
    reader.note("tokenizer", "prompts have their exact length without it")
    reader.take("max_seq_len")  # only there to be interpolated
    _take_model(reader, sweep)
    _take_placement(reader, sweep)
    sweep.notes.append("latency: here the median of the repeats, there their mean; bench-convert --to llm-foundry prints the mean")


def _take_placement(reader: Reader, sweep: NamedSweep) -> None:
    device, _, index = str(reader.take("device") or "auto").partition(":")
    sweep.choices["hardware"] = device
    if index not in ("", "0"):
        sweep.notes.append(f"device={device}:{index}: the first visible device is used; set hardware.env.CUDA_VISIBLE_DEVICES={index}")
    reader.note("autocast_dtype", f"there is no autocast here: weights and activations are {sweep.settings['model.dtype']}")
    deepspeed = reader.take("use_deepspeed", False)
    sweep.choices["framework"] = "deepspeed_tp" if deepspeed else "hf"
    if deepspeed:
        sweep.notes.append(
            "use_deepspeed=true: the script asks for fused kernels, which DeepSpeed silently leaves out where it has none, as for MPT; "
            "here they are off, since none of them fits the transformers of today"
        )


def _take_model(reader: Reader, sweep: NamedSweep) -> None:
    kind = reader.take("model.name")
    if kind == "mpt_causal_lm":
        _take_mpt(reader, sweep)
    elif kind == "hf_causal_lm":
        _take_pretrained(reader, sweep)
    else:
        raise InvalidSetting("model.name", kind, "is no model that can be converted; mpt_causal_lm and hf_causal_lm are")
    reader.note("model.init_device", "weights are made where they are used")


def _take_mpt(reader: Reader, sweep: NamedSweep) -> None:
    architecture: dict[str, Any] = {"model_type": "mpt"}
    for key in (*_SIZES, *_NEWER_PLACES):
        value = reader.take(f"model.{key}")
        if value is not None:
            architecture[_NEWER_PLACES.get(key, key)] = value
    _choose_mpt(architecture, sweep)
    for dropout in ("attn_pdrop", "resid_pdrop", "emb_pdrop", "attn_config.attn_pdrop"):
        reader.note(f"model.{dropout}", "nothing is dropped out during inference", unless=(None, 0, 0.0))
    reader.note("model.init_std", "random weights have a deviation of their own; speed does not depend on it")
    reader.note("model.init_config", "random weights are initialised in one way; speed does not depend on it")
    reader.note("model.no_bias", "transformers' MPT has no biases", unless=(True,))
    reader.note("model.attn_config.attn_impl", "transformers' MPT has eager attention only")
    alibi = reader.take("model.attn_config.alibi", False)
    if not alibi:
        sweep.notes.append("model.attn_config.alibi=false: transformers' MPT has ALiBi in place of learned positions")
    reader.note("model.learned_pos_emb", "transformers' MPT has ALiBi in place of learned positions", unless=(None, False))
    reader.note("model.attn_config", "transformers' MPT computes its attention in one way", unless=(None, False))


def _choose_mpt(architecture: dict[str, Any], sweep: NamedSweep) -> None:
    model = known_models.nearest(architecture)
    assert model is not None  # conf/model/ has MPTs
    sweep.choices["model"] = model.option
    changed = known_models.differences(architecture, model)
    if not changed:
        return
    shape = shape_of({**model.architecture, **architecture})
    if shape and set(changed) - {"vocab_size", "max_seq_len"}:
        sweep.settings["model.name"] = f"MPT-{format_count(shape.n_params)}"
    sweep.settings |= {f"model.architecture.{key}": value for key, value in changed.items()}


def _take_pretrained(reader: Reader, sweep: NamedSweep) -> None:
    path = reader.need("model.pretrained_model_name_or_path")
    pretrained = reader.take("model.pretrained", True)
    known = None if pretrained else known_models.by_hub_name(path)
    sweep.choices["model"] = known.option if known else "pretrained"
    if not known:
        sweep.settings["model.path"] = path
        if not pretrained:
            sweep.notes.append(f"model.pretrained=false: conf/model/ has no architecture of {path}, so it is loaded with its weights")
    why = "runs code that comes with the model, so only your own word counts: model.trust_remote_code=true"
    reader.note("model.trust_remote_code", why, unless=(None, False))
    overrides = reader.take_all("model.config_overrides")
    sweep.notes += [
        f"model.config_overrides.{key}={value}: set model.architecture.{key} where weights are random" for key, value in overrides.items()
    ]
    reader.note("model.use_auth_token", "log in with `hf auth login`, or set HF_TOKEN", unless=(None, False))
    if reader.take("model.use_flash_attention_2", False):
        sweep.settings["framework.attention"] = "flash_attention_2"
