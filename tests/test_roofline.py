"""FLOPs and bytes from a model's shape, held against torch's own counter."""

from __future__ import annotations

from typing import Any

import pytest

from bench.roofline import (
    Experts,
    ModelShape,
    attention_flops,
    decode_bytes,
    decode_flops,
    kv_bytes_per_token,
    prefill_flops,
    seconds_at,
    shape_of,
)
from tests.engines import SMALL

LLAMA: dict[str, Any] = {
    "model_type": "llama",
    "vocab_size": 512,
    "hidden_size": 64,
    "intermediate_size": 160,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
}
FALCON: dict[str, Any] = {
    "model_type": "falcon",
    "vocab_size": 512,
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "multi_query": True,
    "new_decoder_architecture": False,
}
QWEN_MOE: dict[str, Any] = {
    **LLAMA,
    "model_type": "qwen3_moe",
    "head_dim": 16,
    "num_experts": 8,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 48,
    "mlp_only_layers": [1],
}
MPT: dict[str, Any] = {"model_type": "mpt", "vocab_size": 512, "d_model": 64, "n_heads": 4, "n_layers": 2, "max_seq_len": 128}


def shape(architecture: dict[str, Any]) -> ModelShape:
    found = shape_of(architecture)
    assert found is not None
    return found


def build(architecture: dict[str, Any]) -> Any:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    sizes = {key: value for key, value in architecture.items() if key != "model_type"}
    config = AutoConfig.for_model(architecture["model_type"], **sizes, use_cache=True)
    return AutoModelForCausalLM.from_config(config, dtype=torch.float32, attn_implementation="eager").eval()


def counted_flops(model: Any, batch_size: int, input_tokens: int) -> tuple[int, int]:
    """What torch counts for the prompts, and for one decoding step after them."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    ids = torch.randint(4, 500, (batch_size, input_tokens))
    with torch.no_grad():
        with FlopCounterMode(display=False) as prefill:
            seen = model(ids, use_cache=True, logits_to_keep=1)
        with FlopCounterMode(display=False) as step:
            model(ids[:, :1], past_key_values=seen.past_key_values, use_cache=True)
    return prefill.get_total_flops(), step.get_total_flops()


@pytest.mark.parametrize("architecture", [LLAMA, FALCON, MPT, SMALL["opt"]], ids=lambda value: value["model_type"])
@pytest.mark.parametrize(("batch_size", "input_tokens"), [(1, 16), (3, 65)])
def test_flops_are_those_that_torch_counts(architecture: dict[str, Any], batch_size: int, input_tokens: int) -> None:
    prefill, step = counted_flops(build(architecture), batch_size, input_tokens)
    ours = shape(architecture)
    # Eager attention computes the masked half as well, which is no useful work: we leave it out.
    masked = batch_size * attention_flops(ours, input_tokens * (input_tokens - 1) / 2)
    # Rotary frequencies are also a (tiny) matrix product.
    assert prefill_flops(ours, batch_size, input_tokens) + masked == pytest.approx(prefill, rel=2e-3)
    assert decode_flops(ours, batch_size, input_tokens + 1) == pytest.approx(step, rel=2e-3)


@pytest.mark.parametrize("architecture", [LLAMA, FALCON, MPT, SMALL["opt"], QWEN_MOE], ids=lambda value: value["model_type"])
def test_matrices_are_those_of_the_real_model(architecture: dict[str, Any]) -> None:
    model = build(architecture)
    embeddings = {id(model.get_input_embeddings().weight)}
    head = model.get_output_embeddings().weight
    matrices = {id(p): p.numel() for name, p in model.named_parameters() if p.dim() >= 2 and "embed_positions" not in name}
    ours = shape(architecture)
    assert ours.tied == (id(head) in embeddings)
    assert ours.matrix_params == sum(size for key, size in matrices.items() if key not in embeddings - {id(head)})


def test_a_token_only_pays_for_its_experts() -> None:
    moe = shape(QWEN_MOE)
    assert moe.experts == Experts(count=8, active=2, intermediate=48, shared_intermediate=0, layers=2)
    idle = 2 * (8 - 2) * 3 * 64 * 48  # layers, unused experts, matrices of 64 x 48
    assert moe.matrix_params - moe.matmul_params == idle


def test_a_batch_reads_more_experts_than_a_token_but_never_more_than_there_are() -> None:
    moe = shape(QWEN_MOE)
    read = [decode_bytes(moe, batch_size, 0, 2) for batch_size in (1, 4, 1000)]
    assert read[0] == pytest.approx(2 * moe.matmul_params)
    assert read[0] < read[1] < read[2]
    assert read[2] == pytest.approx(2 * moe.matrix_params)


def test_fewer_kv_heads_shrink_the_cache() -> None:
    assert kv_bytes_per_token(shape(LLAMA), 2) == 2 * 3 * 2 * 16 * 2
    assert kv_bytes_per_token(shape(FALCON), 2) == 2 * 2 * 1 * 16 * 2


def test_quantised_weights_are_smaller_but_the_head_is_not() -> None:
    plain = shape(LLAMA)
    four_bit = shape({**LLAMA, "quantization_config": {"quant_method": "gptq", "bits": 4}})
    layers = plain.matmul_params - plain.head_params
    assert four_bit.weight_bytes(2) == layers / 2 + 2 * plain.head_params


def test_a_sliding_window_bounds_what_is_attended_to() -> None:
    windowed = shape({**LLAMA, "model_type": "mistral", "sliding_window": 8})
    assert windowed.seen_tokens(100) == 8
    assert windowed.seen_tokens(5) == 5
    # 8 tokens each for the last 93, and 1 + 2 + ... + 7 for the first 7
    pairs = 93 * 8 + 28
    whole = shape({**LLAMA, "model_type": "mistral"})
    difference = attention_flops(whole, 100 * 101 / 2 - pairs)
    assert prefill_flops(whole, 1, 100) - prefill_flops(windowed, 1, 100) == pytest.approx(difference)


def test_the_floor_is_the_tighter_ceiling_of_each_phase() -> None:
    llama = shape(LLAMA)
    weights = llama.weight_bytes(4)
    slow_memory = seconds_at(llama, 1, 1, 3, 4, flops_per_s=1e30, bytes_per_s=1e6)
    kv = kv_bytes_per_token(llama, 4) * 2.5
    assert slow_memory == pytest.approx((3 * weights + 2 * kv) / 1e6)
    slow_maths = seconds_at(llama, 1, 16, 1, 4, flops_per_s=1e6, bytes_per_s=1e30)
    assert slow_maths == pytest.approx(prefill_flops(llama, 1, 16) / 1e6)


def test_what_stays_in_the_cache_needs_no_memory_traffic() -> None:
    llama = shape(LLAMA)
    assert seconds_at(llama, 1, 1, 3, 4, 1e30, 1e6, cache_bytes=1e9) < 1e-6


@pytest.mark.parametrize("family", ["glm4", "olmo", "cohere", "persimmon", "gpt2", "starcoder2"])
def test_counted_parameters_tell_whether_a_family_that_nobody_listed_has_gates(family: str) -> None:
    from transformers import AutoConfig

    from bench.frameworks.transformers import models

    small = {"num_hidden_layers": 2, "hidden_size": 64, "intermediate_size": 192, "vocab_size": 512, "max_position_embeddings": 16}
    config = AutoConfig.for_model(family, **small, num_attention_heads=4, num_key_value_heads=4, pad_token_id=0)
    found = models.counted_shape(config)
    assert found is not None
    assert found.doubt is None


def test_a_shape_that_does_not_add_up_to_the_model_says_so() -> None:
    assert shape(LLAMA).doubt is None
    assert "add up to" in str(shape(LLAMA).counted(2 * shape(LLAMA).n_params).doubt)
    assert shape_of({**LLAMA, "layer_types": ["linear_attention", "full_attention", "linear_attention"]}) is None
