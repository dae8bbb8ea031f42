"""1,2,4,...,64 means one thing, or is refused."""

import pytest

from bench.compose.ellipsis import expand
from bench.errors import SeriesError


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ([1, 2, 4, "...", 64], [1, 2, 4, 8, 16, 32, 64]),
        ([1, 3, 5, "...", 9], [1, 3, 5, 7, 9]),
        ([64, 32, "...", 1], [64, 32, 16, 8, 4, 2, 1]),
        ([10, 8, "...", 2], [10, 8, 6, 4, 2]),
        ([0.1, 0.2, "...", 0.5], [0.1, 0.2, 0.3, 0.4, 0.5]),
        ([1, 2, 3, "...", 6, 100], [1, 2, 3, 4, 5, 6, 100]),
        ([1, 11, 101, 1001], [1, 11, 101, 1001]),
        ([1, 2, 4, "...", 4], [1, 2, 4]),
    ],
)
def test_a_series_goes_on_as_it_began(written: list[object], meant: list[object]) -> None:
    assert expand(written) == meant


def test_a_second_series_starts_at_the_end_of_the_first() -> None:
    assert expand([1, 2, 4, "...", 16, 24, 32, "...", 64]) == [1, 2, 4, 8, 16, 24, 32, 40, 48, 56, 64]


def test_whole_numbers_stay_whole() -> None:
    assert all(isinstance(value, int) for value in expand([1, 2, 4, "...", 64]))


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ([1, 2, "...", 8], "1,2,3,...,8 (arithmetic) or 1,2,4,...,8 (geometric)"),
        ([1, 3, "...", 9], "1,3,5,...,9 (arithmetic) or 1,3,9 (geometric)"),
        ([1, 2, 4, "...", 63], "never lands on 63; it passes 32, 64"),
        ([1, 2, 4, "...", 0], "never lands on 0"),
        ([1, "...", 8], "give at least two"),
        ([1, 2, 4, "..."], "give the last term"),
        (["...", 4], "give at least two"),
        ([1, 2, 5, "...", 64], "neither an arithmetic nor a geometric"),
        (["a", "b", "...", "z"], "'a' is none"),
        ([5, 5, "...", 5], "neither an arithmetic nor a geometric"),
        ([1, 2, 3, "...", 10**9], "more than 10,000 terms"),
        ([True, 2, "...", 8], "True is none"),
    ],
)
def test_what_cannot_be_one_series_is_refused_with_the_candidates(written: list[object], told: str) -> None:
    with pytest.raises(SeriesError) as refused:
        expand(written)
    assert told in str(refused.value)
