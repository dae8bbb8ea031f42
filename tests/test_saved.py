"""Random models that engines read from folders: whole or not there, and never more of them than the cache may hold."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from bench.config import ModelConfig, Weights
from bench.errors import Unavailable
from bench.frameworks.pace import tokenizer_beside
from bench.frameworks.transformers import models, pretrained, saved
from tests.test_roofline import LLAMA

MODEL = ModelConfig(name="tiny", architecture=LLAMA)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def test_a_model_is_saved_once_and_found_again() -> None:
    folder = saved.folder_of(MODEL, seed=0)
    weights = next(folder.glob("*.safetensors")).stat()
    assert saved.folder_of(MODEL, seed=0) == folder
    assert next(folder.glob("*.safetensors")).stat().st_mtime_ns == weights.st_mtime_ns


def test_a_folder_without_a_tokenizer_is_a_model_for_every_engine_but_pace(tmp_path: Path) -> None:
    """Random prompts need none."""
    folder = tmp_path / "mine"
    models.build(MODEL, "cpu", seed=0).save_pretrained(folder)
    mine = ModelConfig(name="mine", weights=Weights.pretrained, path=str(folder))
    assert saved.folder_of(mine, seed=0) == folder
    with pytest.raises(Unavailable, match=r"PACE needs a tokenizer.*save one there, or set model.tokenizer"):
        tokenizer_beside(str(folder), None)
    assert tokenizer_beside(str(folder), "other") == "other"
    assert tokenizer_beside(str(saved.folder_of(MODEL, seed=0)), "other") is None


def test_a_save_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Unwritable:
        def save_pretrained(self, folder: Path) -> None:
            folder.mkdir(parents=True)
            (folder / "half").write_text("")
            raise OSError("no space left on device")

    monkeypatch.setattr(models, "build", lambda *_: Unwritable())
    with pytest.raises(OSError, match="no space"):
        saved.folder_of(MODEL, seed=0)
    assert list((tmp_path / "llm-bench-sweep" / "models").iterdir()) == []


def test_what_was_not_used_longest_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = (saved.folder_of(MODEL, seed) for seed in (0, 1))
    os.utime(first, (0, time.time() - 7200))
    monkeypatch.setattr(saved, "_MOST_BYTES", 1)
    third = saved.folder_of(MODEL, seed=2)
    assert [folder.is_dir() for folder in (first, second, third)] == [False, True, True]


def test_a_folder_without_weights_is_told_what_helps(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(Unavailable, match=r"no weights \(.*\); put them there, or choose a model of conf/model"):
        pretrained.check_folder(str(tmp_path))
