"""What PACE computes beside what transformers computes: run by test_pace.py in a process of its own.

PACE keeps the memory of every model, and importing it warns.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.config import Dtype, RunConfig
from bench.frameworks import saved
from bench.frameworks.hf import HuggingFace
from bench.frameworks.hf import Settings as HfSettings
from bench.frameworks.pace import KVCacheType, Pace, Settings, SpecConfig
from tests.engines import LLAMA, point, save_pretrained

OPT = {
    "model_type": "opt",
    "vocab_size": 512,
    "hidden_size": 64,
    "word_embed_proj_dim": 64,
    "ffn_dim": 256,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 256,
    "initializer_range": 0.1,
    "tie_word_embeddings": False,
}
PHI3 = {
    **LLAMA,
    "model_type": "phi3",
    "attention_bias": False,
    "mlp_bias": False,
    "original_max_position_embeddings": 256,
    "pad_token_id": 0,
}
FAMILIES: dict[str, dict[str, Any]] = {
    "llama": LLAMA,
    "opt": OPT,
    "qwen3": {**LLAMA, "model_type": "qwen3", "head_dim": 16},
    "phi3": PHI3,
}
PROMPTS = np.random.default_rng(0).integers(4, 512, (2, 12))
NEW_TOKENS = 6


def loaded(run: RunConfig) -> Any:
    engine = HuggingFace(run) if isinstance(run.framework, HfSettings) else Pace(run)
    engine.load()
    engine.prepare(run)
    return engine


def tokens_of(engine: Any, batch: int = 2) -> tuple[list[list[int]], int]:
    steps: list[float | None] = []
    tokens = engine.generate(PROMPTS[:batch], NEW_TOKENS, lambda at_s=None: steps.append(at_s))
    return tokens.tolist(), len(steps)


def first_logprobs(engine: Any) -> NDArray[np.float32]:
    import torch

    ids = torch.from_numpy(PROMPTS)
    if isinstance(engine, HuggingFace):
        with torch.no_grad():
            return np.asarray(torch.log_softmax(engine._model(ids).logits[:, -1].float(), -1))
    from pace.llm import SamplingConfig

    out = engine._llm.generate(ids, SamplingConfig(max_new_tokens=1, ignore_eos=True, return_logprobs=True))
    return np.asarray(out.logprobs.reshape(len(ids), -1))


def family(architecture: dict[str, Any]) -> dict[str, Any]:
    plain, fast = HfSettings(name="hf"), Settings(name="pace")
    exact = loaded(point(plain, architecture))
    pace32 = loaded(point(fast, architecture))
    truth = first_logprobs(exact)
    error = {
        name: float(np.abs(first_logprobs(loaded(point(settings, architecture, dtype=Dtype.bf16))) - truth).mean())
        for name, settings in (("pace", fast), ("hf", plain))
    }
    (expected, _), (tokens, steps) = tokens_of(exact), tokens_of(pace32)
    return {
        "same_tokens": tokens == expected,
        "steps": steps,
        "error_fp32": float(np.abs(first_logprobs(pace32) - truth).max()),
        "error_bf16": error,
    }


def cache(kind: KVCacheType) -> dict[str, Any]:
    wide = {**LLAMA, "hidden_size": 128}  # PAGED has kernels from a head size of 32
    engine = loaded(point(Settings(name="pace", kv_cache_type=kind), wide, dtype=Dtype.bf16))
    return {"shape": list(np.shape(tokens_of(engine)[0])), "backends": engine.describe()["backends"]}


def operators() -> dict[str, Any]:
    wanted = {"Norm": "NATIVE", "MLP": "NATIVE", "QKVProjection": "TPP", "LMHead": "NATIVE"}
    return dict(loaded(point(Settings(name="pace", llm_operators=wanted), dtype=Dtype.bf16)).describe()["backends"])


def speculation(folder: Path) -> dict[str, Any]:
    draft = save_pretrained(folder / "draft", {**LLAMA, "num_hidden_layers": 1}, vocab_size=512)
    spec = SpecConfig(model_name=str(draft), num_speculated_tokens=3, pard_token=5)
    drafted = loaded(point(Settings(name="pace", spec_config=spec), batch_size=1))
    plain = loaded(point(Settings(name="pace"), batch_size=1))
    (tokens, steps), (expected, _) = tokens_of(drafted, 1), tokens_of(plain, 1)
    return {"same_tokens": tokens == expected, "steps": steps, "accepted": drafted.describe()["accepted_tokens"]}


def main(out: Path) -> None:
    found = {
        "families": {name: family(architecture) for name, architecture in FAMILIES.items()},
        "caches": {str(kind): cache(kind) for kind in KVCacheType},
        "operators": operators(),
        "speculation": speculation(out.parent),
        "saved_models": len(list((saved.cache_folder()).iterdir())),
    }
    out.write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
