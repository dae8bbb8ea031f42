"""Whatever strikes a sweep, each point ends with one final row, and nothing is left behind."""

from pathlib import Path

import pytest

from tests.chaos import SHARE, Chaos
from tests.faulty import DRAWN, drawn

POINTS, SEED = 36, 8


def test_the_seed_strikes_with_every_fault() -> None:
    assert {drawn(SEED, f"1-{i}-2", SHARE) for i in range(1, POINTS + 1)} == {None, *DRAWN}


@pytest.mark.filterwarnings("ignore")
def test_every_fault_at_two_of_three_points_loses_nothing(tmp_path: Path) -> None:
    chaos = Chaos(tmp_path, POINTS, SEED)
    chaos.run()
    assert chaos.complaints == [], chaos.report()
    assert -9 in chaos.exit_codes
    assert 130 in chaos.exit_codes
