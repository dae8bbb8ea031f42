"""Random weights at memory speed: from_config fills a billion parameters in ten seconds, this in about one."""

from __future__ import annotations

import zlib
from typing import Any

import torch
from torch import nn

# One block of random numbers is tiled over each matrix. Its length is a prime, so that tiles never line
# up with rows: no two rows are equal, hence no two logits.
_BLOCK = 1_048_583


def build_random(config: Any, dtype: torch.dtype, device: str, seed: int = 0, **options: Any) -> nn.Module:
    """A causal language model of this transformers config, with seeded random weights on `device`."""
    model = build_empty(config, dtype, **options)
    model.to_empty(device=device)
    model.tie_weights()
    for buffer in model.buffers():  # a table of expert numbers would send tokens to whatever lay in memory
        buffer.zero_()
    for name, parameter in model.named_parameters():  # each tied parameter once
        fill(parameter.data, name, seed, model.config)
    rebuild_buffers(model)
    return model


def build_empty(config: Any, dtype: torch.dtype, **options: Any) -> Any:
    """The model on the meta device: every shape, no memory."""
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(config, dtype=dtype, **options).eval()


def fill(tensor: torch.Tensor, name: str, seed: int, config: Any) -> torch.Tensor:
    """Fill the whole parameter of this name: matrices with a normal distribution, biases with 0, norm scales with 1.

    The values depend on the name and the seed alone, so that every engine gets the same model on every device.
    """
    if tensor.dim() >= 2:
        std = getattr(config, "initializer_range", None) or 0.02
        _fill_matrix(tensor, zlib.crc32(name.encode()) + seed, float(std))
    else:
        tensor.fill_(0.0 if name.endswith("bias") else 1.0)
    return tensor


def _fill_matrix(tensor: torch.Tensor, seed: int, std: float) -> None:
    flat = tensor.view(-1)
    length = min(flat.numel(), _BLOCK)
    # On the CPU, whatever the device: each kind of device has other random numbers for the same seed.
    block = torch.empty(length).normal_(0, std, generator=torch.Generator().manual_seed(seed)).to(tensor.device, tensor.dtype)
    whole = flat.numel() // length
    flat[: whole * length].view(whole, length).copy_(block)
    flat[whole * length :].copy_(block[: flat.numel() - whole * length])


def rebuild_buffers(model: Any) -> None:
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
        with torch.no_grad():
            model._init_weights(module)
