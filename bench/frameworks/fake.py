"""A deterministic engine without a model: it takes the time and the memory that it is told to take."""

from __future__ import annotations

import time
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, ClassVar, Optional

import numpy as np

from bench.config import FrameworkConfig, RunConfig
from bench.errors import require
from bench.frameworks.base import OnStep, Tokens
from bench.roofline import ModelShape, shape_of


@dataclass
class Settings(FrameworkConfig):
    pretends: ClassVar[bool] = True
    uses_gpus: ClassVar[bool] = False
    load_s: float = 0.0  # time that loading takes
    prefill_s: float = 0.0  # time per 1,000 prompt tokens of a sequence
    step_s: float = 0.0  # time of one decoding step
    bytes_per_sequence: int = 0  # memory that generating takes
    largest_batch: Optional[int] = None  # a larger one runs out of memory
    tp: int = 1  # ranks that it pretends to have

    @property
    def packages(self) -> tuple[str, ...]:
        return ("numpy",)

    def check(self, run: RunConfig) -> None:
        beams = run.generation.num_beams
        require(beams == 1, "generation.num_beams", beams, "framework=fake has no beam search; set it to 1, or choose framework=hf")


class Fake:
    def __init__(self, run: RunConfig) -> None:
        self._run = run
        self._version = version("numpy")  # asked once: it takes a millisecond

    @property
    def _settings(self) -> Settings:
        assert isinstance(self._run.framework, Settings)
        return self._run.framework

    def load(self) -> ModelShape | None:
        time.sleep(self._settings.load_s)
        return shape_of(self._run.model.architecture)

    def prepare(self, run: RunConfig) -> None:
        self._run = run

    def generate(self, prompts: Tokens, new_tokens: int, on_step: OnStep) -> Tokens:
        if self._settings.largest_batch is not None and len(prompts) > self._settings.largest_batch:
            raise MemoryError(f"batch of {len(prompts)} does not fit (pretend)")
        taken = np.ones(len(prompts) * self._settings.bytes_per_sequence, dtype=np.int8)
        time.sleep(self._settings.prefill_s * prompts.shape[1] / 1000)
        for _ in range(new_tokens):
            if self._settings.step_s:
                time.sleep(self._settings.step_s)
            on_step()
        del taken
        return np.broadcast_to(prompts[:, -1:], (len(prompts), new_tokens)).copy()

    def describe(self) -> dict[str, Any]:
        return {"framework_version": self._version, "device": "cpu"}
