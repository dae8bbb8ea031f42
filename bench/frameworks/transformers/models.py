"""From the model of a point to a transformers model: its config, its dtype, its weights, its device."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any

from bench.config import Device, Dtype, HardwareConfig, ModelConfig, Weights
from bench.errors import Unavailable, Unsupported
from bench.frameworks.transformers.pretrained import explained
from bench.roofline import ModelShape, shape_of

if TYPE_CHECKING:
    import torch


def quiet() -> None:
    """Keep transformers' advice and progress bars out of the log."""
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()


def use_threads(hardware: HardwareConfig, ranks: int = 1) -> None:
    """Set the CPU threads of this process: as configured, else an equal share for each rank."""
    import torch

    if hardware.threads:
        torch.set_num_threads(hardware.threads)
    elif ranks > 1:
        torch.set_num_threads(max(1, torch.get_num_threads() // ranks))


def device_for(wanted: Device, dtype: Dtype) -> str:
    """cuda or cpu. Raises Unavailable where the wanted device is not there, Unsupported where it does not know the dtype."""
    import torch

    if wanted is Device.cuda and not torch.cuda.is_available():
        raise Unavailable(
            "hardware.device=cuda, but torch sees no CUDA device; use hardware=cpu, or install a CUDA build of torch and its driver"
        )
    device = "cuda" if torch.cuda.is_available() and wanted is not Device.cpu else "cpu"
    if device == "cuda" and dtype is Dtype.bf16 and not torch.cuda.is_bf16_supported(including_emulation=False):
        raise Unsupported(f"model.dtype=bf16, but {torch.cuda.get_device_name()} has no bfloat16; use model.dtype=fp16")
    return device


def surroundings(device: str) -> dict[str, Any]:
    """What every engine on torch tells of itself; a device is called cpu, or what the GPU calls itself."""
    import torch

    name = str(torch.cuda.get_device_name()) if device.startswith("cuda") else "cpu"
    return {"torch": str(torch.__version__), "device": name, "threads": torch.get_num_threads()}


def torch_dtype(dtype: Dtype) -> torch.dtype:
    import torch

    return {Dtype.fp32: torch.float32, Dtype.bf16: torch.bfloat16, Dtype.fp16: torch.float16}[dtype]


def config_of(model: ModelConfig) -> Any:
    """The transformers config of this model. Raises Unsupported where it cannot be found or built."""
    from transformers import AutoConfig

    with explained(model):
        if model.weights is Weights.pretrained:
            return AutoConfig.from_pretrained(model.path, trust_remote_code=model.trust_remote_code)
        sizes = {key: value for key, value in model.architecture.items() if key != "model_type"}
        return AutoConfig.for_model(model.family, **sizes)


def class_name(config: Any) -> str:
    """The transformers class of a causal language model with this config: LlamaForCausalLM."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    named: list[str] = config.architectures or [MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.get(config.model_type, config.model_type)]
    return named[0]


def build(model: ModelConfig, device: str, seed: int, **options: Any) -> Any:
    """The whole model on one device, with random or pretrained weights. Raises Unsupported."""
    from transformers import AutoModelForCausalLM

    from bench.frameworks.transformers.weights import build_random

    with explained(model):
        if model.weights is Weights.random:
            return build_random(config_of(model), torch_dtype(model.dtype), device, seed, **options)
        # Straight to the device, where accelerate lets transformers do so: else a copy of the whole model lies in host memory first.
        where = {"device_map": {"": device}} if importlib.util.find_spec("accelerate") else {}
        loaded = AutoModelForCausalLM.from_pretrained(
            model.path, dtype=torch_dtype(model.dtype), trust_remote_code=model.trust_remote_code, **where, **options
        )
        return loaded.to(device).eval()


def shape_from(config: Any, n_params: int | None = None) -> ModelShape | None:
    """The shape of a model with this transformers config and this many parameters, counted; None where it is none that we know."""
    shape = shape_of(config.get_text_config().to_dict())
    return shape.counted(n_params) if shape and n_params else shape


def held(parameter: Any) -> Any:
    """The part of a parameter that this process holds: transformers 5.17 lets a shard stand for the whole (DTensor)."""
    return parameter.to_local() if hasattr(parameter, "to_local") else parameter


def count(model: Any) -> int:
    return sum(int(held(parameter).numel()) for parameter in model.parameters())


def count_on_meta(config: Any) -> int:
    """The parameters that a model of this transformers config has, without building it."""
    import torch

    from bench.frameworks.transformers.weights import build_empty

    return count(build_empty(config, torch.float32))


def counted_shape(config: Any) -> ModelShape | None:
    """The shape of a model that an engine loads by itself: its parameters are those that transformers would make."""
    return shape_from(config, count_on_meta(config))
