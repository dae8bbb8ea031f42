"""Whatever strikes a sweep, each point ends with one final row, and nothing is left behind."""

from pathlib import Path

import pytest

from bench.frameworks.faults import _WHILE_GENERATING, drawn
from tests.chaos import Chaos

POINTS, SEED = 60, 4


def test_the_seed_strikes_with_every_fault() -> None:
    assert {drawn(SEED, f"1-{i}-2") for i in range(1, POINTS + 1)} == {None, *_WHILE_GENERATING}


@pytest.mark.filterwarnings("ignore")
def test_every_fault_at_a_third_of_the_points_loses_nothing(tmp_path: Path) -> None:
    chaos = Chaos(tmp_path, POINTS, SEED)
    chaos.run()
    assert chaos.complaints == [], chaos.report()
    assert -9 in chaos.exit_codes
    assert 130 in chaos.exit_codes
