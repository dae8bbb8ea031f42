"""Tensor parallelism: several ranks, each with its shard, stand as one engine, and the slowest one's time counts."""

from __future__ import annotations

import os
import tempfile
import zlib
from collections.abc import Callable
from functools import partial
from time import perf_counter
from typing import Any

from bench.config import RunConfig
from bench.errors import Unavailable, Unsupported
from bench.frameworks.base import Framework, OnStep, Tokens
from bench.frameworks.ranks import Ranks
from bench.frameworks.transformers import models
from bench.host.monitors import PeakMemory
from bench.roofline import ModelShape

MakeShard = Callable[[str, int], Framework]
"""Makes the engine of one rank, from the file where the ranks meet and the rank; must be picklable."""


class Parallel:
    """A Framework that is made of the same framework on each rank."""

    def __init__(self, make_shard: MakeShard, tp: int, refuse: Callable[[], None]) -> None:
        self._make_shard, self._tp, self._refuse = make_shard, tp, refuse

    def load(self) -> ModelShape | None:
        """`refuse` raises Unsupported before any rank is started."""
        self._refuse()
        # Collectives may look into it as long as they live. It has no name in any folder, so that no death leaves it behind.
        self._meeting = tempfile.TemporaryFile()  # noqa: SIM115
        store = f"/proc/{os.getpid()}/fd/{self._meeting.fileno()}"
        self._ranks = Ranks(partial(_Member, partial(self._make_shard, store)), self._tp)
        shapes: list[ModelShape | None] = self._ranks.call("load")
        return shapes[0]

    def prepare(self, run: RunConfig) -> None:
        self._ranks.call("prepare", run)

    def generate(self, prompts: Tokens, new_tokens: int, on_step: OnStep) -> Tokens:
        results = self._ranks.call("generate", prompts, new_tokens)
        if len({zlib.crc32(tokens.tobytes()) for tokens, _ in results}) > 1:
            raise RuntimeError("the ranks generated different tokens: they no longer work on one model")
        for stamps in zip(*(steps for _, steps in results), strict=True):
            on_step(max(stamps))  # a step is done when its slowest rank is
        tokens: Tokens = results[0][0]
        return tokens

    def describe(self) -> dict[str, Any]:
        told = self._ranks.call("describe")
        n_devices = 1 if told[0]["device"] == "cpu" else self._tp
        return {**told[0], "n_devices": n_devices, **{key: [each[key] for each in told] for key in ("shard_params", "device_peaks")}}


class _Member:
    """One rank's engine, in that rank's process."""

    def __init__(self, make_shard: Callable[[int], Framework], rank: int) -> None:
        self._engine = make_shard(rank)
        self.load, self._memory = self._engine.load, PeakMemory()

    def prepare(self, run: RunConfig) -> None:
        self._engine.prepare(run)
        self._memory.reset()

    def describe(self) -> dict[str, Any]:
        return {**self._engine.describe(), "device_peaks": self._memory.device_bytes()}

    def generate(self, prompts: Tokens, new_tokens: int) -> tuple[Tokens, list[float]]:
        stamps: list[float] = []  # perf_counter counts from one moment for all processes of a host

        def stamp(at_s: float | None = None) -> None:
            stamps.append(at_s or perf_counter())

        return self._engine.generate(prompts, new_tokens, stamp), stamps


def refuse_heads(shape: ModelShape | None, tp: int) -> None:
    """Raise Unsupported where a model's heads cannot be shared out among so many ranks."""
    if shape is None:
        raise Unsupported(f"framework.tp={tp}, but the heads of this model are not known to bench/roofline.py; use one rank")
    for heads, what in ((shape.heads, "attention heads"), (shape.kv_heads, "key and value heads")):
        if heads % tp:
            raise Unsupported(f"framework.tp={tp} does not divide the {heads} {what} of this model; use a divisor of {heads}")


def refuse_devices(run: RunConfig, tp: int) -> None:
    """Raise Unavailable where there is no GPU for each rank."""
    import torch

    if models.device_for(run.hardware.device, run.model.dtype) == "cuda" and torch.cuda.device_count() < tp:
        raise Unavailable(
            f"framework.tp={tp} needs a GPU for each rank, and there are {torch.cuda.device_count()}; use fewer ranks, or hardware=cpu"
        )


def enter(run: RunConfig, tp: int, rank: int) -> str:
    """Take this rank's share of the threads, and its device, whose name it returns."""
    import torch

    device = models.device_for(run.hardware.device, run.model.dtype)
    models.use_threads(run.hardware, tp if device == "cpu" else 1)
    if device == "cpu" or tp == 1:
        return device
    torch.cuda.set_device(rank)  # else the first GPU would hold a context of every rank
    return f"cuda:{rank}"


def join(tp: int, rank: int, store: str) -> None:
    """Meet the other ranks in the file `store`, and set what launchers tell their ranks in the environment."""
    import torch

    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(tp), "LOCAL_SIZE": str(tp)}
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    where: dict[str, Any] = {"init_method": f"file://{store}", "rank": rank, "world_size": tp}
    if torch.cuda.is_available():  # with its device, NCCL connects now, and not in the first repeat
        torch.distributed.init_process_group("nccl", device_id=torch.device("cuda", rank), **where)
    else:
        torch.distributed.init_process_group("gloo", **where)
    torch.distributed.barrier()
