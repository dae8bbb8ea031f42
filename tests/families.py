"""A tiny model of every causal family that transformers knows: random weights, and no tokenizer."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from bench.config import Device, HardwareConfig, ModelConfig, RunConfig, Weights
from bench.frameworks.base import Tokens
from bench.frameworks.hf import HuggingFace, Settings
from bench.frameworks.transformers import models
from bench.frameworks.transformers.pretrained import architecture_in
from bench.measure.workload import prompts_for
from bench.roofline import ModelShape

SIZES = {
    **dict.fromkeys(("hidden_size", "d_model", "n_embd", "dim", "embedding_size"), 32),
    **dict.fromkeys(("num_attention_heads", "num_key_value_heads", "n_heads", "n_head", "num_heads"), 4),
    **dict.fromkeys(("encoder_attention_heads", "decoder_attention_heads"), 4),
    **dict.fromkeys(("num_hidden_layers", "n_layers", "n_layer", "num_layers", "encoder_layers", "decoder_layers"), 2),
    **dict.fromkeys(("intermediate_size", "ffn_dim", "ffn_hidden_size", "n_inner", "d_ff", "dff", "moe_intermediate_size"), 64),
    **dict.fromkeys(("encoder_ffn_dim", "decoder_ffn_dim", "shared_expert_intermediate_size", "expert_dim"), 64),
    **dict.fromkeys(("num_experts", "num_local_experts", "n_routed_experts"), 4),
    **dict.fromkeys(("head_dim", "qk_rope_head_dim", "qk_nope_head_dim", "v_head_dim", "rotary_dim", "index_head_dim"), 8),
    **dict.fromkeys(("kv_lora_rank", "q_lora_rank"), 16),
    **dict.fromkeys(("mamba_n_heads", "mamba_num_heads", "linear_num_key_heads", "linear_num_value_heads", "mamba_d_state"), 4),
    **dict.fromkeys(("linear_key_head_dim", "linear_value_head_dim", "chunk_size", "mamba_chunk_size"), 8),
    **dict.fromkeys(("mamba_head_dim", "mamba_d_head"), 16),
    **dict.fromkeys(("n_group", "topk_group", "n_groups", "mamba_n_groups"), 1),
    "num_experts_per_tok": 2,
    "vocab_size": 128,
    "vocab_size_per_layer_input": 128,
}
_MAY_BE_NONE = ("num_key_value_heads", "head_dim", "num_experts_per_tok", "n_routed_experts", "n_group", "topk_group")
_OWN: dict[str, dict[str, Any]] = {
    "bamba": {"attn_layer_indices": [1]},
    "dots1": {"moe_intermediate_size": 64, "n_shared_experts": 1, "routed_scaling_factor": 1.0},
    "falcon_h1": {"mamba_d_ssm": 64},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]]},
    "granitemoehybrid": {"layer_types": ["mamba", "attention"]},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"]},
    "mamba2": {"head_dim": 16},
    "xlm": {"max_position_embeddings": 64, "n_langs": 1},
}
# What stands in the way, in the words of transformers.
WHY_NOT = {
    "blt": "has no attribute 'num_hidden_layers'",
    "cpmant": "must match the size of tensor",
    "dbrx": "has no attribute 'rope_theta'",
    "gemma3n": "requires the timm library",
    "gemma3n_text": "'sliding_attention' is not in list",
    "gemma4_assistant": "has no attribute 'vocab_size'",
    "gemma4_unified_assistant": "has no attribute 'vocab_size'",
    "musicgen": "text_encoder",
    "musicgen_melody": "text_encoder",
    "recurrent_gemma": "is not in list",
    "reformer": "is_decoder=True",
    "xlstm": "has wrong shape",
    "xmod": "Input language unknown",
    "zamba": "must be equal to the number of `layer_types`",
    "zamba2": "must be equal to the number of `layer_types`",
}


def run_tiny(family: str, folder: Path | None = None) -> tuple[Tokens, ModelShape | None]:
    """Three new tokens [2, 3] from random prompts; with a folder, from config and weights saved there, without a tokenizer."""
    hardware = HardwareConfig(device=Device.cpu)
    model = ModelConfig(name=family, architecture=tiny(family))
    if folder:
        models.build(model, "cpu", seed=0).save_pretrained(folder)
        model = ModelConfig(name=family, architecture=architecture_in(str(folder)), weights=Weights.pretrained, path=str(folder))
    run = RunConfig(model=model, framework=Settings(name="hf"), hardware=hardware, batch_size=2, input_tokens=4, output_tokens=3)
    engine = HuggingFace(run)
    shape = engine.load()
    engine.prepare(run)
    return engine.generate(prompts_for(run)("repeat", 1), run.output_tokens, lambda at_s=None: None), shape


def main() -> None:
    """Every family, one after the other: it runs, or the reason is the one that is known."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    surprises = []
    for family in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        try:
            outcome = "runs" if run_tiny(family)[0].shape == (2, 3) else "returned tokens of another shape"
        except Exception as error:
            outcome = f"{type(error).__name__}: {' '.join(str(error).split())}"
        print(f"{family:<24} {outcome[:150]}")
        if WHY_NOT.get(family, "runs") not in outcome:
            surprises.append(family)
    if surprises:
        sys.exit(f"not as tests/families.py has it: {', '.join(surprises)}")


def tiny(family: str) -> dict[str, Any]:
    """The keywords of a small config; those with a model_type of its own inside are made small, too."""
    from transformers import CONFIG_MAPPING

    return {"model_type": family, **_smaller(CONFIG_MAPPING[family]().to_dict()), **_OWN.get(family, {})}


def _smaller(default: dict[str, Any]) -> dict[str, Any]:
    small: dict[str, Any] = {}
    for key, value in default.items():
        if key in SIZES and (isinstance(value, int) or (value is None and key in _MAY_BE_NONE)):
            small[key] = SIZES[key]
        elif key.endswith("_token_id") and isinstance(value, int) and value >= SIZES["vocab_size"]:
            small[key] = 1
        elif isinstance(value, dict) and "model_type" in value:
            small[key] = {"model_type": value["model_type"], **_smaller(value)}
    if default.get("layer_types"):  # a layer of each kind
        small["layer_types"] = (list(dict.fromkeys(default["layer_types"])) * 2)[: max(2, len(set(default["layer_types"])))]
        small |= {key: len(small["layer_types"]) for key in ("num_hidden_layers", "n_layers") if key in small}
    return small


if __name__ == "__main__":
    main()
