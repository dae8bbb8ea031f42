"""transformers' `generate`, as shipped: greedy, sampling and beams, on the CPU or one CUDA device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from bench.config import Device, Dtype, FrameworkConfig, GenerationConfig, RunConfig, Weights
from bench.errors import Unsupported
from bench.frameworks.base import Tokens
from bench.roofline import ModelShape, shape_of


class Attention(StrEnum):
    auto = "auto"
    eager = "eager"
    sdpa = "sdpa"
    flash_attention_2 = "flash_attention_2"
    flex_attention = "flex_attention"


@dataclass
class Settings(FrameworkConfig):
    attention: Attention = Attention.auto  # auto: what transformers prefers for this model


class _StepStreamer:
    """Tells when a step's tokens are on the host. `generate` calls put once for the prompt, then once per step."""

    def __init__(self, on_step: Callable[[], None]) -> None:
        self._on_step = on_step
        self._prompt_seen = False

    def put(self, _tokens: Any) -> None:  # generate hands over tokens.cpu(), which waits for the device
        if self._prompt_seen:
            self._on_step()
        self._prompt_seen = True

    def end(self) -> None:
        pass


class HuggingFace:
    def __init__(self, run: RunConfig) -> None:
        self._run = run
        self._model: Any = None
        self._sampling: dict[str, Any] = {}

    def load(self) -> ModelShape:
        import torch
        from transformers.utils import logging

        logging.set_verbosity_error()
        logging.disable_progress_bar()
        if self._run.hardware.threads:
            torch.set_num_threads(self._run.hardware.threads)
        self._device = _device(self._run.hardware.device)
        self._model = _build(self._run, self._device)
        shape = shape_of(self._model.config.get_text_config().to_dict())
        if shape is None:
            config = type(self._model.config).__name__
            raise Unsupported(f"bench/roofline.py does not know how {config} spells its sizes; add them to its aliases")
        return shape.counted(sum(parameter.numel() for parameter in self._model.parameters()))

    def prepare(self, run: RunConfig) -> None:
        import torch

        self._run = run
        self._sampling = _sampling(run.generation)
        torch.manual_seed(run.seed)

    def generate(self, prompts: Tokens, new_tokens: int, on_step: Callable[[], None]) -> Tokens:
        import torch

        ids = torch.from_numpy(prompts).to(self._device)
        # transformers refuses a streamer with beams: a beam's tokens are only known at the end.
        streamer = _StepStreamer(on_step) if self._run.generation.num_beams == 1 else None
        out = self._model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=new_tokens,
            eos_token_id=None,  # as a keyword; in a GenerationConfig it would be filled from the model's again
            pad_token_id=0,
            use_cache=self._run.generation.use_cache,
            streamer=streamer,
            **self._sampling,
        )
        tokens: Tokens = out[:, prompts.shape[1] :].cpu().numpy()
        return tokens

    def unload(self) -> None:
        self._model = None

    def describe(self) -> dict[str, Any]:
        import torch
        import transformers

        cuda = self._device == "cuda"
        return {
            "framework_version": transformers.__version__,
            "torch": torch.__version__,
            "device": torch.cuda.get_device_name() if cuda else "cpu",
            "attention": self._model.config._attn_implementation,
            "threads": torch.get_num_threads(),
        }


def _device(wanted: Device) -> str:
    import torch

    if wanted is Device.cuda and not torch.cuda.is_available():
        raise Unsupported(
            "hardware.device=cuda, but torch sees no CUDA device; use hardware=cpu, or install a CUDA build of torch and its driver"
        )
    return "cuda" if torch.cuda.is_available() and wanted is not Device.cpu else "cpu"


def _build(run: RunConfig, device: str) -> Any:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from bench.frameworks.weights import build_random

    model, settings = run.model, run.framework
    assert isinstance(settings, Settings)
    dtype = {Dtype.fp32: torch.float32, Dtype.bf16: torch.bfloat16, Dtype.fp16: torch.float16}[model.dtype]
    if dtype is torch.bfloat16 and device == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
        raise Unsupported(f"model.dtype=bf16, but {torch.cuda.get_device_name()} has no bfloat16; use model.dtype=fp16")
    attention = {} if settings.attention is Attention.auto else {"attn_implementation": str(settings.attention)}
    try:
        if model.weights is Weights.random:
            sizes = {key: value for key, value in model.architecture.items() if key != "model_type"}
            config = AutoConfig.for_model(model.family, **sizes)
            return build_random(config, dtype, device, run.seed, **attention)
        loaded = AutoModelForCausalLM.from_pretrained(model.path, dtype=dtype, trust_remote_code=model.trust_remote_code, **attention)
        return loaded.to(device).eval()
    except (ImportError, ValueError) as error:
        raise Unsupported(f"transformers cannot build {model.name} with framework.attention={settings.attention}: {error}") from error


def _sampling(generation: GenerationConfig) -> dict[str, Any]:
    """The keywords of `generate` for this kind of search; the others are left out, since it warns about them."""
    search: dict[str, Any] = {"do_sample": generation.do_sample, "num_beams": generation.num_beams}
    if generation.do_sample:
        search |= {"temperature": generation.temperature, "top_k": generation.top_k, "top_p": generation.top_p}
    return search
