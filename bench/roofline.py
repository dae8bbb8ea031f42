"""FLOPs and bytes of prefill and decode from a model's shape, and the least time they take. Pure arithmetic: nothing is measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from bench.groups import POSITION_KEYS

# The same size under the names that the transformers families give it; the first one present counts.
_SIZES: dict[str, tuple[str, ...]] = {
    "layers": ("num_hidden_layers", "n_layers", "n_layer", "num_layers"),
    "hidden": ("hidden_size", "d_model", "n_embd"),
    "heads": ("num_attention_heads", "n_heads", "n_head"),
    "kv_heads": ("num_key_value_heads", "num_kv_heads"),
    "head_dim": ("head_dim",),
    "intermediate": ("intermediate_size", "ffn_dim", "ffn_hidden_size", "n_inner"),
    "vocab": ("vocab_size",),
    "positions": POSITION_KEYS,
    "experts": ("num_local_experts", "num_experts"),
    "active_experts": ("num_experts_per_tok", "experts_per_token"),
    "expert_intermediate": ("moe_intermediate_size", "intermediate_size"),
    "shared_intermediate": ("shared_expert_intermediate_size",),
}
# Families whose feed-forward layer has no gate beside the up projection (two matrices, not the three of SwiGLU).
# A guess for models that are not loaded yet: what is counted in the loaded one decides.
_UNGATED = {"mpt", "falcon", "opt", "gpt2", "gpt_neo", "gptj", "gpt_neox", "gpt_bigcode", "bloom", "codegen", "phi", "starcoder2"}
_UNGATED |= {"nemotron"}
_UNTIED_BY_DEFAULT = {"llama", "mistral", "mixtral", "qwen2", "qwen3", "phi3", "gpt_neox"}
_UNTIED_BY_DEFAULT |= {"qwen2_moe", "qwen3_moe", "olmoe", "gpt_oss", "olmo2"}
# Where a config has a window but no layer_types, these families use it in every layer.
_WINDOW_EVERYWHERE = {"mistral", "mixtral", "phi3"}
_KNOWN_LAYERS = {"full_attention", "sliding_attention", "attention"}  # others keep no cache that grows with each token
_MOST_UNEXPLAINED = 0.05  # part of a model's parameters that need not be in the matrices known here: biases, norms, positions


@dataclass(frozen=True)
class Experts:
    """Feed-forward layers that send each token through a few of many experts."""

    count: int
    active: int  # per token
    intermediate: int  # of one expert
    shared_intermediate: int  # of what every token goes through; 0: nothing
    layers: int  # that have experts; the others are dense

    def touched(self, tokens: float) -> float:
        """How many of a layer's experts `tokens` tokens are expected to use, under an even router."""
        idle = float((1 - self.active / self.count) ** tokens)
        return self.count * (1 - idle)


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
    experts: Experts | None = None
    window: int | None = None  # tokens that a layer with a sliding window looks back
    window_layers: int = 0
    bytes_per_weight: float | None = None  # of quantised layers; None: the dtype's

    @property
    def matmul_params(self) -> int:
        """Parameters that every token is multiplied with: the layers' matrices and the head, not the embedding."""
        return self._layer_params(self.experts.active if self.experts else 0) + self.head_params

    @property
    def matrix_params(self) -> int:
        """Parameters of all matrices, every expert among them, without the embedding."""
        return self._layer_params(self.experts.count if self.experts else 0) + self.head_params

    @property
    def head_params(self) -> int:
        return self.vocab * self.hidden

    def weight_bytes(self, bytes_per_value: float, experts: float | None = None) -> float:
        """Bytes of the matrices, with this many experts of each layer; default: as many as one token uses.

        The head keeps the dtype where the layers are quantised, as the usual tools leave it.
        """
        used = (self.experts.active if experts is None else experts) if self.experts else 0
        return self._layer_params(used) * (self.bytes_per_weight or bytes_per_value) + self.head_params * bytes_per_value

    def seen_tokens(self, context_tokens: float) -> float:
        """How many of `context_tokens` a layer attends to, on average over the layers."""
        windowed = min(context_tokens, self.window or context_tokens)
        return (self.window_layers * windowed + (self.layers - self.window_layers) * context_tokens) / self.layers

    @property
    def expected_params(self) -> int:
        """What the matrices and the embedding add up to."""
        return self.matrix_params + (0 if self.tied else self.vocab * self.hidden)

    @property
    def doubt(self) -> str | None:
        """Why these sizes do not describe the model whose parameters were counted; None where they do."""
        if abs(self.expected_params - self.n_params) <= _MOST_UNEXPLAINED * self.n_params:
            return None
        return (
            f"the sizes in the config of this {self.family} add up to {self.expected_params:,} parameters and it has {self.n_params:,}, "
            "so bench/roofline.py does not know all its layers"
        )

    def counted(self, n_params: int) -> ModelShape:
        """The shape of the model in which so many parameters were counted: they tell whether it has gates and a head of its own."""
        kinds = [
            replace(self, n_params=n_params, gated=gated, tied=tied)
            for gated in (self.gated, not self.gated)
            for tied in (self.tied, not self.tied)
        ]
        return min(kinds, key=lambda kind: abs(kind.expected_params - n_params))

    def _layer_params(self, experts: float) -> int:
        """Parameters of the layers' matrices, with this many experts of each layer that has them."""
        q_and_out = 2 * self.hidden * self.heads * self.head_dim
        k_and_v = 2 * self.hidden * self.kv_heads * self.head_dim
        dense_layers = self.layers - (self.experts.layers if self.experts else 0)
        total = self.layers * (q_and_out + k_and_v) + dense_layers * self._feed_forward_params(self.intermediate)
        if self.experts:
            router = self.hidden * self.experts.count
            shared = self._feed_forward_params(self.experts.shared_intermediate)
            total += self.experts.layers * (router + shared + round(experts * self._feed_forward_params(self.experts.intermediate)))
        return total

    def _feed_forward_params(self, intermediate: int) -> int:
        return (3 if self.gated else 2) * self.hidden * intermediate


def shape_of(architecture: Mapping[str, Any]) -> ModelShape | None:
    """The shape that a transformers config (as a mapping) describes; None where a size is missing or layers are of another kind.

    n_params is what the matrices and the embedding add up to; an adapter replaces it by what it counted.
    """
    sizes = {name: next((int(architecture[key]) for key in keys if architecture.get(key)), 0) for name, keys in _SIZES.items()}
    layers, hidden, heads, vocab = (sizes[name] for name in ("layers", "hidden", "heads", "vocab"))
    if not (layers and hidden and heads and vocab) or not _KNOWN_LAYERS.issuperset(_kinds(architecture)):
        return None
    if architecture.get("n_routed_experts") or architecture.get("kv_lora_rank"):
        return None  # DeepSeek's experts and compressed keys: sizes under other names, and other formulas
    family = str(architecture.get("model_type", "unknown"))
    one_kv_head = architecture.get("multi_query") and not architecture.get("new_decoder_architecture")
    window, window_layers = _window_of(architecture, layers)
    shape = ModelShape(
        family=family,
        layers=layers,
        hidden=hidden,
        heads=heads,
        kv_heads=1 if one_kv_head else sizes["kv_heads"] or heads,
        head_dim=sizes["head_dim"] or hidden // heads,
        intermediate=sizes["intermediate"] or int(architecture.get("expansion_ratio", 4) * hidden),
        vocab=vocab,
        gated=family not in _UNGATED,
        tied=bool(architecture.get("tie_word_embeddings", family not in _UNTIED_BY_DEFAULT)),
        n_params=0,
        max_positions=sizes["positions"] or None,
        experts=_experts_of(architecture, sizes),
        window=window,
        window_layers=window_layers,
        bytes_per_weight=_bytes_per_weight(architecture.get("quantization_config")),
    )
    return replace(shape, n_params=shape.expected_params)


def _experts_of(architecture: Mapping[str, Any], sizes: Mapping[str, int]) -> Experts | None:
    if not sizes["experts"] or not sizes["active_experts"]:
        return None
    dense = set(architecture.get("mlp_only_layers") or ())
    step = int(architecture.get("decoder_sparse_step") or 1)  # Qwen: every step-th layer has experts
    return Experts(
        count=sizes["experts"],
        active=sizes["active_experts"],
        intermediate=sizes["expert_intermediate"],
        shared_intermediate=sizes["shared_intermediate"],
        layers=sum(layer not in dense and (layer + 1) % step == 0 for layer in range(sizes["layers"])),
    )


def _kinds(architecture: Mapping[str, Any]) -> list[str]:
    return list(architecture.get("layer_types") or architecture.get("layers_block_type") or ())


def _window_of(architecture: Mapping[str, Any], layers: int) -> tuple[int | None, int]:
    """How many tokens a layer with a sliding window looks back, and how many layers have one."""
    window = architecture.get("sliding_window")
    if not window or not architecture.get("use_sliding_window", True):
        return None, 0
    if kinds := _kinds(architecture):
        return int(window), kinds.count("sliding_attention")
    return int(window), layers if architecture.get("model_type") in _WINDOW_EVERYWHERE else 0


def _bytes_per_weight(quantization: Any) -> float | None:
    """Width of quantised weights, as the usual tools write it into a model's config; None where they keep the dtype's."""
    if not isinstance(quantization, Mapping):
        return None
    if bits := quantization.get("bits") or quantization.get("w_bit"):  # GPTQ, AWQ
        return float(bits) / 8
    if quantization.get("load_in_4bit") or quantization.get("quant_method") == "mxfp4":
        return 0.5
    if quantization.get("load_in_8bit") or "fp8" in str(quantization.get("quant_method")):
        return 1.0
    return None


def attention_flops(shape: ModelShape, pairs: float) -> float:
    """FLOPs of scores and their weighted sum, for this many pairs of a token and one that it attends to."""
    return 4 * shape.layers * shape.heads * shape.head_dim * pairs


def prefill_flops(shape: ModelShape, batch_size: int, input_tokens: int) -> float:
    """FLOPs of reading the prompts: two per matrix parameter and token, and the causal half of the attention scores.

    The head is only applied to the last position. Kaplan et al. 2020, table 1 (arXiv:2001.08361).
    """
    matrices = 2 * ((shape.matmul_params - shape.head_params) * input_tokens + shape.head_params)
    pairs = _triangle(input_tokens)
    if shape.window:
        pairs -= _triangle(max(0, input_tokens - shape.window)) * shape.window_layers / shape.layers
    return float(batch_size * (matrices + attention_flops(shape, pairs)))


def _triangle(n: int) -> float:
    return n * (n + 1) / 2


def decode_flops(shape: ModelShape, batch_size: int, context_tokens: float) -> float:
    """FLOPs of one decoding step with `context_tokens` in the cache, for the whole batch."""
    return batch_size * (2 * shape.matmul_params + attention_flops(shape, shape.seen_tokens(context_tokens)))


def kv_bytes_per_token(shape: ModelShape, bytes_per_value: float) -> float:
    return 2 * shape.layers * shape.kv_heads * shape.head_dim * bytes_per_value


def decode_bytes(shape: ModelShape, batch_size: int, context_tokens: float, bytes_per_value: float) -> float:
    """Bytes that one decoding step is expected to read: every weight it uses once, and one KV cache per sequence."""
    touched = shape.experts.touched(batch_size) if shape.experts else None
    weights = shape.weight_bytes(bytes_per_value, touched)
    return weights + batch_size * shape.seen_tokens(context_tokens) * kv_bytes_per_token(shape, bytes_per_value)


def mean_context(input_tokens: int, output_tokens: int) -> float:
    """Tokens in the cache during a decoding step, on average: the first one comes out of the prefill."""
    return input_tokens + output_tokens / 2


def seconds_at(
    shape: ModelShape,
    batch_size: int,
    input_tokens: int,
    output_tokens: int,
    bytes_per_value: float,
    flops_per_s: float,
    bytes_per_s: float,
    cache_bytes: float = 0,
) -> float:
    """Least time for one generation on hardware with these ceilings: each phase takes what its tighter ceiling allows.

    What fits into the processor's caches can still be there from the step before, so that much need not
    come from memory. With experts, all tokens may have chosen the same ones. The mean context stands for
    each step's own: the maximum is convex, so that this errs on the low side.
    """
    weights = shape.weight_bytes(bytes_per_value)
    prefill_s = max(prefill_flops(shape, batch_size, input_tokens) / flops_per_s, max(0, weights - cache_bytes) / bytes_per_s)
    context = mean_context(input_tokens, output_tokens)
    caches = batch_size * shape.seen_tokens(context) * kv_bytes_per_token(shape, bytes_per_value)
    step_s = max(decode_flops(shape, batch_size, context) / flops_per_s, max(0, weights + caches - cache_bytes) / bytes_per_s)
    return prefill_s + (output_tokens - 1) * step_s


def memory_bytes(shape: ModelShape, batch_size: int, input_tokens: int, output_tokens: int, bytes_per_value: float) -> float:
    """Memory that generating needs at its peak: all weights, the KV cache at its end, and prefill's largest activations.

    Those are, per prompt token, the residual stream beside the feed-forward layer's inputs to its last
    matrix, and per sequence the logits of one position in fp32. Attention that writes out its scores
    (eager) needs more, allocators round up, and the engine itself is not counted: a lower estimate.
    """
    cached_tokens = shape.seen_tokens(input_tokens + output_tokens)
    cache = batch_size * cached_tokens * kv_bytes_per_token(shape, bytes_per_value)
    widest = 2 * shape.hidden + (2 if shape.gated else 1) * shape.intermediate
    activations = batch_size * (input_tokens * widest * bytes_per_value + shape.vocab * 4)
    others = (shape.n_params - shape.matrix_params) * bytes_per_value
    weights = shape.weight_bytes(bytes_per_value, shape.experts.count if shape.experts else None) + others
    return weights + cache + activations
