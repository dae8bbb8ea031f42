"""FLOPs and bytes of prefill and decode, from a model's shape. Pure arithmetic: no engine, no measuring."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from bench.config import POSITION_KEYS

# The same size under the names that the transformers families give it; the first one present counts.
_ALIASES: dict[str, tuple[str, ...]] = {
    "layers": ("num_hidden_layers", "n_layers", "n_layer", "num_layers"),
    "hidden": ("hidden_size", "d_model", "n_embd"),
    "heads": ("num_attention_heads", "n_heads", "n_head"),
    "kv_heads": ("num_key_value_heads", "num_kv_heads"),
    "intermediate": ("intermediate_size", "ffn_dim", "ffn_hidden_size", "n_inner"),
    "vocab": ("vocab_size",),
    "experts": ("num_local_experts",),
    "experts_per_token": ("num_experts_per_tok",),
}
# Families whose feed-forward layer has a gate beside the up projection (SwiGLU: three matrices, not two).
_GATED = {"llama", "mistral", "mixtral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text", "phi3"}
_UNTIED_BY_DEFAULT = {"llama", "mistral", "mixtral", "qwen2", "qwen3", "phi3", "gpt_neox"}


@dataclass(frozen=True)
class ModelShape:
    """The sizes of a decoder-only transformer that decide its FLOPs and bytes."""

    family: str
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    vocab: int
    gated: bool
    tied: bool
    n_params: int
    max_positions: int | None = None
    experts: int = 1  # feed-forward layers beside each other (mixture of experts)
    experts_per_token: int = 1

    @property
    def matmul_params(self) -> int:
        """Parameters that every token is multiplied with: the layers' matrices and the head, not the embedding."""
        q_and_out = 2 * self.hidden * self.heads * self.head_dim
        k_and_v = 2 * self.hidden * self.kv_heads * self.head_dim
        return self.layers * (q_and_out + k_and_v + self.experts_per_token * self._expert_params) + self.vocab * self.hidden

    @property
    def _expert_params(self) -> int:
        return (3 if self.gated else 2) * self.hidden * self.intermediate

    @property
    def all_params(self) -> int:
        """What the matrices add up to: with the embedding, and with the experts that a token passes by."""
        passed_by = self.layers * (self.experts - self.experts_per_token) * self._expert_params
        return self.matmul_params + passed_by + (0 if self.tied else self.vocab * self.hidden)

    def counted(self, n_params: int) -> ModelShape:
        return replace(self, n_params=n_params)


def shape_of(architecture: Mapping[str, Any]) -> ModelShape | None:
    """The shape that a transformers config (as a mapping) describes; None where a size is missing.

    n_params is what the matrices add up to; an adapter replaces it by what it counted.
    """
    sizes = {name: next((architecture[key] for key in keys if architecture.get(key)), None) for name, keys in _ALIASES.items()}
    if any(sizes[name] is None for name in ("layers", "hidden", "heads", "vocab")):
        return None
    family = str(architecture.get("model_type", "unknown"))
    hidden, heads = int(sizes["hidden"]), int(sizes["heads"])
    kv_heads = (
        1 if architecture.get("multi_query") and not architecture.get("new_decoder_architecture") else int(sizes["kv_heads"] or heads)
    )
    shape = ModelShape(
        family=family,
        layers=int(sizes["layers"]),
        hidden=hidden,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=int(architecture.get("head_dim") or hidden // heads),
        intermediate=int(sizes["intermediate"] or architecture.get("expansion_ratio", 4) * hidden),
        vocab=int(sizes["vocab"]),
        gated=family in _GATED,
        tied=bool(architecture.get("tie_word_embeddings", family not in _UNTIED_BY_DEFAULT)),
        n_params=0,
        max_positions=next((int(architecture[key]) for key in POSITION_KEYS if architecture.get(key)), None),
        experts=int(sizes["experts"] or 1),
        experts_per_token=int(sizes["experts_per_token"] or 1),
    )
    return shape.counted(shape.all_params)


def prefill_flops(shape: ModelShape, batch_size: int, input_tokens: int) -> float:
    """FLOPs of reading the prompts: two per matrix parameter and token, and the causal half of the attention scores.

    The head is only applied to the last position. Kaplan et al. 2020, table 1 (arXiv:2001.08361).
    """
    head = shape.vocab * shape.hidden
    matrices = 2 * ((shape.matmul_params - head) * input_tokens + head)
    attention = 2 * shape.layers * shape.heads * shape.head_dim * input_tokens * (input_tokens + 1)
    return float(batch_size * (matrices + attention))


def decode_flops(shape: ModelShape, batch_size: int, context_tokens: float) -> float:
    """FLOPs of one decoding step with `context_tokens` in the cache, for the whole batch."""
    return batch_size * (2 * shape.matmul_params + 4 * shape.layers * shape.heads * shape.head_dim * context_tokens)


def kv_bytes_per_token(shape: ModelShape, bytes_per_value: int) -> int:
    return 2 * shape.layers * shape.kv_heads * shape.head_dim * bytes_per_value


def decode_bytes(shape: ModelShape, batch_size: int, context_tokens: float, bytes_per_value: int) -> float:
    """Bytes that one decoding step must at least read: every weight once, and one KV cache per sequence."""
    return shape.matmul_params * bytes_per_value + batch_size * context_tokens * kv_bytes_per_token(shape, bytes_per_value)


def seconds_at(
    shape: ModelShape,
    batch_size: int,
    input_tokens: int,
    output_tokens: int,
    bytes_per_value: int,
    flops_per_s: float,
    bytes_per_s: float,
) -> float:
    """Least time for one generation on hardware with these ceilings: each phase takes what its tighter ceiling allows."""
    weights_s = shape.matmul_params * bytes_per_value / bytes_per_s
    prefill_s = max(prefill_flops(shape, batch_size, input_tokens) / flops_per_s, weights_s)
    context = input_tokens + output_tokens / 2
    step_s = max(
        decode_flops(shape, batch_size, context) / flops_per_s,
        decode_bytes(shape, batch_size, context, bytes_per_value) / bytes_per_s,
    )
    return prefill_s + (output_tokens - 1) * step_s
