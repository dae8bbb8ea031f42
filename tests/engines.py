"""What the tests of the engines share: a small model, and measuring it in a real worker."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bench.config import Device, Dtype, FrameworkConfig, HardwareConfig, ModelConfig, RunConfig, Weights
from bench.frameworks import make_framework
from bench.host.devices import Slot
from bench.measure.point import Measurement
from bench.worker.resident import ResidentWorker

LLAMA = {
    "model_type": "llama",
    "vocab_size": 512,
    "hidden_size": 64,
    "intermediate_size": 160,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "tie_word_embeddings": False,
    # Wide: with the usual 0.02, a small model's logits are all but equal, and rounding decides which is the largest.
    "initializer_range": 0.2,
}
SMALL: dict[str, dict[str, Any]] = {
    "llama": LLAMA,
    "mpt": {"d_model": 64, "n_layers": 2, "n_heads": 4, "max_seq_len": 512},
    "falcon": {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_kv_heads": 2, "new_decoder_architecture": True},
    "opt": {
        "hidden_size": 64,
        "word_embed_proj_dim": 64,
        "ffn_dim": 256,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": 256,
    },
    "qwen3": {**LLAMA, "head_dim": 16},
    "mixtral": {**LLAMA, "num_local_experts": 4},
    "phi3": {**LLAMA, "pad_token_id": 0, "original_max_position_embeddings": 256, "attention_bias": False, "mlp_bias": False},
}
SMALL = {
    family: {"initializer_range": 0.1, "tie_word_embeddings": False, **sizes, "model_type": family, "vocab_size": 512}
    for family, sizes in SMALL.items()
}
PROMPTS = np.random.default_rng(0).integers(4, 512, (2, 12))
NEW_TOKENS = 6


def point(framework: FrameworkConfig, architecture: dict[str, Any] | None = None, **settings: Any) -> RunConfig:
    """A point on the CPU; `dtype` and `path` go to the model, `threads` to the hardware, the rest to the point."""
    path, hardware = settings.pop("path", None), HardwareConfig(device=Device.cpu, threads=settings.pop("threads", 1))
    model = ModelConfig(
        name="small",
        architecture={} if path else dict(architecture or LLAMA),
        dtype=settings.pop("dtype", Dtype.fp32),
        weights=Weights.pretrained if path else Weights.random,
        path=str(path) if path else None,
    )
    settings = {"input_tokens": 12, "output_tokens": 6, "batch_size": 2, "num_runs": 2, "warmup_runs": 1, "timeout_s": 120.0, **settings}
    return RunConfig(model=model, framework=framework, hardware=hardware, **settings)


def loaded(run: RunConfig) -> Any:
    """The engine of this point in this process, ready to generate."""
    engine = make_framework(run)
    engine.load()
    engine.prepare(run)
    return engine


def generated(engine: Any, batch_size: int = 2) -> tuple[list[list[int]], int]:
    """The tokens after PROMPTS, and how many steps were told."""
    steps: list[float | None] = []
    tokens = engine.generate(PROMPTS[:batch_size], NEW_TOKENS, lambda at_s=None: steps.append(at_s))
    assert tokens.shape == (batch_size, NEW_TOKENS)
    return tokens.tolist(), len(steps)


def measured(run: RunConfig, folder: Path, on_repeat: Callable[[ResidentWorker], None] = lambda _: None) -> Measurement:
    """Measure a point as a sweep does it. Raises JobLost."""
    worker = ResidentWorker(run, folder / "log", Slot())
    try:
        worker.load(run)
        return worker.measure(run, lambda *_: on_repeat(worker))
    finally:
        worker.close()


def save_pretrained(folder: Path, architecture: dict[str, Any] | None = None, vocab_size: int = 8192) -> Path:
    """Save a model with random weights, and the embedded tokenizer, as save_pretrained leaves it."""
    from bench.data import embedded_tokenizer
    from bench.frameworks.transformers import models

    sizes = {**(architecture or LLAMA), "vocab_size": vocab_size}
    models.build(ModelConfig(name="saved", architecture=sizes), "cpu", seed=3).save_pretrained(folder)
    embedded_tokenizer().save_pretrained(folder)
    return folder


def sharded_logits(folder: Path, framework: str, tp: int) -> dict[str, Any]:
    """What tests/tp_logits.py finds, in a process of its own: per family, the error of the shards and the share that a rank holds."""
    out = folder / "logits.json"
    command = [sys.executable, "-m", "tests.tp_logits", str(out), framework, str(tp)]
    subprocess.run(command, check=True, capture_output=True, timeout=300, env={**os.environ, "XDG_CACHE_HOME": str(folder)})
    told: dict[str, Any] = json.loads(out.read_text())
    return told
