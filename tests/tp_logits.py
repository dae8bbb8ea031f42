"""Logits of sharded models beside those of whole ones: run by test_deepspeed_tp.py in a process of its own.

DeepSpeed keeps its process group in globals, so one process can only ever be one rank of one group.
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

from bench.config import Device, Dtype, HardwareConfig, ModelConfig, RunConfig
from bench.frameworks import models
from bench.frameworks.deepspeed_tp import Rank, Settings
from bench.frameworks.ranks import Ranks

SIZES: dict[str, dict[str, Any]] = {
    "llama": {"hidden_size": 64, "intermediate_size": 160, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2},
    "mpt": {"d_model": 64, "n_layers": 2, "n_heads": 4, "max_seq_len": 512},
    "falcon": {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_kv_heads": 2, "new_decoder_architecture": True},
    "opt": {"hidden_size": 64, "word_embed_proj_dim": 64, "ffn_dim": 256, "num_hidden_layers": 2, "num_attention_heads": 4},
    "qwen3": {
        "hidden_size": 64,
        "intermediate_size": 160,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
    },
}


def run_of(family: str, dtype: Dtype = Dtype.fp32, tp: int = 2) -> RunConfig:
    # A wide initializer: with the usual one, a small model's logits are all but equal, and so is any error.
    architecture = {"model_type": family, "vocab_size": 512, "initializer_range": 0.1, "tie_word_embeddings": False, **SIZES[family]}
    return RunConfig(
        model=ModelConfig(name=family, architecture=architecture, dtype=dtype),
        framework=Settings(name="deepspeed_tp", tp=tp),
        hardware=HardwareConfig(device=Device.cpu, threads=1),
    )


class LogitsRank(Rank):
    """A rank that tells its logits, for one model after the other."""

    def logits(self, run: RunConfig, ids: NDArray[np.int64]) -> tuple[NDArray[np.float32], int]:
        from bench.frameworks import shards

        model = shards.load(run, "cpu", 2, kernel_inject=False)
        return logits_of(model, ids), models.count(model)


def logits_of(model: Any, ids: NDArray[np.int64]) -> NDArray[np.float32]:
    import torch

    with torch.no_grad():
        logits: NDArray[np.float32] = model(torch.from_numpy(ids)).logits.float().numpy()
    return logits


def main(out: Path) -> None:
    ids = np.random.default_rng(0).integers(1, 512, (2, 24))
    first = run_of("llama")
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as meeting:
        ranks = Ranks(partial(LogitsRank, first, "cpu", str(Path(meeting) / "store")), 2)
        ranks.call("load")
        for family in SIZES:
            whole = models.build(run_of(family).model, "cpu", seed=0)
            expected = logits_of(whole, ids)
            (sharded, held), _ = ranks.call("logits", run_of(family), ids)
            found[family] = {
                "error": float(np.abs(sharded - expected).max()),
                "scale": float(np.abs(expected).max()),
                "held": held / models.count(whole),
            }
        bf16 = run_of("llama", Dtype.bf16)
        exact = logits_of(models.build(first.model, "cpu", seed=0), ids)
        (sharded, _), _ = ranks.call("logits", bf16, ids)
        plain = logits_of(models.build(bf16.model, "cpu", seed=0), ids)
        found["bf16"] = {"error": float(np.abs(sharded - exact).mean()), "error_of_hf": float(np.abs(plain - exact).mean())}
        ranks.stop()
    out.write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
