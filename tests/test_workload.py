"""Prompts have the exact length, are seeded, and hold no special tokens."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench.config import DataConfig, PromptSource, RunConfig
from bench.data import embedded_tokenizer, prose
from bench.errors import InvalidSetting, Unavailable
from bench.measure.workload import BenchMarkDataGenerator, prompts_for
from tests.conftest import TINY, fake_run

PROSE = DataConfig(source=PromptSource.prose)


def big_vocabulary(**settings: object) -> RunConfig:
    run = fake_run(**settings)
    return replace(run, model=replace(run.model, architecture={**TINY, "vocab_size": 8192, "bos_token_id": 1, "eos_token_id": 2}))


@pytest.mark.parametrize("data", [DataConfig(), PROSE], ids=["random", "prose"])
def test_prompts_have_the_exact_length_and_differ_between_rows_and_repeats(data: DataConfig) -> None:
    run = replace(big_vocabulary(batch_size=4, input_tokens=50), data=data)
    prompts = prompts_for(run)
    first = prompts("repeat", 1)
    assert first.shape == (4, 50)
    assert first.dtype == np.int64
    assert len({row.tobytes() for row in first}) == 4
    assert not np.array_equal(first, prompts("repeat", 2))
    assert not np.array_equal(first, prompts("warm-up", 1))


@pytest.mark.parametrize("data", [DataConfig(), PROSE], ids=["random", "prose"])
def test_the_same_seed_gives_every_framework_the_same_prompts(data: DataConfig) -> None:
    run = replace(big_vocabulary(batch_size=2, input_tokens=20), data=data)
    assert np.array_equal(prompts_for(run)("repeat", 3), prompts_for(replace(run, num_runs=9))("repeat", 3))
    assert not np.array_equal(prompts_for(run)("repeat", 3), prompts_for(replace(run, seed=1))("repeat", 3))


def test_random_prompts_hold_no_special_tokens_and_reach_the_whole_vocabulary() -> None:
    tokens = prompts_for(big_vocabulary(batch_size=64, input_tokens=200))("repeat", 1)
    assert tokens.min() >= 3
    assert tokens.max() < 8192
    assert tokens.max() > 8000


def test_the_embedded_tokenizer_gives_the_prose_back() -> None:
    tokenizer = embedded_tokenizer()
    text = prose()[0]
    assert text.startswith("Alice was beginning to get very tired")
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
    assert len(tokenizer) == 8192


def test_a_prompt_longer_than_the_data_goes_round(tmp_path: Path) -> None:
    file = tmp_path / "short.jsonl"
    file.write_text(json.dumps({"text": "a short text"}))
    run = replace(big_vocabulary(batch_size=2, input_tokens=100), data=DataConfig(source=PromptSource.dataset, path=str(file)))
    assert prompts_for(run)("repeat", 1).shape == (2, 100)


@pytest.mark.parametrize(
    ("suffix", "text"), [(".jsonl", '{"text": "one two"}\n{"text": "three"}'), (".txt", "one\ntwo"), (".csv", "text\nhello there\n")]
)
def test_local_datasets_are_read_by_their_ending(tmp_path: Path, suffix: str, text: str) -> None:
    file = tmp_path / f"data{suffix}"
    file.write_text(text)
    run = replace(big_vocabulary(input_tokens=8), data=DataConfig(source=PromptSource.dataset, path=str(file)))
    assert prompts_for(run)("repeat", 1).shape == (1, 8)


def test_a_missing_column_is_named_with_those_that_are_there_and_a_missing_file_too(tmp_path: Path) -> None:
    file = tmp_path / "data.jsonl"
    file.write_text('{"body": "one"}')
    run = replace(fake_run(), data=DataConfig(source=PromptSource.dataset, path=str(file)))
    with pytest.raises(InvalidSetting, match=r"data.column=text: .* has the columns body"):
        prompts_for(run)
    file.unlink()
    with pytest.raises(InvalidSetting, match=r"data.path=.*data.jsonl: there is no such file"):
        prompts_for(replace(run, seed=1, data=replace(run.data, column="other")))


def test_a_tokenizer_that_is_too_large_for_the_model_is_refused() -> None:
    with pytest.raises(InvalidSetting, match="more tokens than the 512 of tiny"):
        prompts_for(replace(fake_run(), data=PROSE))


def test_the_generator_goes_on_for_ever_with_batches_for_generate() -> None:
    real = BenchMarkDataGenerator(embedded_tokenizer(), input_tokens=16, batch_size=3, use_real_data=True)
    batches = [next(real) for _ in range(3)]
    assert all(batch["input_ids"].shape == batch["attention_mask"].shape == (3, 16) for batch in batches)
    assert not batches[0]["input_ids"].equal(batches[1]["input_ids"])
    random = BenchMarkDataGenerator(embedded_tokenizer(), input_tokens=16, batch_size=3, use_real_data=False)
    assert next(random)["input_ids"].equal(next(random)["input_ids"])


def test_an_environment_without_datasets_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    run = replace(fake_run(), data=DataConfig(source=PromptSource.dataset, path=str(tmp_path / "texts.txt")))
    with pytest.raises(Unavailable, match=r"lacks; pip install it there, or use data=prose"):
        prompts_for(run)
