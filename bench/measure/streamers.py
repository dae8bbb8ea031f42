"""Streamers for `model.generate(..., streamer=...)` in your own scripts: time to first token, and time per token, at any batch size."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

Clock = Callable[[], float]
"""Seconds since some fixed moment."""


class TokenLatencyStreamer:
    """Notes when each step's tokens were on the host: `generate` hands them over when they are."""

    def __init__(self, clock: Clock = time.perf_counter) -> None:
        self._clock = clock
        self._ended = True
        self._times: list[float] = []  # of the prompt, then of each step

    def put(self, _tokens: Any) -> None:
        if self._ended:  # the prompt of the next generation
            self._ended = False
            self._times.clear()
        self._times.append(self._clock())

    def end(self) -> None:
        self._ended = True

    def time_per_tokens(self) -> list[float]:
        """Seconds for each token of the last generation; the first counts from the prompt, so it holds the prefill."""
        return [later - earlier for earlier, later in pairwise(self._times)]


class FirstTokenTimerStreamer(TokenLatencyStreamer):
    """`end_time_first_token - start_time` is the time to first token; None before there is one."""

    def __init__(self, clock: Clock = time.time) -> None:
        super().__init__(clock)

    @property
    def end_time_first_token(self) -> float | None:
        return self._times[1] if len(self._times) > 1 else None
