"""Every named sweep can be composed, and its points make sense."""

import pytest

from bench import sweep
from tests.conftest import ROOT


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "sweeps").glob("*.yaml")))
def test_every_named_sweep_is_a_grid_of_valid_points(name: str) -> None:
    points = sweep.points(f"+sweeps={name}")
    assert points
    assert {point.name for point in points} == {name}
    assert len({point.config_id for point in points}) == len(points)


def test_what_is_typed_replaces_what_a_named_sweep_says() -> None:
    points = sweep.points("+sweeps=demo", "batch_size=3", "output_tokens=1,2")
    assert {point.batch_size for point in points} == {3}
    assert {point.output_tokens for point in points} == {1, 2}
