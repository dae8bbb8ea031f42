"""The one seam: what an inference engine must do to be measured."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from bench.config import RunConfig
from bench.errors import Unsupported
from bench.roofline import ModelShape

Tokens = NDArray[np.int64]
"""int64 [batch, tokens]"""


class OnStep(Protocol):
    """What `generate` calls once per decoding step, when that step's tokens exist on the host."""

    def __call__(self, at_s: float | None = None) -> None:
        """`at_s` is for an engine that only learns afterwards when a step was done: the reading of time.perf_counter then."""


class Framework(Protocol):
    """An inference engine under test. Created in the worker once for all points with one load key."""

    def __init__(self, run: RunConfig) -> None:
        """With the largest point of those that share the load key, as far as it is known: one that must make room does it for that."""

    def load(self) -> ModelShape | None:
        """Load the model once; every later point has the same load key. Raises Unsupported where it can't run here.

        None for a model whose sizes bench/roofline.py does not know: it is measured, and held against no ceiling.
        """

    def prepare(self, run: RunConfig) -> None:
        """Take over the generation settings and the seed of the next point, outside the measured time."""

    def generate(self, prompts: Tokens, new_tokens: int, on_step: OnStep) -> Tokens:
        """Generate from prompts [batch, prompt_tokens] and return [batch, new_tokens], whatever EOS says.

        Calls on_step once per decoding step; an engine without such a hook never calls it.
        """

    def describe(self) -> dict[str, Any]:
        """What the engine really uses, for the row: version, device, attention implementation, ..."""


def refuse_beams(run: RunConfig) -> None:
    """For engines that follow one sequence per prompt and always keep a KV cache. Raises Unsupported for anything else."""
    engine, search = f"framework={run.framework.name}", run.generation
    if search.num_beams > 1:
        raise Unsupported(f"generation.num_beams={search.num_beams}, but {engine} has no beam search; use generation=greedy or sample")
    if not search.use_cache:
        raise Unsupported(f"generation.use_cache=false, but {engine} always keeps a KV cache; leave it out")
