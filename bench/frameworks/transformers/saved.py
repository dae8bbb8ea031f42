"""Random-weight models on disk, for engines that only read folders: saved once, and found again."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

from bench.config import ModelConfig, Weights, canonical_json
from bench.data import embedded_tokenizer
from bench.frameworks.transformers import models, pretrained
from bench.host.machine import cache_folder

# Raise it when the same seed gives other weights than before.
_WEIGHTS_VERSION = 1


def folder_of(model: ModelConfig, seed: int) -> Path:
    """A folder with this model's config, weights and tokenizer. Raises Unsupported."""
    if model.weights is Weights.pretrained:
        return pretrained.folder_of(model)
    what = {"architecture": model.architecture, "dtype": str(model.dtype), "seed": seed, "version": _WEIGHTS_VERSION}
    digest = hashlib.sha256(canonical_json(what).encode()).hexdigest()[:12]
    folder = cache_folder() / "models" / f"{model.family}-{digest}"
    if not folder.is_dir():
        _save(model, seed, folder)
    return folder


def _save(model: ModelConfig, seed: int, folder: Path) -> None:
    """Written under another name and renamed: whoever finds the folder finds it whole."""
    unfinished = folder.with_name(f".{folder.name}-{os.getpid()}")
    models.build(model, "cpu", seed).save_pretrained(unfinished)
    embedded_tokenizer().save_pretrained(unfinished)
    try:
        unfinished.rename(folder)
    except OSError:  # another worker was faster
        shutil.rmtree(unfinished)
