"""An engine that serves requests step by step, held to one batch: every sequence in every step, or it is told what happened instead."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from bench.config import Decode, RunConfig
from bench.frameworks.base import OnStep, Tokens

Step = Callable[[], Iterable[tuple[int, Sequence[int]]]]
"""One step of the engine: which rows of the batch got which tokens."""


@dataclass(frozen=True)
class Served:
    """What became of a batch: its tokens [batch, new_tokens], and the engine's steps for them."""

    tokens: Tokens
    prefill_steps: int  # until every sequence had its first token; 1: the whole batch was read at once
    steps: int

    def describe(self) -> dict[str, int]:
        return {"prefill_steps": self.prefill_steps, "steps": self.steps}


@dataclass(frozen=True)
class Room:
    """What an engine must hold at once."""

    sequences: int = 1
    prompt_tokens: int = 1  # of all of them
    tokens: int = 2  # of the longest one, prompt and output

    def and_for(self, run: RunConfig) -> Room:
        if run.is_search:  # it begins small
            return self
        # A window of steps may begin with a prompt nearly as long as the point, and its sequences are to begin together.
        longest = run.total_tokens if run.measure.decode is Decode.sampled else run.input_tokens
        needed = run.batch_size, run.batch_size * longest, run.total_tokens
        return Room(*map(max, zip((self.sequences, self.prompt_tokens, self.tokens), needed, strict=True)))


def serve(step: Step, unfinished: Callable[[], bool], batch_size: int, new_tokens: int, on_step: OnStep) -> Served:
    """Step until nothing is unfinished; on_step tells when the slowest sequence has its next token.

    Too few tokens are handed back as they are: the caller checks the shape. Raises MemoryError where a sequence that had begun
    was left out of a step: engines do that instead of failing when their cache is full, and what is lost is computed again.
    """
    got: list[list[int]] = [[] for _ in range(batch_size)]
    told = steps = prefill_steps = 0
    while unfinished():
        begun = all(got)
        served = set()
        for row, tokens in step():
            got[row].extend(tokens)
            served.add(row)
        steps += 1
        prefill_steps += not begun
        left_out = [row for row, tokens in enumerate(got) if len(tokens) < new_tokens and row not in served]
        if begun and served and left_out:
            raise MemoryError(f"step {steps} left out {len(left_out)} of {batch_size} sequences: the KV cache does not hold them all")
        # Where prompts take several steps, the first sequences may decode meanwhile: a step is done when every sequence has its token.
        for _ in range(told, told := min(map(len, got))):
            on_step()
    return Served(np.array([tokens[:told] for tokens in got], dtype=np.int64).reshape(batch_size, told), prefill_steps, steps)


def most_prefill_steps(batch_size: int, input_tokens: int, tokens_per_step: int) -> int:
    """Steps that the prompts of a batch take at most in an engine that reads so many tokens a step; more of them means that some waited.

    Sequences that are decoding meanwhile take one token each of what a step may read.
    """
    return -(-batch_size * input_tokens // max(1, tokens_per_step - batch_size))
