"""What engines that only read files are given: models made once, kept in the cache, found again, and given up for newer ones."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from bench.config import ModelConfig, Weights
from bench.data import embedded_tokenizer
from bench.frameworks.transformers import models, pretrained
from bench.host.machine import cache_folder
from bench.identity import digest

# Raise it when the same seed gives other weights than before.
_WEIGHTS_VERSION = 1
_MOST_BYTES = 64 * 2**30  # of all of them together
_IN_USE_S = 3600.0  # a folder that was asked for so recently may still be read


def folder_of(model: ModelConfig, seed: int) -> Path:
    """A folder with this model's config, weights and tokenizer. Raises Unsupported."""
    if model.weights is Weights.pretrained:
        return pretrained.folder_of(model)

    def write(folder: Path) -> None:
        models.build(model, "cpu", seed).save_pretrained(folder)
        embedded_tokenizer().save_pretrained(folder)

    return made_once("models", f"{model.family}-{{}}", identity(model, seed), write)


def identity(model: ModelConfig, seed: int) -> dict[str, Any]:
    """What decides the weights of a model, to name what is made of it."""
    if model.weights is Weights.pretrained:
        folder = pretrained.folder_of(model).resolve()
        return {"path": str(folder), "changed_ns": max(file.stat().st_mtime_ns for file in folder.iterdir()), "dtype": str(model.dtype)}
    return {"architecture": model.architecture, "dtype": str(model.dtype), "seed": seed, "version": _WEIGHTS_VERSION}


def made_once(kind: str, name: str, what: Mapping[str, Any], write: Callable[[Path], None]) -> Path:
    """The file or folder of this `kind` in the cache, its `name` with a hash of `what` in it; `write` makes it where it is not there yet.

    Written under another name and renamed: whoever finds it finds it whole.
    """
    path = cache_folder() / kind / name.format(digest(what))
    if path.exists():
        os.utime(path)  # when it was last asked for
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{os.getpid()}-{path.name}")
    try:
        write(unfinished)
        unfinished.rename(path)
    except OSError:
        if not path.exists():  # else another worker was faster
            raise
    finally:
        _remove(unfinished)
    with suppress(FileNotFoundError):  # another worker is at it, too
        _give_up_oldest(path.parent)
    return path


def _give_up_oldest(cache: Path) -> None:
    """Remove what was not asked for longest, until the rest is small enough, and what a killed process left unfinished."""
    made = sorted(cache.iterdir(), key=lambda path: path.stat().st_mtime)
    sizes = {path: sum(file.stat().st_size for file in (path, *path.rglob("*")) if file.is_file()) for path in made}
    total = sum(sizes.values())
    for path in made:
        idle = time.time() - path.stat().st_mtime > _IN_USE_S
        if idle and (total > _MOST_BYTES or path.name.startswith(".")):
            _remove(path)
            total -= sizes[path]


def _remove(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
