"""Logits of sharded models beside those of whole ones: `python -m tests.tp_logits OUT deepspeed_tp|hf RANKS`, run by the tests of both.

Process groups are kept in globals, so one process can only ever be one rank of one group.
"""

from __future__ import annotations

import json
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.config import Device, Dtype, FrameworkConfig, HardwareConfig, ModelConfig, RunConfig
from bench.frameworks.deepspeed_tp import FAMILIES, Settings, Shard
from bench.frameworks.hf import HuggingFace
from bench.frameworks.hf import Settings as HfSettings
from bench.frameworks.ranks import Ranks
from bench.frameworks.transformers import models, saved, tp_plan
from tests.engines import SMALL

PLANNED = ("llama", "qwen3", "mixtral", "phi3")


def run_of(family: str, framework: FrameworkConfig, dtype: Dtype = Dtype.fp32, **sizes: Any) -> RunConfig:
    return RunConfig(
        model=ModelConfig(name=family, architecture={**SMALL[family], **sizes}, dtype=dtype),
        framework=framework,
        hardware=HardwareConfig(device=Device.cpu, threads=1),
    )


class DeepSpeedRank(Shard):
    """A rank that tells its logits, for one model after the other."""

    def logits(self, run: RunConfig) -> tuple[NDArray[np.float32], int]:
        from bench.frameworks.transformers import shards

        model = shards.load(run, "cpu", self._settings.tp)
        return logits_of(model), models.count(model)


class HfRank(HuggingFace):
    def logits(self, run: RunConfig) -> tuple[NDArray[np.float32], int]:
        model = tp_plan.build(run)
        return logits_of(model), models.count(model)


def logits_of(model: Any) -> NDArray[np.float32]:
    import torch

    ids = torch.from_numpy(np.random.default_rng(0).integers(1, 512, (2, 24)))
    with torch.no_grad():
        logits: NDArray[np.float32] = model(ids).logits.float().numpy()
    return logits


def whole(run: RunConfig) -> Any:
    return models.build(run.model, "cpu", seed=0)


def compared(ranks: Ranks, run: RunConfig) -> dict[str, float]:
    model = whole(run)
    expected = logits_of(model)
    told = ranks.call("logits", run)
    return {
        "error": float(np.abs(told[0][0] - expected).max()),
        "scale": float(np.abs(expected).max()),
        "held": max(held for _, held in told) / models.count(model),
    }


def in_bf16(ranks: Ranks, framework: FrameworkConfig) -> dict[str, float]:
    exact, bf16 = run_of("llama", framework), run_of("llama", framework, Dtype.bf16)
    truth = logits_of(whole(exact))
    (sharded, _), _ = ranks.call("logits", bf16)
    return {
        "error": float(np.abs(sharded - truth).mean()),
        "error_of_hf": float(np.abs(logits_of(whole(bf16)) - truth).mean()),
    }


def by_deepspeed(ranks: Ranks, framework: FrameworkConfig, tp: int) -> dict[str, Any]:
    found = {family: compared(ranks, run_of(family, framework)) for family in (FAMILIES if tp == 2 else ("opt",))}
    if tp == 2:
        found["tied"] = compared(ranks, run_of("mpt", framework, tie_word_embeddings=True, vocab_size=4096))
        found["bf16"] = in_bf16(ranks, framework)
    return found


def main(out: Path, name: str, tp: int) -> None:
    by_plan = name == "hf"
    framework = HfSettings(name=name, tp=tp) if by_plan else Settings(name=name, tp=tp)
    if by_plan:  # as the framework does: once a process is a rank, transformers saves in rank 0 only
        for family in PLANNED:
            saved.folder_of(run_of(family, framework).model, seed=0)
    with tempfile.TemporaryDirectory() as meeting:
        first = run_of("llama" if by_plan else "opt", framework)
        ranks = Ranks(partial(HfRank if by_plan else DeepSpeedRank, first, str(Path(meeting) / "store")), tp)
        ranks.call("load")
        plans = {family: compared(ranks, run_of(family, framework)) for family in PLANNED} if by_plan else {}
        out.write_text(json.dumps(plans or by_deepspeed(ranks, framework, tp)))
        ranks.stop()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
