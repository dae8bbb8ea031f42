"""Streamers for `model.generate(..., streamer=...)` in your own scripts: time to first token, and time per token, at any batch size."""

from __future__ import annotations

import time
from itertools import pairwise
from typing import Any

from bench.measure.clock import Clock


class FirstTokenTimerStreamer:
    """Notes when the first token was on the host: `end_time_first_token - start_time` is the time to first token.

    `generate` hands over tokens that it has copied to the host, so that a GPU has finished them.
    """

    def __init__(self, clock: Clock = time.time) -> None:
        self._clock = clock
        self._prompt_seen = False
        self.end_time_first_token: float | None = None

    def put(self, _tokens: Any) -> None:
        if self._prompt_seen and self.end_time_first_token is None:
            self.end_time_first_token = self._clock()
        if not self._prompt_seen:
            self._prompt_seen, self.end_time_first_token = True, None

    def end(self) -> None:
        self._prompt_seen = False  # the next generation begins with its prompt


class TokenLatencyStreamer:
    """Notes when each step's tokens were on the host."""

    def __init__(self, clock: Clock = time.perf_counter) -> None:
        self._clock = clock
        self._ended = True
        self._times: list[float] = []

    def put(self, _tokens: Any) -> None:
        if self._ended:
            self._ended = False
            self._times.clear()
        self._times.append(self._clock())

    def end(self) -> None:
        self._ended = True

    def time_per_tokens(self) -> list[float]:
        """Seconds for each token of the last generation; the first counts from the prompt, so it holds the prefill."""
        return [later - earlier for earlier, later in pairwise(self._times)]
