"""Random weights at memory speed: from_config fills a billion parameters in ten seconds, this in about one."""

from __future__ import annotations

import zlib
from typing import Any

import torch
from torch import nn

# One block of random numbers is tiled over each matrix. Its length is a prime, so that tiles never line
# up with rows: no two rows are equal, hence no two logits.
_BLOCK = 1_048_583


def build_random(config: Any, dtype: torch.dtype, device: str, seed: int = 0, **kwargs: Any) -> nn.Module:
    """A causal language model of this transformers config, with seeded random weights on `device`."""
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        model: Any = AutoModelForCausalLM.from_config(config, dtype=dtype, **kwargs)
    model.to_empty(device=device)
    model.tie_weights()
    fill(model, seed)
    rebuild_buffers(model)
    return model.eval()


@torch.no_grad()
def fill(model: nn.Module, seed: int) -> None:
    """Fill every parameter: matrices with a normal distribution, biases with 0, norm scales with 1."""
    std = getattr(model.config, "initializer_range", None) or 0.02
    for name, parameter in model.named_parameters():  # each tied parameter once
        if parameter.dim() >= 2:
            _fill_matrix(parameter, zlib.crc32(name.encode()) + seed, float(std))
        else:
            parameter.fill_(0.0 if name.endswith("bias") else 1.0)


def _fill_matrix(parameter: nn.Parameter, seed: int, std: float) -> None:
    flat = parameter.data.view(-1)
    length = min(flat.numel(), _BLOCK)
    generator = torch.Generator(device=parameter.device).manual_seed(seed)
    block = torch.empty(length, device=parameter.device).normal_(0, std, generator=generator).to(parameter.dtype)
    whole = flat.numel() // length
    flat[: whole * length].view(whole, length).copy_(block)
    flat[whole * length :].copy_(block[: flat.numel() - whole * length])


@torch.no_grad()
def rebuild_buffers(model: nn.Module) -> None:
    """Compute the non-persistent buffers again, in fp32.

    to_empty leaves rotary frequencies as whatever lay in memory, and nothing raises: the tokens are
    just wrong. A cast to bf16 rounds them.
    """
    for module in model.modules():
        names = getattr(module, "_non_persistent_buffers_set", ())
        if not names or any(True for _ in module.parameters(recurse=False)):
            continue
        for name in names:
            buffer = module._buffers[name]
            if buffer is None:
                continue
            if hasattr(module, "inv_freq") and buffer.dtype != torch.float32:
                module._buffers[name] = buffer = torch.empty_like(buffer, dtype=torch.float32)
            buffer.__dict__.pop("_is_hf_initialized", None)
        model._init_weights(module)
