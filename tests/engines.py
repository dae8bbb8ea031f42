"""What the tests of the engines share: a small model, and measuring it in a real worker."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.config import Device, Dtype, FrameworkConfig, HardwareConfig, ModelConfig, RunConfig, Weights
from bench.measure.point import Measurement
from bench.sweep.resident import ResidentWorker, Slot

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


def point(framework: FrameworkConfig, architecture: dict[str, Any] | None = None, **settings: Any) -> RunConfig:
    """A point on the CPU; `dtype` and `path` go to the model, the rest to the point."""
    path = settings.pop("path", None)
    model = ModelConfig(
        name="small",
        architecture={} if path else dict(architecture or LLAMA),
        dtype=settings.pop("dtype", Dtype.fp32),
        weights=Weights.pretrained if path else Weights.random,
        path=str(path) if path else None,
    )
    settings = {"input_tokens": 12, "output_tokens": 6, "batch_size": 2, "num_runs": 2, "warmup_runs": 1, "timeout_s": 120.0, **settings}
    return RunConfig(model=model, framework=framework, hardware=HardwareConfig(device=Device.cpu, threads=1), **settings)


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
    from bench.frameworks import models

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
