"""DeepSpeed's automatic tensor parallelism: each rank holds its shard of every layer, on a CPU share or a GPU of its own."""

from __future__ import annotations

import fcntl
import importlib.util
import os
import zlib
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Optional

from bench.config import Abilities, FrameworkConfig, RunConfig
from bench.errors import MissingExtra, Unsupported
from bench.frameworks.base import Framework, OnStep, Tokens
from bench.frameworks.transformers import models
from bench.frameworks.transformers.generate import generate
from bench.frameworks.transformers.parallel import Parallel, enter, join, refuse_devices, refuse_heads
from bench.roofline import ModelShape

# Families whose shards were compared with the whole model; AutoTP takes others too, and gets some of them wrong.
FAMILIES = ("llama", "mpt", "falcon", "opt", "qwen3")


class Collectives(StrEnum):
    gloo = "gloo"
    shm = "shm"  # DeepSpeed's own, over shared memory; compiled at the first use, which takes a minute and a C++ compiler


@dataclass
class Settings(FrameworkConfig):
    can: ClassVar[Optional[Abilities]] = Abilities("LLaMA, MPT, Falcon (new decoder), OPT, Qwen3", beams="yes", tp="yes")
    tp: int = 1  # ranks that share each layer
    collectives: Collectives = Collectives.gloo  # between ranks on the CPU; on GPUs it is always NCCL

    @property
    def packages(self) -> tuple[str, ...]:
        return "torch", "transformers", "deepspeed"


def engine(run: RunConfig) -> Framework:
    assert isinstance(run.framework, Settings)
    return Parallel(partial(Shard, run), run.framework.tp, partial(_refuse_early, run, run.framework))


def _refuse_early(run: RunConfig, settings: Settings) -> None:
    if importlib.util.find_spec("deepspeed") is None:
        raise MissingExtra("framework=deepspeed_tp", "DeepSpeed", "deepspeed")
    models.quiet()
    config = models.config_of(run.model)
    refuse(models.shape_from(config), settings, config)
    refuse_devices(run, settings.tp)


def refuse(shape: ModelShape | None, settings: Settings, config: Any) -> None:
    """Raise Unsupported for a model that cannot be split over so many ranks."""
    tp = settings.tp
    if tp == 1:
        return
    family = shape.family if shape else config.model_type
    if shape is None or family not in FAMILIES:
        raise Unsupported(
            f"framework.tp={tp}, but DeepSpeed's tensor parallelism is not known to be right for {family}, "
            f"only for {', '.join(FAMILIES)}; use framework.tp=1, or framework=hf"
        )
    if shape.family == "falcon" and not config.new_decoder_architecture:
        raise Unsupported(
            f"framework.tp={tp}, but DeepSpeed splits the one key and value head of a multi-query Falcon, which cannot work; "
            "use framework.tp=1, or a Falcon of the new decoder architecture"
        )
    refuse_heads(shape, tp)


class Shard:
    """What one rank does, in its own process."""

    def __init__(self, run: RunConfig, store: str, rank: int) -> None:
        assert isinstance(run.framework, Settings)
        self._run, self._settings, self._store, self._rank = run, run.framework, store, rank

    def load(self) -> ModelShape | None:
        models.quiet()
        self._device = enter(self._run, self._settings.tp, self._rank)
        self._join()
        from bench.frameworks.transformers import shards

        self._model = shards.load(self._run, self._device, self._settings.tp)
        config = models.config_of(self._run.model)
        return models.counted_shape(config)

    def prepare(self, run: RunConfig) -> None:
        import torch

        self._run = run
        torch.manual_seed(run.seed)

    def generate(self, prompts: Tokens, new_tokens: int, on_step: OnStep) -> Tokens:
        return generate(self._model, prompts, new_tokens, on_step, self._run)

    def describe(self) -> dict[str, Any]:
        import deepspeed
        import transformers

        return {
            **models.surroundings(self._device),  # with the threads of each rank
            "framework_version": deepspeed.__version__,
            "transformers": transformers.__version__,
            "attention": self._model.config._attn_implementation,
            "collectives": "nccl" if self._device != "cpu" else str(self._settings.collectives),
            "shard_params": models.count(self._model),
        }

    def _join(self) -> None:
        """Meet the other ranks, and let DeepSpeed know."""
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(zlib.crc32(self._store.encode()) % 65536)}
        if self._device == "cpu":
            os.environ["DS_ACCELERATOR"] = "cpu"
        if self._settings.tp == 1:
            return
        join(self._settings.tp, self._rank, self._store)
        import deepspeed
        import torch

        if self._device == "cpu":
            shm = self._settings.collectives is Collectives.shm
            deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = shm
            if shm:
                _compile_collectives()
        deepspeed.init_distributed()
        torch.distributed.barrier()
        _unlink_shared_memory()


def _compile_collectives() -> None:
    """Compile DeepSpeed's collectives, or find them compiled.

    Whoever is killed while torch compiles leaves torch's lock behind, and all later processes wait for it for ever.
    A lock of the kernel's dies with its holder: while we have it, a lock of torch's is a dead one.
    """
    from deepspeed.accelerator import get_accelerator
    from torch.utils.cpp_extension import _get_build_directory

    folder = Path(_get_build_directory("deepspeed_shm_comm", verbose=False))
    with (folder / "bench.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        (folder / "lock").unlink(missing_ok=True)
        get_accelerator().create_op_builder("ShareMemCommBuilder").load()


def _unlink_shared_memory() -> None:
    """Take the names of the shared buffers away as soon as every rank has opened them: no crash can leave them behind."""
    prefix = f"deepspeed_allreduce_buffer_{os.getuid()}_{os.environ['MASTER_ADDR']}_{os.environ['MASTER_PORT']}"
    for file in Path("/dev/shm").glob(f"{prefix}_{os.environ['RANK']}*"):
        file.unlink(missing_ok=True)
