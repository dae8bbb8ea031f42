"""transformers' `generate`, as shipped: greedy, sampling and beams, on the CPU or one CUDA device."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from bench.config import FrameworkConfig, RunConfig
from bench.frameworks import models
from bench.frameworks.base import OnStep, Tokens
from bench.frameworks.generate import generate
from bench.roofline import ModelShape


class Attention(StrEnum):
    auto = "auto"
    eager = "eager"
    sdpa = "sdpa"
    flash_attention_2 = "flash_attention_2"
    flex_attention = "flex_attention"


@dataclass
class Settings(FrameworkConfig):
    attention: Attention = Attention.auto  # auto: what transformers prefers for this model


class HuggingFace:
    def __init__(self, run: RunConfig) -> None:
        assert isinstance(run.framework, Settings)
        self._run = run
        self._settings = run.framework
        self._model: Any = None

    def load(self) -> ModelShape:
        models.quiet()
        models.use_threads(self._run.hardware)
        self._device = models.device_for(self._run.hardware.device, self._run.model.dtype)
        attention = {} if self._settings.attention is Attention.auto else {"attn_implementation": str(self._settings.attention)}
        self._model = models.build(self._run.model, self._device, self._run.seed, **attention)
        return models.shape_from(self._model.config, models.count(self._model))

    def prepare(self, run: RunConfig) -> None:
        import torch

        self._run = run
        torch.manual_seed(run.seed)

    def generate(self, prompts: Tokens, new_tokens: int, on_step: OnStep) -> Tokens:
        return generate(self._model, prompts, new_tokens, on_step, self._run.generation)

    def unload(self) -> None:
        self._model = None

    def describe(self) -> dict[str, Any]:
        import torch
        import transformers

        return {
            "framework_version": transformers.__version__,
            "torch": torch.__version__,
            "device": models.device_name(self._device),
            "attention": self._model.config._attn_implementation,
            "threads": torch.get_num_threads(),
        }
