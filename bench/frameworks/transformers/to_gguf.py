"""A transformers model as a GGUF file without a tokenizer: the converter of llama.cpp ships in no package, and asks for one."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from bench.config import Dtype, ModelConfig
from bench.errors import Unsupported
from bench.frameworks.transformers import models, saved

# model_type -> the architecture that computes the same in llama.cpp
ARCHITECTURES = {"llama": "llama", "mistral": "llama", "mixtral": "llama", "qwen2": "qwen2", "qwen3": "qwen3", "phi3": "phi3"}
KINDS = {Dtype.fp32: "F32", Dtype.fp16: "F16", Dtype.bf16: "BF16"}
_VERSION = 1  # raise it when the same model gives another file than before
_FILE_TYPES = {"F32": 0, "F16": 1, "BF16": 32}  # llama.h: LLAMA_FTYPE_ALL_F32, ...
_INSTEAD = "use framework=hf for this model"


def file_of(model: ModelConfig, config: Any, seed: int) -> tuple[Path, dict[str, Any]]:
    """The model as a GGUF file in the cache, and what decided it. Raises Unsupported."""
    refuse(config)
    kind = KINDS[model.dtype]
    what = {**saved.identity(model, seed), "gguf": version("gguf"), "writer": _VERSION}
    name = f"{config.model_type}-{{}}-{kind}.gguf"
    return saved.made_once("gguf", name, what, lambda path: write(models.build(model, "cpu", seed), path, kind)), what


def refuse(config: Any) -> None:
    """Raise Unsupported for a model that would not be the same one as a GGUF file."""
    if config.model_type not in ARCHITECTURES:
        known = ", ".join(ARCHITECTURES)
        raise Unsupported(f"{config.model_type} is not written as GGUF here, only {known}; set model.path to a GGUF file, or {_INSTEAD}")
    kind = config.rope_parameters.get("rope_type", "default")
    if kind not in ("default", "llama3"):
        raise Unsupported(f"rotary positions of the kind {kind} are not written as GGUF; {_INSTEAD}")
    if getattr(config, "attention_bias", False) or getattr(config, "mlp_bias", False):
        raise Unsupported(f"biases of {config.model_type} are not written as GGUF; {_INSTEAD}")
    window = getattr(config, "sliding_window", None) if getattr(config, "use_sliding_window", True) else None
    if window and window < config.max_position_embeddings:
        raise Unsupported(f"a sliding window of {window} tokens is not written as GGUF; {_INSTEAD}")


def write(model: Any, path: Path, kind: str) -> None:
    """Write the model with matrices of this kind (F32, F16, BF16) and vectors in F32, as llama.cpp wants them. Raises Unsupported."""
    import gguf

    config = model.config
    architecture = ARCHITECTURES[config.model_type]
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_file_type(_FILE_TYPES[kind])
    _add_sizes(writer, config)
    names = gguf.get_tensor_name_map(getattr(gguf.MODEL_ARCH, architecture.upper()), config.num_hidden_layers)
    for name, values in _tensors(model):
        there = names.get_name(name, try_suffixes=(".weight", ".bias"))
        if there is None:
            raise Unsupported(f"GGUF has no name for {name}; {_INSTEAD}")
        stored = gguf.GGMLQuantizationType[kind if values.ndim > 1 else "F32"]
        writer.add_tensor(there, gguf.quants.quantize(np.ascontiguousarray(values), stored), raw_dtype=stored)
    if config.rope_parameters.get("rope_type") == "llama3":
        writer.add_tensor("rope_freqs.weight", _rope_factors(config))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_sizes(writer: Any, config: Any) -> None:
    writer.add_tokenizer_model("none")
    writer.add_vocab_size(config.vocab_size)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(_head_dim(config))
    writer.add_value_length(_head_dim(config))
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_dimension_count(int(_head_dim(config) * (config.rope_parameters.get("partial_rotary_factor") or 1)))
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    if config.model_type == "phi3":
        writer.add_rope_scaling_orig_ctx_len(config.max_position_embeddings)
        writer.add_sliding_window(0)
    if config.model_type == "mixtral":
        writer.add_expert_count(config.num_local_experts)
        writer.add_expert_used_count(config.num_experts_per_tok)


def _tensors(model: Any) -> Any:
    """Every parameter (tied ones once) under a name that gguf's maps know, as llama.cpp lays it out."""
    config = model.config
    interleaved = {"q_proj.weight": config.num_attention_heads, "k_proj.weight": config.num_key_value_heads}
    rotates_neighbours = ARCHITECTURES[config.model_type] == "llama"
    for name, parameter in model.named_parameters():
        values = parameter.detach().float().numpy()
        heads = interleaved.get(".".join(name.split(".")[-2:]))
        if heads and rotates_neighbours:
            values = _interleaved(values, heads)
        if name.endswith("experts.gate_up_proj"):  # of all experts at once: [experts, 2 * intermediate, hidden]
            for part, half in zip(("gate_proj.weight", "up_proj.weight"), np.split(values, 2, axis=1), strict=True):
                yield name.replace("gate_up_proj", part), half
        else:
            yield name.replace("experts.down_proj", "experts.down_proj.weight"), values


def _interleaved(values: Any, heads: int) -> Any:
    """llama.cpp rotates neighbours where transformers rotates halves."""
    return values.reshape(heads, 2, values.shape[0] // heads // 2, -1).swapaxes(1, 2).reshape(values.shape)


def _head_dim(config: Any) -> int:
    return int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)


def _rope_factors(config: Any) -> Any:
    """How much slower than the default each pair of dimensions turns."""
    import torch
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    scaled, _ = ROPE_INIT_FUNCTIONS["llama3"](config, "cpu")
    size = _head_dim(config)
    plain = config.rope_parameters["rope_theta"] ** -(torch.arange(0, size, 2).float() / size)
    return (plain / scaled).numpy().astype(np.float32)
