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

from bench.config import Dtype
from bench.frameworks.hf import HuggingFace
from bench.frameworks.hf import Settings as HfSettings
from bench.frameworks.pace import KVCacheType, Settings, SpecConfig
from bench.host.machine import cache_folder
from tests.engines import LLAMA, PROMPTS, SMALL, generated, loaded, point, save_pretrained

FAMILIES = ("llama", "opt", "qwen3", "phi3")


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
    (expected, _), (tokens, steps) = generated(exact), generated(pace32)
    return {
        "same_tokens": tokens == expected,
        "steps": steps,
        "error_fp32": float(np.abs(first_logprobs(pace32) - truth).max()),
        "error_bf16": error,
    }


def cache(kind: KVCacheType) -> dict[str, Any]:
    wide = {**LLAMA, "hidden_size": 128}  # PAGED has kernels from a head size of 32
    engine = loaded(point(Settings(name="pace", kv_cache_type=kind), wide, dtype=Dtype.bf16))
    return {"shape": list(np.shape(generated(engine)[0])), "backends": engine.describe()["backends"]}


def operators() -> dict[str, Any]:
    wanted = {"Norm": "NATIVE", "MLP": "NATIVE", "QKVProjection": "TPP", "LMHead": "NATIVE"}
    return dict(loaded(point(Settings(name="pace", llm_operators=wanted), dtype=Dtype.bf16)).describe()["backends"])


def speculation(folder: Path) -> dict[str, Any]:
    draft = save_pretrained(folder / "draft", {**LLAMA, "num_hidden_layers": 1}, vocab_size=512)
    spec = SpecConfig(model_name=str(draft), num_speculated_tokens=3, pard_token=5)
    drafted = loaded(point(Settings(name="pace", spec_config=spec), batch_size=1))
    plain = loaded(point(Settings(name="pace"), batch_size=1))
    (tokens, steps), (expected, _) = generated(drafted, 1), generated(plain, 1)
    return {"same_tokens": tokens == expected, "steps": steps, "accepted": drafted.describe()["accepted_tokens"]}


def main(out: Path) -> None:
    found = {
        "families": {name: family(SMALL[name]) for name in FAMILIES},
        "caches": {str(kind): cache(kind) for kind in KVCacheType},
        "operators": operators(),
        "speculation": speculation(out.parent),
        "saved_models": len(list((cache_folder() / "models").iterdir())),
    }
    out.write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
