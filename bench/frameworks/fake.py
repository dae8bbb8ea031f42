"""A deterministic engine without a model: it takes the time it is told to take, and fails as it is told to."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar, Optional

import numpy as np

from bench.config import FrameworkConfig, RunConfig
from bench.errors import InvalidSetting, Unsupported
from bench.frameworks.base import OnStep, Tokens
from bench.roofline import ModelShape, shape_of


class Fault(StrEnum):
    unsupported = "unsupported"  # says so while loading
    load_error = "load_error"  # raises while loading
    error = "error"  # raises while generating
    oom = "oom"  # runs out of memory
    hang = "hang"  # never answers
    exit = "exit"  # leaves with exit code 3
    kill = "kill"  # is killed, as by the kernel's out-of-memory killer
    segfault = "segfault"  # reads address 0
    short = "short"  # returns a token less than asked


@dataclass
class Settings(FrameworkConfig):
    pretends: ClassVar[bool] = True
    load_s: float = 0.0  # time that loading takes
    prefill_s: float = 0.0  # time per 1,000 prompt tokens of a sequence
    step_s: float = 0.0  # time of one decoding step
    bytes_per_sequence: int = 0  # memory that generating takes
    largest_batch: Optional[int] = None  # a larger one runs out of memory
    fault: Optional[Fault] = None  # what goes wrong
    fault_at: Optional[int] = None  # only at this batch size; default: at each

    def check(self, run: RunConfig) -> None:
        if run.generation.num_beams > 1:
            raise InvalidSetting(
                "generation.num_beams", run.generation.num_beams, "framework=fake has no beam search; set it to 1, or choose framework=hf"
            )


class Fake:
    def __init__(self, run: RunConfig) -> None:
        self._run = run

    @property
    def _settings(self) -> Settings:
        assert isinstance(self._run.framework, Settings)
        return self._run.framework

    def load(self) -> ModelShape:
        if self._settings.fault is Fault.unsupported:
            raise Unsupported("framework=fake was told that it is unsupported; unset framework.fault")
        if self._settings.fault is Fault.load_error:
            raise RuntimeError("no weights (pretend)")
        time.sleep(self._settings.load_s)
        shape = shape_of(self._run.model.architecture)
        return shape or ModelShape("fake", 1, 1, 1, 1, 1, 1, 1, gated=False, tied=True, n_params=1)

    def prepare(self, run: RunConfig) -> None:
        self._run = run

    def generate(self, prompts: Tokens, new_tokens: int, on_step: OnStep) -> Tokens:
        fault = self._fault_at(len(prompts))
        _fail(fault, len(prompts))
        if self._settings.largest_batch is not None and len(prompts) > self._settings.largest_batch:
            _fail(Fault.oom, len(prompts))
        taken = np.ones(len(prompts) * self._settings.bytes_per_sequence, dtype=np.int8)
        time.sleep(self._settings.prefill_s * prompts.shape[1] / 1000)
        for _ in range(new_tokens):
            if self._settings.step_s:
                time.sleep(self._settings.step_s)
            on_step()
        del taken
        returned = new_tokens - 1 if fault is Fault.short else new_tokens
        return np.broadcast_to(prompts[:, -1:], (len(prompts), returned)).copy()

    def unload(self) -> None:
        pass

    def describe(self) -> dict[str, Any]:
        return {"framework_version": "1", "device": "cpu"}

    def _fault_at(self, batch_size: int) -> Fault | None:
        return self._settings.fault if self._settings.fault_at in (None, batch_size) else None


def _fail(fault: Fault | None, batch_size: int) -> None:
    match fault:
        case Fault.error:
            raise ValueError(f"batch of {batch_size} refused (pretend)")
        case Fault.oom:
            raise MemoryError(f"batch of {batch_size} does not fit (pretend)")
        case Fault.hang:
            time.sleep(1e6)
        case Fault.exit:
            os._exit(3)
        case Fault.kill:
            os.kill(os.getpid(), signal.SIGKILL)
        case Fault.segfault:
            ctypes.string_at(0)
