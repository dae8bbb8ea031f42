"""A deterministic engine without a model: it takes the time it is told to take, and fails as it is told to."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, ClassVar, Optional

import numpy as np

from bench.config import FrameworkConfig, RunConfig
from bench.errors import InvalidSetting, Unsupported
from bench.frameworks.base import OnStep, Tokens
from bench.frameworks.faults import Fault, drawn, first_time, strike
from bench.frameworks.ranks import Ranks
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
    rank_processes: bool = False  # whether each rank really is a process
    fault: Optional[Fault] = None  # what goes wrong
    fault_at: Optional[int] = None  # only at this batch size; default: at each
    fault_seed: int = 0  # for fault=any
    fault_marks: Optional[str] = None  # a folder that remembers the points that were struck, so that each is struck once

    @property
    def packages(self) -> tuple[str, ...]:
        return ("numpy",)

    def check(self, run: RunConfig) -> None:
        if run.generation.num_beams > 1:
            raise InvalidSetting(
                "generation.num_beams", run.generation.num_beams, "framework=fake has no beam search; set it to 1, or choose framework=hf"
            )


class Fake:
    def __init__(self, run: RunConfig) -> None:
        self._run = run
        self._ranks: Ranks | None = None

    @property
    def _settings(self) -> Settings:
        assert isinstance(self._run.framework, Settings)
        return self._run.framework

    def load(self) -> ModelShape | None:
        if self._settings.fault is Fault.unsupported:
            raise Unsupported("framework=fake was told that it is unsupported; unset framework.fault")
        if self._settings.fault is Fault.load_error:
            raise RuntimeError("no weights (pretend)")
        time.sleep(self._settings.load_s)
        if self._settings.rank_processes:
            self._ranks = Ranks(_Rank, self._settings.tp)
        return shape_of(self._run.model.architecture)

    def prepare(self, run: RunConfig) -> None:
        self._run = run

    def generate(self, prompts: Tokens, new_tokens: int, on_step: OnStep) -> Tokens:
        fault = self._fault_at(len(prompts))
        if self._settings.largest_batch is not None and len(prompts) > self._settings.largest_batch:
            fault = Fault.oom
        pids = self._ranks.call("pid") if self._ranks else []
        if self._ranks and fault is Fault.oom_rank:
            self._ranks.call("run_out_of_memory")
        strike(fault, len(prompts), pids[1] if pids else None)
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
        if self._ranks:
            self._ranks.stop()

    def describe(self) -> dict[str, Any]:
        return {"framework_version": version("numpy"), "device": "cpu"}

    def _fault_at(self, batch_size: int) -> Fault | None:
        settings, run = self._settings, self._run
        point = f"{run.batch_size}-{run.input_tokens}-{run.output_tokens}"
        if settings.fault_at not in (None, batch_size):
            return None
        fault = drawn(settings.fault_seed, point) if settings.fault is Fault.any else settings.fault
        return fault if fault and (not settings.fault_marks or first_time(settings.fault_marks, point)) else None


class _Rank:
    def __init__(self, rank: int) -> None:
        self.rank = rank

    def pid(self) -> int:
        return os.getpid()

    def run_out_of_memory(self) -> None:
        if self.rank:
            raise MemoryError("does not fit (pretend)")
        time.sleep(1e6)  # the others wait for it inside a collective
