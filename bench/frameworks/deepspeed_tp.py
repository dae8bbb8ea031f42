"""DeepSpeed's automatic tensor parallelism: each rank holds its shard of every layer, on a CPU share or a GPU of its own."""

from __future__ import annotations

import fcntl
import importlib.util
import os
import tempfile
import zlib
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

from bench.config import FrameworkConfig, RunConfig
from bench.errors import InvalidSetting, Unsupported
from bench.frameworks import models
from bench.frameworks.base import OnStep, Tokens
from bench.frameworks.generate import generate
from bench.frameworks.ranks import Ranks
from bench.roofline import ModelShape

# Families whose shards were compared with the whole model; AutoTP takes others too, and gets some of them wrong.
FAMILIES = ("llama", "mpt", "falcon", "opt", "qwen3")


class Collectives(StrEnum):
    gloo = "gloo"
    shm = "shm"  # DeepSpeed's own, over shared memory; compiled at the first use, which takes a minute and a C++ compiler


@dataclass
class Settings(FrameworkConfig):
    tp: int = 1  # ranks that share each layer
    collectives: Collectives = Collectives.gloo  # between ranks on the CPU; on GPUs it is always NCCL
    kernel_inject: bool = False  # replace layers by DeepSpeed's fused kernels; unsupported where it has none

    def check(self, run: RunConfig) -> None:
        if self.tp < 1:
            raise InvalidSetting("framework.tp", self.tp, "must be at least 1; 1 means no tensor parallelism")


class DeepSpeedTP:
    def __init__(self, run: RunConfig) -> None:
        self._run = run

    @property
    def _settings(self) -> Settings:
        assert isinstance(self._run.framework, Settings)
        return self._run.framework

    def load(self) -> ModelShape:
        if importlib.util.find_spec("deepspeed") is None:
            raise Unsupported("framework=deepspeed_tp needs DeepSpeed, which is not installed; pip install 'llm-bench-sweep[deepspeed]'")
        models.quiet()
        config = models.config_of(self._run.model)
        self._shape = models.shape_from(config, models.count_on_meta(config))
        refuse(self._shape, self._settings, config)
        self._device = self._device_of_every_rank()
        with tempfile.TemporaryDirectory(prefix="bench-ranks-") as meeting:
            make_rank = partial(Rank, self._run, self._device, str(Path(meeting) / "store"))
            self._ranks = Ranks(make_rank, self._settings.tp)
            self._built: list[dict[str, Any]] = self._ranks.call("load")
        return self._shape

    def prepare(self, run: RunConfig) -> None:
        self._run = run
        self._ranks.call("prepare", run)

    def generate(self, prompts: Tokens, new_tokens: int, on_step: OnStep) -> Tokens:
        results = self._ranks.call("generate", prompts, new_tokens)
        digests = {zlib.crc32(tokens.tobytes()) for tokens, _ in results}
        if len(digests) > 1:
            raise RuntimeError("the ranks generated different tokens: they no longer work on one model")
        for stamps in zip(*(steps for _, steps in results), strict=True):
            on_step(max(stamps))  # a step is done when its slowest rank is
        tokens: Tokens = results[0][0]
        return tokens

    def unload(self) -> None:
        self._ranks.stop()

    def describe(self) -> dict[str, Any]:
        import deepspeed
        import torch
        import transformers

        return {
            "framework_version": deepspeed.__version__,
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "device": models.device_name(self._device),
            "n_devices": self._settings.tp if self._device == "cuda" else 1,
            "threads": torch.get_num_threads(),  # of each rank
            **self._built[0],
            "shard_params": [built["shard_params"] for built in self._built],
        }

    def _device_of_every_rank(self) -> str:
        import torch

        device = models.device_for(self._run.hardware.device, self._run.model.dtype)
        if device == "cuda" and torch.cuda.device_count() < self._settings.tp:
            raise Unsupported(
                f"framework.tp={self._settings.tp} needs a GPU for each rank, and there are {torch.cuda.device_count()}; "
                "use fewer ranks, or hardware=cpu"
            )
        return device


def refuse(shape: ModelShape, settings: Settings, config: Any) -> None:
    """Raise Unsupported for a model that cannot be split over so many ranks."""
    tp = settings.tp
    if tp == 1:
        return
    if shape.family not in FAMILIES:
        raise Unsupported(f"DeepSpeed's tensor parallelism is not known to be right for {shape.family}; it is for {', '.join(FAMILIES)}")
    if shape.family == "falcon" and not config.new_decoder_architecture:
        raise Unsupported(
            "DeepSpeed splits the one key and value head of a multi-query Falcon among its ranks, which cannot work; "
            "use framework.tp=1, or a Falcon of the new decoder architecture"
        )
    for heads, what in ((shape.heads, "attention heads"), (shape.kv_heads, "key and value heads")):
        if heads % tp:
            raise Unsupported(f"framework.tp={tp} does not divide the {heads} {what} of this model; use a divisor of {heads}")


class Rank:
    """What one rank does, in its own process."""

    def __init__(self, run: RunConfig, device: str, store: str, rank: int) -> None:
        assert isinstance(run.framework, Settings)
        self._run, self._settings, self._store, self._rank = run, run.framework, store, rank
        self._device = f"cuda:{rank}" if device == "cuda" else "cpu"

    def load(self) -> dict[str, Any]:
        """Load this rank's shard, and tell what it became."""
        models.quiet()
        models.use_threads(self._run.hardware, self._settings.tp if self._device == "cpu" else 1)
        self._join()
        from bench.frameworks import shards

        self._model = shards.load(self._run, self._device, self._settings.tp, self._settings.kernel_inject)
        return {
            "attention": self._model.config._attn_implementation,
            "collectives": "nccl" if self._device != "cpu" else str(self._settings.collectives),
            "shard_params": models.count(self._model),
        }

    def prepare(self, run: RunConfig) -> None:
        import torch

        self._run = run
        torch.manual_seed(run.seed)

    def generate(self, prompts: Tokens, new_tokens: int) -> tuple[Tokens, list[float]]:
        stamps: list[float] = []  # perf_counter counts from one moment for all processes of a host

        def stamp(at_s: float | None = None) -> None:
            stamps.append(at_s or perf_counter())

        return generate(self._model, prompts, new_tokens, stamp, self._run.generation), stamps

    def _join(self) -> None:
        """Meet the other ranks. What DeepSpeed asks of its launcher in the environment is set here."""
        world = str(self._settings.tp)
        os.environ |= {"RANK": str(self._rank), "LOCAL_RANK": str(self._rank), "WORLD_SIZE": world, "LOCAL_SIZE": world}
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(zlib.crc32(self._store.encode()) % 65536)}
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
        if self._device == "cpu":
            os.environ["DS_ACCELERATOR"] = "cpu"
        import deepspeed
        import torch

        if self._settings.tp == 1:
            return
        if self._device == "cpu":
            deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = self._settings.collectives is Collectives.shm
        if self._device == "cpu" and self._settings.collectives is Collectives.shm:
            _compile_collectives()
        backend = "nccl" if self._device != "cpu" else "gloo"
        deepspeed.init_distributed(
            backend, auto_mpi_discovery=False, init_method=f"file://{self._store}", rank=self._rank, world_size=self._settings.tp
        )
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
