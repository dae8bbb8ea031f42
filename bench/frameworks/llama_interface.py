"""What passes through llama.cpp's C interface: the tokens of a step, the sampler, and what it logs."""

from __future__ import annotations

import ctypes
import sys
from collections import deque
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.config import GenerationConfig
from bench.frameworks.base import Tokens

_WARNING, _ERROR = 3, 4  # levels of its log


class LlamaBatch:
    """A llama_batch of so many tokens of each sequence, which asks for the logits after the last of them."""

    def __init__(self, lib: Any, batch_size: int, tokens_each: int) -> None:
        size = batch_size * tokens_each
        self._tokens, self._positions = np.empty((2, size), np.int32)
        self._offsets = np.tile(np.arange(tokens_each, dtype=np.int32), batch_size)
        rows = np.repeat(np.arange(batch_size, dtype=np.int32), tokens_each)
        addresses = (rows.ctypes.data + rows.itemsize * np.arange(size)).astype(np.uintp)
        columns = {
            "token": self._tokens,
            "pos": self._positions,
            "n_seq_id": np.ones(size, np.int32),
            "seq_id": addresses,
            "logits": (self._offsets == tokens_each - 1).astype(np.int8),
        }
        self._kept = rows, columns  # the structure only points to them
        kinds = dict(lib.llama_batch._fields_)
        self.c = lib.llama_batch(n_tokens=size, **{name: column.ctypes.data_as(kinds[name]) for name, column in columns.items()})
        self.ends = range(tokens_each - 1, size, tokens_each)

    def fill(self, tokens: Tokens | NDArray[np.int64], position: int) -> None:
        """Take over [batch, tokens_each], which begin at this position of their sequences."""
        self._tokens[:] = tokens.ravel()
        np.add(self._offsets, position, out=self._positions)


def sampler(lib: Any, generation: GenerationConfig, seed: int) -> Any:
    """A llama_sampler; llama_sampler_free gives it back."""
    links = [lib.llama_sampler_init_greedy()]
    if generation.do_sample:
        links = [lib.llama_sampler_init_top_k(generation.top_k)] if generation.top_k else []
        links += [lib.llama_sampler_init_top_p(generation.top_p, 1), lib.llama_sampler_init_temp(generation.temperature)]
        links += [lib.llama_sampler_init_dist(seed % 2**32)]
    chain = lib.llama_sampler_chain_init(lib.llama_sampler_chain_default_params())
    for link in links:
        lib.llama_sampler_chain_add(chain, link)
    return chain


def listen(lib: Any, said: deque[str]) -> Any:
    """Print the library's warnings and errors, and keep them in `said`. What is returned must live as long as the library is used."""

    def hear(level: int, text: bytes, _: Any) -> None:
        if level in (_WARNING, _ERROR):
            said.append(text.decode(errors="replace").strip())
            print(said[-1], file=sys.stderr, flush=True)

    listener = lib.llama_log_callback(hear)
    lib.llama_log_set(listener, ctypes.c_void_p())
    return listener
