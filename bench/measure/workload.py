"""Prompts of exact length: random tokens, the embedded prose, or a dataset; seeded, so that every framework gets the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.random import Generator, default_rng
from numpy.typing import NDArray

from bench.config import DataConfig, PromptSource, RunConfig, Weights
from bench.data import embedded_tokenizer, prose
from bench.errors import InvalidSetting, Unavailable
from bench.frameworks.base import Tokens
from bench.frameworks.transformers import models

Prompts = Callable[[str, int], Tokens]
"""The prompts of ("warm-up" or "repeat", number): int64 [batch, prompt_tokens].

Each repeat has its own, so that no cached prefix can help it, and gets the same in every framework.
"""


def prompts_for(run: RunConfig) -> Prompts:
    """Raises InvalidSetting where the dataset or its text column cannot be found."""
    shape = (run.batch_size, run.input_tokens)
    if run.data.source is PromptSource.random:
        allowed = _ordinary_tokens(run)
        return lambda kind, number: _rng(run, kind, number).choice(allowed, shape)
    corpus = _corpus(run)
    return lambda kind, number: cut(corpus, shape, _rng(run, kind, number))


def cut(corpus: NDArray[np.int64], shape: tuple[int, int], rng: Generator) -> Tokens:
    """Passages [batch, tokens] that start at different places of `corpus`, and go round at its end."""
    batch, length = shape
    starts = rng.choice(len(corpus), batch, replace=batch > len(corpus))
    return corpus.take(starts[:, None] + np.arange(length), mode="wrap")


class BenchMarkDataGenerator:
    """An endless iterator of batches for `model.generate(**batch)`: {"input_ids", "attention_mask"}, each [batch, input_tokens].

    Real data is a random batch of passages each time; random data is drawn once and reused.
    """

    def __init__(self, tokenizer: Any, input_tokens: int, batch_size: int, use_real_data: bool = True, seed: int = 0) -> None:
        self._shape = (batch_size, input_tokens)
        self._rng = default_rng(seed)
        self._corpus = tokenize(tokenizer, prose()) if use_real_data else None
        allowed = _without(len(tokenizer), frozenset(tokenizer.all_special_ids))
        self._drawn = None if use_real_data else self._rng.choice(allowed, self._shape)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return self

    def __next__(self) -> dict[str, Any]:
        import torch

        tokens = self._drawn if self._corpus is None else cut(self._corpus, self._shape, self._rng)
        ids = torch.tensor(tokens)
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def tokenize(tokenizer: Any, texts: list[str]) -> NDArray[np.int64]:
    """All texts in a row, as ids [tokens], without special tokens."""
    ids = tokenizer("\n\n".join(texts), add_special_tokens=False, verbose=False)["input_ids"]
    return np.asarray(ids, dtype=np.int64)


def _rng(run: RunConfig, kind: str, number: int) -> Generator:
    return default_rng((run.seed, run.batch_size, run.input_tokens, kind == "repeat", number))


@lru_cache
def _without(vocab: int, special: frozenset[int]) -> NDArray[np.int64]:
    tokens = np.arange(vocab, dtype=np.int64)
    return tokens[~np.isin(tokens, list(special))]


def _ordinary_tokens(run: RunConfig) -> NDArray[np.int64]:
    """Every token id that the prompts may hold: the model's vocabulary without the special ones that its config names."""
    sizes = run.model.architecture
    if "vocab_size" not in sizes:  # a family's default, a model from the hub, or one that also sees or hears
        config = models.config_of(run.model)
        sizes = {**config.to_dict(), **config.get_text_config().to_dict()}
    if not isinstance(vocab := sizes.get("vocab_size"), int) or vocab < 1:
        raise InvalidSetting("model.architecture.vocab_size", vocab, "random prompts need the number of tokens; set it, or use data=prose")
    named = [token for key, token in sizes.items() if key.endswith("_token_id")]
    special = {token for each in named for token in (each if isinstance(each, list) else [each]) if isinstance(token, int)}
    allowed = _without(vocab, frozenset({0} | special))  # 0 is special in nearly every vocabulary
    return allowed if allowed.size else np.arange(vocab, dtype=np.int64)


@lru_cache
def _tokenizer(name: str | None, trust_remote_code: bool) -> Any:
    if name is None:
        return embedded_tokenizer()
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(name, trust_remote_code=trust_remote_code)
    except (OSError, ValueError) as error:
        raise InvalidSetting(
            "model.tokenizer",
            name,
            f"cannot be loaded ({' '.join(str(error).split())[:120]}...); name a hub id or a folder with tokenizer.json",
        ) from error


def _corpus(run: RunConfig) -> NDArray[np.int64]:
    model = run.model
    # With random weights, the embedded tokenizer does: it only has to fit the vocabulary.
    name = model.tokenizer or (model.path if model.weights is Weights.pretrained else None)
    corpus = _tokenized(run.data, name, model.trust_remote_code)
    vocab = model.architecture.get("vocab_size")
    if vocab is not None and corpus.max(initial=0) >= vocab:
        raise InvalidSetting(
            "model.tokenizer", model.tokenizer, f"has more tokens than the {vocab} of {model.name}; choose its own tokenizer"
        )
    return corpus


@lru_cache  # tokenising takes longer than many a repeat, and the points of a sweep share their data
def _tokenized(data: DataConfig, tokenizer: str | None, trust_remote_code: bool) -> NDArray[np.int64]:
    texts = prose() if data.source is PromptSource.prose else _dataset_texts(data)
    return tokenize(_tokenizer(tokenizer, trust_remote_code), texts)


_LOCAL_FORMATS = {".jsonl": "json", ".json": "json", ".csv": "csv", ".parquet": "parquet", ".txt": "text"}


def _dataset_texts(data: DataConfig) -> list[str]:
    rows = _load_dataset(data)
    if data.column not in rows.column_names:
        columns = ", ".join(rows.column_names)
        raise InvalidSetting(
            "data.column", data.column, f"{data.path} has the columns {columns}; set data.column to the one that holds the text"
        )
    texts = [text for text in rows[data.column] if isinstance(text, str) and text.strip()]
    if not texts:
        raise InvalidSetting("data.column", data.column, f"holds no text in {data.path}; choose another column or split")
    return texts


def _load_dataset(data: DataConfig) -> Any:
    try:
        import datasets
    except ImportError as error:
        problem = "data=dataset needs the package datasets, which the environment of this engine lacks"
        raise Unavailable(f"{problem}; pip install it there, or use data=prose") from error
    datasets.disable_progress_bars()
    assert data.path is not None
    kind = _LOCAL_FORMATS.get(Path(data.path).suffix)
    if kind and not Path(data.path).is_file():
        raise InvalidSetting("data.path", data.path, "there is no such file; name one that is there, or a hub dataset while online")
    try:
        if kind:
            return datasets.load_dataset(kind, data_files=data.path, split=data.split)
        return datasets.load_dataset(data.path, data.subset, split=data.split)
    except Exception as error:  # storage and network layers of all kinds lie below
        reason = f"{type(error).__name__}: {error}"
        problem = f"cannot be loaded ({reason}); name a hub dataset while online, or a local {', '.join(_LOCAL_FORMATS)}"
        raise InvalidSetting("data.path", data.path, problem) from error
