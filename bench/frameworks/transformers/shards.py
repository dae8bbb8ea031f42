"""One rank's shard of a model: DeepSpeed splits it on the meta device, and each layer is filled as it is split."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import deepspeed
import torch
from deepspeed.module_inject.auto_tp import AutoTP
from torch import nn

from bench.config import ModelConfig, RunConfig, Weights
from bench.errors import Unsupported
from bench.frameworks.transformers import models, pretrained
from bench.frameworks.transformers.weights import build_empty, fill, rebuild_buffers

Source = Callable[[str, torch.Tensor], torch.Tensor]
"""The whole parameter of this name, on the device; the tensor on the meta device tells its shape and dtype."""


def load(run: RunConfig, device: str, tp: int) -> Any:
    """This rank's part of the model, as DeepSpeed runs it. Raises Unsupported."""
    dtype = models.torch_dtype(run.model.dtype)
    # Without DeepSpeed's fused kernels: their layers return tuples, which transformers 5 takes for hidden states.
    options = {"dtype": dtype, "tensor_parallel": {"tp_size": tp}, "replace_with_kernel_inject": False}
    engine = _shard(run, device, options) if tp > 1 else deepspeed.init_inference(models.build(run.model, device, run.seed), **options)
    rebuild_buffers(engine.module)  # the cast to bf16 rounded the rotary frequencies
    return engine.module


def _shard(run: RunConfig, device: str, options: dict[str, Any]) -> Any:
    model = build_empty(models.config_of(run.model), options["dtype"])
    whole = _held_in_layers(model)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    source = _source(run, device)
    # Embeddings and norms: every rank has them whole. The head too, until it is split: DeepSpeed takes
    # a head on the meta device for one that is tied to the embedding, and nothing raises.
    late = {layer for block in _blocks(model) for layer in block.modules() if isinstance(layer, nn.Linear)}
    for module in model.modules():
        if module not in late:
            _fill(module, names, source)
        for key, buffer in module.named_buffers(recurse=False):
            module._buffers[key] = torch.empty_like(buffer, device=device)  # rebuild_buffers computes them at the end
    model.tie_weights()
    with _filling_what_is_split(names, source):
        engine = deepspeed.init_inference(model, **options)
    # Not of the whole model: DeepSpeed gives a tied head a matrix of its own, which can outweigh the rest of a small one.
    if _held_in_layers(engine.module) >= whole:
        raise Unsupported(f"DeepSpeed found nothing to split in {run.model.name}: every rank would hold the whole model")
    return engine


def _blocks(model: nn.Module) -> list[nn.Module]:
    return [module for module in model.modules() if isinstance(module, nn.ModuleList)]


def _held_in_layers(model: nn.Module) -> int:
    return sum(map(models.count, _blocks(model)))


def _fill(module: nn.Module, names: dict[int, str], source: Source) -> None:
    for key, parameter in list(module.named_parameters(recurse=False)):
        if parameter.is_meta:
            module.register_parameter(key, nn.Parameter(source(names[id(parameter)], parameter), requires_grad=False))


@contextmanager
def _filling_what_is_split(names: dict[int, str], source: Source) -> Iterator[None]:
    """Fill each linear layer right before AutoTP cuts it: a rank holds its shards and one whole layer, never the model."""
    replace = AutoTP._replace

    def fill_and_replace(self: Any, child: nn.Module, *arguments: Any) -> Any:
        _fill(child, names, source)
        return replace(self, child, *arguments)

    AutoTP._replace = fill_and_replace
    try:
        yield
    finally:
        AutoTP._replace = replace


def _source(run: RunConfig, device: str) -> Source:
    if run.model.weights is Weights.pretrained:
        return _from_files(run.model, device)
    config = models.config_of(run.model)
    return lambda name, empty: fill(torch.empty_like(empty, device=device), name, run.seed, config)


def _from_files(model: ModelConfig, device: str) -> Source:
    """Read single parameters from safetensors files; where the files name them otherwise, load the model whole."""
    from safetensors import safe_open

    folder = pretrained.folder_of(model)
    files: list[Any] = [safe_open(file, framework="pt") for file in sorted(folder.glob("*.safetensors"))]
    holder = {name: file for file in files for name in file.keys()}  # noqa: SIM118 (not a mapping)
    whole: dict[str, torch.Tensor] = {}

    def read(name: str, empty: torch.Tensor) -> torch.Tensor:
        if name in holder:
            return holder[name].get_tensor(name).to(device, empty.dtype)
        if not whole:
            whole.update(models.build(model, "cpu", seed=0).state_dict())
        return whole[name].to(device, empty.dtype)

    return read
