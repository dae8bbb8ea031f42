"""Weight-only int8 and int4 by torchao: fewer bytes to read in each step, the same arithmetic after unpacking."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from bench.errors import MissingExtra, Unsupported

_GROUP = 32  # weights that share an int4 scale: the smallest group that torchao has, which fits every model here


class Quantization(StrEnum):
    none = "none"
    int8 = "int8"
    int4 = "int4"


BYTES_PER_WEIGHT = {Quantization.int8: 1.0, Quantization.int4: 0.5}  # without their scales


def quantize(model: Any, kind: Quantization, device: str) -> None:
    """Quantise the weights of all linear layers but the head, in place. Raises Unsupported."""
    from torch import nn

    try:
        from torchao.quantization import quantize_
    except ImportError as error:
        raise MissingExtra(f"framework.quantization={kind}", "torchao", "quantize") from error
    head = model.get_output_embeddings()
    layers = {name: layer for name, layer in model.named_modules() if isinstance(layer, nn.Linear) and layer is not head}
    before = {name: type(layer.weight.data) for name, layer in layers.items()}
    try:
        quantize_(model, _config(kind, device), filter_fn=lambda _, name: name in layers)
    except (ImportError, AssertionError, NotImplementedError, RuntimeError) as error:
        raise Unsupported(f"torchao cannot quantise {type(model).__name__} to {kind} on {device}: {error}") from error
    if any(type(layer.weight.data) is before[name] for name, layer in layers.items()):
        raise Unsupported(
            f"torchao left layers of {type(model).__name__} as they were: {kind} needs rows of a multiple of {_GROUP} weights"
        )


def stored_bytes(tensor: Any) -> int:
    """What a tensor really takes: a quantised one tells the size that it stands for."""
    if not hasattr(tensor, "__tensor_flatten__"):
        return int(tensor.nbytes)
    return sum(stored_bytes(getattr(tensor, name)) for name in tensor.__tensor_flatten__()[0])


def _config(kind: Quantization, device: str) -> Any:
    from torchao.quantization import Int4WeightOnlyConfig, Int8WeightOnlyConfig

    if kind is Quantization.int8:
        return Int8WeightOnlyConfig()
    if device == "cuda":
        return Int4WeightOnlyConfig(group_size=_GROUP, int4_packing_format="tile_packed_to_4d")
    from torchao.prototype.quantization.int4 import PrototypeInt4WeightOnlyConfig  # its int4 for CPUs

    return PrototypeInt4WeightOnlyConfig(group_size=_GROUP)
