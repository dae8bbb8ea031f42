"""Ranks work as one: all are asked, any error is told once, and nobody waits for ever."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from bench.frameworks.ranks import RankFailed, Ranks
from tests.conftest import ROOT


class Toy:
    def __init__(self, rank: int) -> None:
        self.rank = rank

    def double(self, number: int) -> int:
        return self.rank * 100 + 2 * number

    def fail(self, *ranks: int) -> str:
        if self.rank in ranks:
            raise ValueError(f"no luck on {self.rank}")
        return "fine"

    def fail_alone(self) -> None:
        """As in a collective: rank 0 is gone, and the others wait for it."""
        if self.rank == 0:
            raise ValueError("gone")
        time.sleep(1e6)


@pytest.fixture(scope="module")
def three() -> Iterator[Ranks]:
    together = Ranks(Toy, 3)
    yield together
    together.stop()


def test_every_rank_is_called_and_their_results_come_in_order(three: Ranks) -> None:
    assert three.call("double", 4) == [8, 108, 208]


def test_one_rank_is_only_this_process() -> None:
    alone = Ranks(Toy, 1)
    assert alone.call("double", 1) == [2]
    alone.stop()


@pytest.mark.parametrize(
    ("failing", "told"), [((0,), "^no luck on 0"), ((0, 1, 2), "^no luck on 0"), ((2,), "rank 2: ValueError: no luck on 2")]
)
def test_whoever_fails_the_error_is_told_and_the_next_call_works(three: Ranks, failing: tuple[int, ...], told: str) -> None:
    with pytest.raises((ValueError, RankFailed), match=told):
        three.call("fail", *failing)
    assert three.call("double", 1) == [2, 102, 202]


def test_a_rank_that_waits_for_one_that_failed_ends_the_process() -> None:
    program = (
        "from bench.frameworks import ranks\nfrom tests.test_ranks import Toy\n"
        "ranks._GRACE_S = 0.5\nif __name__ == '__main__': ranks.Ranks(Toy, 2).call('fail_alone')"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "ValueError: gone" in done.stderr
    assert "the others wait for it for ever" in done.stderr
