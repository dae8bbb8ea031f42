"""Medians, intervals, and how many repeats are enough."""

from __future__ import annotations

import random
from math import exp
from statistics import median

import pytest

from bench.config import RunConfig
from bench.errors import InvalidSetting
from bench.frameworks.fake import Fake
from bench.host.noise import drift
from bench.intervals import geometric_interval, median_interval, t_quantile
from bench.measure.point import Measurement, measure
from bench.measure.stats import enough_repeats, enough_warmups, marks
from tests.conftest import fake_run


@pytest.mark.parametrize(("df", "expected"), [(1, 12.7062), (2, 4.3027), (4, 2.7764), (8, 2.3060), (30, 2.0423), (1000, 1.9623)])
def test_t_quantiles_are_those_of_the_tables(df: int, expected: float) -> None:
    assert t_quantile(0.95, df) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    ("confidence", "df", "expected"), [(0.95, 2.5, 3.5747), (0.95, 4.7, 2.6207), (0.99, 3.5, 5.0857), (0.99, 12.5, 3.0324)]
)
def test_between_whole_degrees_the_quantile_is_a_little_on_the_safe_side(confidence: float, df: float, expected: float) -> None:
    assert expected - 1e-4 <= t_quantile(confidence, df) <= 1.012 * expected


def test_six_repeats_are_the_fewest_with_an_interval() -> None:
    assert median_interval([1, 2, 3, 4, 5]) is None
    assert median_interval([6, 1, 5, 2, 4, 3]) == (1, 6)
    assert median_interval(list(range(1, 31))) == (10, 21)


def draws(rng: random.Random, count: int) -> list[float]:
    """Latencies as a busy host makes them: skewed, with a slow repeat now and then."""
    return [exp(rng.gauss(0, 0.02)) * (1.0 if rng.random() < 0.9 else 1 + rng.expovariate(5)) for _ in range(count)]


@pytest.fixture(scope="module")
def true_median() -> float:
    return median(draws(random.Random(1), 200_000))


@pytest.mark.parametrize("repeats", [6, 7, 20])
def test_the_interval_holds_the_long_run_median(true_median: float, repeats: int) -> None:
    rng = random.Random(repeats)
    intervals = [median_interval(draws(rng, repeats)) for _ in range(2000)]
    held = sum(low <= true_median <= high for low, high in filter(None, intervals))
    assert held / 2000 >= 0.94


def test_the_interval_still_holds_when_auto_decides_how_many(true_median: float) -> None:
    rng, held, counts = random.Random(5), 0, []
    for _ in range(800):
        seen = draws(rng, 6)
        while not enough_repeats(seen, precision=0.01, max_seconds=1e9):
            seen += draws(rng, 1)
        low, high = median_interval(seen) or (0, 0)
        held += low <= true_median <= high
        counts.append(len(seen))
    assert held / 800 >= 0.93
    assert 8 < median(counts) < 200


def test_rounds_give_an_interval_of_their_own() -> None:
    found = geometric_interval([1.0, 1.1, 0.9, 1.05, 0.95])
    assert found is not None
    mean, low, high = found
    assert low < mean < high
    assert geometric_interval([1.0]) is None


def test_auto_stops_when_the_time_is_up() -> None:
    wild = [1.0, 9.0] * 4
    assert not enough_repeats(wild, 0.01, max_seconds=100)
    assert enough_repeats(wild, 0.01, max_seconds=30)
    assert not enough_repeats(wild[:5], 0.01, max_seconds=1)


def test_warming_up_ends_when_repeats_get_no_faster() -> None:
    assert not enough_warmups([9, 5, 3], 60)
    assert enough_warmups([9, 5, 3, 3.0, 2.99], 60)
    assert enough_warmups([2.0, 2.0, 2.1], 60)
    assert enough_warmups([9, 5], 10)


def test_a_trend_is_drift_and_noise_is_not() -> None:
    assert drift([1.0, 1.02, 1.05, 1.07, 1.11, 1.15, 1.2, 1.22]) == pytest.approx(0.19, abs=0.02)
    assert drift([1.0, 1.1, 0.98, 1.07, 1.0, 1.06, 1.01, 1.03]) is None
    assert drift([1.0, 2.0, 3.0]) is None


def test_few_or_short_repeats_are_marked() -> None:
    assert "4 repeats" in marks([1.0] * 4)[0]
    assert "under 1 ms" in marks([1e-4] * 7)[0]
    assert marks([1.0] * 7) == []


def measured(run: RunConfig, clock: object = None) -> tuple[Measurement, list[tuple[str, int, int | None]]]:
    calls: list[tuple[str, int, int | None]] = []
    framework = Fake(run)
    seen = measure(run, framework, framework.load(), 0.0, lambda repeat: calls.append((repeat.kind, repeat.number, repeat.count)))
    return seen, calls


def test_auto_repeats_until_the_interval_is_narrow() -> None:
    seen, calls = measured(fake_run(num_runs="auto", warmup_runs="auto", precision=0.5, step_s=0.002, output_tokens=2))
    assert 6 <= len(seen.latencies_s) < 100
    assert 3 <= sum(kind == "warm-up" for kind, _, _ in calls) <= 20
    assert {count for _, _, count in calls} == {None}


def test_a_number_of_repeats_is_kept_to() -> None:
    seen, calls = measured(fake_run(num_runs=3, warmup_runs=1))
    assert len(seen.latencies_s) == 3
    assert calls == [("warm-up", 1, 1), ("repeat", 1, 3), ("repeat", 2, 3), ("repeat", 3, 3)]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_runs": "many"}, "num_runs=many: must be a number, or auto"),
        ({"precision": 0.0}, "precision=0.0"),
        ({"max_seconds": -1.0}, "max_seconds=-1.0"),
    ],
)
def test_what_cannot_be_repeated_is_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidSetting, match=message):
        fake_run(**settings)


def test_token_times_can_be_left_out() -> None:
    run = fake_run(num_runs=2)
    run.measure.token_times = False
    seen, _ = measured(run)
    assert seen.token_times_s is None
    assert len(seen.latencies_s) == 2
