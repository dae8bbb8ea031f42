"""Verdicts on made-up latencies: known false-alarm rate and power, intervals, exit codes."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import accumulate, product
from math import exp, log
from statistics import median
from typing import Any

import pytest

from bench.analysis.compare import show, statistics
from bench.analysis.compare.statistics import Comparison, Side, Verdict

Latency = Callable[[int, int], float]  # of (point, round), in logarithms


def sides(latency: Latency, points: int, rounds: int) -> list[Side]:
    return [Side({number: exp(latency(point, number)) for number in range(rounds)}) for point in range(points)]


def compared(base: Latency, new: Latency, points: int = 6, rounds: int = 5, **settings: Any) -> Comparison:
    pairs = list(zip(sides(base, points, rounds), sides(new, points, rounds), strict=True))
    return statistics.compare(pairs, **settings)


def read_from(table: dict[tuple[int, int], float]) -> Latency:
    return lambda point, number: table[point, number]


def noise_of(kind: str, rng: random.Random) -> Latency:
    """1 % of noise from round to round, of one's own and, where so named, shared by all points of a round, or now and then large."""
    shared = [rng.gauss(0, 0.01) for _ in range(20)]

    def latency(point: int, number: int) -> float:
        own = rng.gauss(0, 0.01)
        if kind == "shared":
            return own + shared[number]
        if kind == "spikes" and rng.random() < 0.05:
            return own + rng.expovariate(10)
        return own * (1 + point % 4) / 2 if kind == "uneven" else own

    return latency


def rates(kind: str, effect: float, round_s: float = 0.0, tries: int = 150) -> dict[Verdict, float]:
    """The share of points with each verdict."""
    rng, verdicts = random.Random(kind), []
    for _ in range(tries):
        new = noise_of(kind, rng)
        found = compared(noise_of(kind, rng), lambda point, number, new=new: new(point, number) + effect, round_s=round_s)  # type: ignore[misc]
        verdicts += [change.verdict for change in found.points]
    return {verdict: verdicts.count(verdict) / len(verdicts) for verdict in Verdict}


@pytest.mark.parametrize("kind", ["own", "shared", "spikes", "uneven"])
def test_two_runs_of_the_same_are_called_different_at_most_once_in_fifty(kind: str) -> None:
    found = rates(kind, effect=0.0)
    assert found[Verdict.faster] + found[Verdict.slower] <= 0.02


@pytest.mark.parametrize("step", [0.005, 0.02])
def test_a_host_that_wanders_from_one_sweep_to_the_next_raises_no_alarm(step: float) -> None:
    rng = random.Random(5)
    found: list[Verdict] = []
    for _ in range(100):
        walk = list(accumulate(rng.gauss(0, step) for _ in range(10)))
        base, new = ({(point, i): rng.gauss(walk[start + i], 0.01) for point in range(6) for i in range(5)} for start in (0, 5))
        found += [change.verdict for change in compared(read_from(base), read_from(new)).points]
    assert found.count(Verdict.faster) + found.count(Verdict.slower) <= 0.02 * len(found)


@pytest.mark.parametrize(("kind", "round_s"), [("own", 0), ("uneven", 0), ("own", 60), ("uneven", 60), ("shared", 60)])
def test_a_slowdown_of_five_percent_is_found_nine_times_in_ten(kind: str, round_s: float) -> None:
    """What the points of a round share needs rounds that are a minute apart."""
    assert rates(kind, effect=0.0488, round_s=round_s)[Verdict.slower] >= 0.9


@pytest.mark.parametrize("kind", ["own", "shared", "uneven"])
def test_rounds_a_minute_apart_raise_no_more_false_alarms(kind: str) -> None:
    same = rates(kind, effect=0.0, round_s=60)
    assert same[Verdict.faster] + same[Verdict.slower] <= 0.02


def test_the_faster_rounds_follow_each_other_the_wider_is_the_interval() -> None:
    def width(round_s: float) -> float:
        overall = compared(noise_of("shared", random.Random(1)), noise_of("shared", random.Random(2)), round_s=round_s).overall
        return overall.high / overall.low

    assert width(0) > width(30) > width(60) == width(3600)


def test_of_one_point_all_of_the_spread_may_last() -> None:
    rng, found = random.Random(8), Counter[Verdict]()
    for _ in range(300):
        walk = list(accumulate(rng.gauss(0, 0.02) for _ in range(10)))
        base, new = ({(0, i): walk[start + i] for i in range(5)} for start in (0, 5))
        found.update(change.verdict for change in compared(read_from(base), read_from(new), points=1).points)
    assert found[Verdict.faster] + found[Verdict.slower] <= 0.05 * 300


@pytest.mark.parametrize("drift", [0.0, 0.05])
def test_what_a_round_does_to_both_sides_of_one_sweep_cancels_out(drift: float) -> None:
    """Two parts of a sweep meet the same rounds: however much these differ, equal parts stay equal and a slowdown is found."""
    rng = random.Random(11)
    found: dict[float, list[Verdict]] = {0.0: [], 0.0488: []}
    for _ in range(100):
        rounds = [rng.gauss(0, drift) for _ in range(5)]
        base, other = ({key: rng.gauss(rounds[key[1]], 0.01) for key in product(range(6), range(5))} for _ in range(2))
        for effect, given in found.items():
            slower = {key: value + effect for key, value in other.items()}
            given += [change.verdict for change in compared(read_from(base), read_from(slower), interleaved=True).points]
    assert found[0.0].count(Verdict.faster) + found[0.0].count(Verdict.slower) <= 0.02 * 600
    assert found[0.0488].count(Verdict.slower) >= 0.9 * 600


def test_a_round_in_which_one_side_was_disturbed_is_left_out_for_both() -> None:
    rounds = range(5)
    base, new = Side(dict.fromkeys(rounds, 1.0)), Side({**dict.fromkeys(rounds, 1.001), 3: 9.0}, noisy=frozenset({3}))
    assert statistics.compare([(base, new)], interleaved=True).points[0].verdict is Verdict.same


@pytest.mark.parametrize("kind", ["own", "shared", "spikes", "uneven"])
def test_all_intervals_hold_together(kind: str) -> None:
    rng, held = random.Random(7), 0
    for _ in range(200):
        found = compared(noise_of(kind, rng), noise_of(kind, rng))
        held += all(change.low <= 1 <= change.high for change in found.points)
    assert held / 200 >= 0.94


def test_the_overall_interval_holds() -> None:
    rng = random.Random(3)
    overall = [compared(noise_of("shared", rng), noise_of("shared", rng), round_s=60).overall for _ in range(300)]
    assert 0.92 <= sum(change.low <= 1 <= change.high for change in overall) / 300 <= 0.985


def steady(level: float) -> Latency:
    return lambda point, number: level + 0.002 * ((point + number) % 3)


def test_equal_is_not_the_same_as_undecided() -> None:
    assert {change.verdict for change in compared(steady(0), steady(0)).points} == {Verdict.same}
    rng = random.Random(1)
    wild = compared(lambda *_: rng.gauss(0, 0.2), lambda *_: rng.gauss(0, 0.2))
    assert {change.verdict for change in wild.points} == {Verdict.undecided}


@pytest.mark.parametrize(("level", "verdict", "code"), [(0.1, "slower", 1), (-0.1, "faster", 0), (0.0, "same", 0)])
def test_verdicts_and_exit_codes_for_a_gate(level: float, verdict: str, code: int) -> None:
    found = compared(steady(0), steady(level))
    assert found.overall.verdict == verdict
    assert found.exit_code == code


def test_one_slower_point_closes_the_gate() -> None:
    found = compared(steady(0), lambda point, number: steady(0)(point, number) + 0.2 * (point == 3), points=30)
    assert found.overall.verdict is Verdict.same
    assert found.exit_code == 1


def test_a_small_change_is_found_when_it_matters_to_the_user() -> None:
    assert compared(steady(0), steady(0.012)).overall.verdict is Verdict.same
    assert compared(steady(0), steady(0.012), min_effect=0.01).overall.verdict is Verdict.slower


def test_noisy_rounds_are_left_out_while_enough_are_quiet() -> None:
    quiet = {0: 1.0, 1: 1.001, 2: 0.999, 3: 1.002}
    base, new = Side(quiet), Side({**quiet, 4: 1.5}, noisy=frozenset({4}))
    assert statistics.compare([(base, new)]).points[0].verdict is Verdict.same


def test_a_round_that_took_far_longer_than_its_like_is_left_out_and_told() -> None:
    burst = {(2, 1): 0.26, (4, 3): 0.3}
    found = compared(steady(0), lambda point, number: steady(0)(point, number) + burst.get((point, number), 0))
    assert {change.verdict for change in found.points} == {Verdict.same}
    assert found.left_out == (0, 2)


def test_a_noisy_point_neither_shows_its_bursts_nor_blurs_the_others() -> None:
    base, new = sides(steady(0), 6, 5), sides(steady(0), 6, 5)
    new[2] = replace(new[2], rounds={**new[2].rounds, 3: 1.4, 4: 1.4}, noisy=frozenset({2, 3, 4}))
    found = statistics.compare(list(zip(base, new, strict=True)))
    assert found.points[2].notes == ("noisy",)
    assert found.points[2].ratio == pytest.approx(1, abs=0.01)
    assert {change.verdict for change in found.points if not change.notes} == {Verdict.same}


def test_scatter_alone_leaves_no_round_out() -> None:
    rng = random.Random(9)
    assert sum(compared(lambda *_: rng.gauss(0, 0.1), lambda *_: rng.gauss(0, 0.1), points=30).left_out) <= 3  # of 300


def test_a_difference_on_a_noisy_host_does_not_count_unless_trusted() -> None:
    base = Side({number: 1.0 + 0.001 * number for number in range(5)})
    new = Side({number: 1.3 + 0.001 * number for number in range(5)}, noisy=frozenset({0, 1, 2}))
    [change] = statistics.compare([(base, new)]).points
    assert (change.verdict, change.notes) == (Verdict.undecided, ("noisy",))
    assert statistics.compare([(base, new)], trust_noisy=True).points[0].verdict is Verdict.slower


def test_a_single_round_only_tells_large_differences() -> None:
    repeats = [1.0, 1.01, 0.99, 1.0, 1.005, 0.995]

    def verdict(factor: float) -> Verdict:
        new = Side({0: factor}, repeats=[factor * value for value in repeats])
        [change] = statistics.compare([(Side({0: 1.0}, repeats=repeats), new)]).points
        assert change.notes == ("one round",)
        return change.verdict

    assert verdict(1.035) is Verdict.undecided
    assert verdict(1.2) is Verdict.slower


def test_one_repeat_tells_nothing() -> None:
    side = Side({0: 1.0}, repeats=[1.0])
    [change] = statistics.compare([(side, side)]).points
    assert change.verdict is Verdict.undecided
    assert change.high == float("inf")


def one_lost_round(sides: list[Side]) -> list[Side]:
    return [Side({number: value for number, value in sides[0].rounds.items() if number != 1}), *sides[1:]]


def one_round_only(place: int) -> Callable[[list[Side]], list[Side]]:
    def cut(sides: list[Side]) -> list[Side]:
        only = Side({0: sides[place].rounds[0]}, repeats=[sides[place].rounds[0] * (1 + 0.001 * i) for i in range(7)])
        return [*sides[:place], only, *(sides[place + 1 :] if place >= 0 else [])]

    return cut


@pytest.mark.parametrize("lose", [one_lost_round, one_round_only(0), one_round_only(-1)])
@pytest.mark.parametrize("round_s", [9, 60])
def test_what_is_lost_of_one_point_changes_no_interval_of_another(lose: Callable[[list[Side]], list[Side]], round_s: float) -> None:
    """Nor does the order of the points, and the wandering host raises no alarm for it."""
    rng = random.Random(6)
    widths, wrong = [], 0
    for _ in range(60):
        walk = list(accumulate(rng.gauss(0, 0.02) for _ in range(10)))
        base, new = ([Side({i: exp(rng.gauss(walk[at + i], 0.01)) for i in range(5)}) for _ in range(6)] for at in (0, 5))
        whole = statistics.compare(list(zip(base, new, strict=True)), round_s=round_s)
        less = statistics.compare(list(zip(base, lose(new), strict=True)), round_s=round_s)
        width, other = (log(found.points[2].high / found.points[2].low) for found in (whole, less))
        widths.append(other / width)
        wrong += sum(change.verdict in (Verdict.slower, Verdict.faster) for change in less.points) if round_s < 60 else 0
    assert 0.9 <= median(widths) <= 1.2
    assert wrong <= 0.02 * 60 * 6


def test_a_point_of_one_round_is_judged_by_the_rounds_of_the_others() -> None:
    rng = random.Random(2)
    base, new = ([Side({i: exp(rng.gauss(0, 0.03)) for i in range(5)}) for _ in range(6)] for _ in range(2))
    new[0] = Side({0: 1.07}, repeats=[1.07, 1.0701, 1.0702, 1.0699, 1.07, 1.07])
    found = statistics.compare(list(zip(base, new, strict=True)), round_s=60)
    assert (found.points[0].verdict, found.points[0].notes) == (Verdict.undecided, ("one round",))
    assert found.overall.notes == ()


def test_bursts_on_one_side_only_decide_nothing_and_the_reason_is_told() -> None:
    """A program that is slow in two of five rounds looks like a disturbed host."""
    found = compared(steady(0), lambda point, number: steady(0)(point, number) + 0.26 * (number in (1, 3)), points=8)
    assert {change.verdict for change in (*found.points, found.overall)} == {Verdict.undecided}
    assert found.left_out == (0, 16)
    assert all(statistics.LOPSIDED in change.notes for change in (*found.points, found.overall))
    assert found.exit_code == 2
    burst: Latency = lambda point, number: steady(0)(point, number) + 0.26 * (number == 1)  # noqa: E731
    both = compared(burst, burst, points=8)
    assert {change.verdict for change in both.points} == {Verdict.same}


def test_one_round_more_is_lopsided_however_it_is_spread_over_the_points() -> None:
    """Seven rounds of five points against two: 1.4 - 0.4 is less than 1 to a computer."""
    lost = {0: (1, 1, 0, 0, 0), 1: (2, 2, 1, 1, 1)}
    base, new = ([replace(s, noisy=frozenset(range(n))) for s, n in zip(sides(steady(0), 5, 8), lost[i], strict=True)] for i in (0, 1))
    found = statistics.compare(list(zip(base, new, strict=True)))
    assert (found.left_out, found.overall.notes) == ((2, 7), (statistics.LOPSIDED,))


@pytest.mark.parametrize("interleaved", [False, True])
def test_slow_rounds_of_one_side_count_where_too_few_are_left_to_leave_them_out(interleaved: bool) -> None:
    """At six of eight points the host was noisy in one round more."""
    base, new = sides(steady(0), 8, 5), sides(lambda point, number: steady(0)(point, number) + 0.26 * (number in (1, 3)), 8, 5)
    new = [replace(side, noisy=frozenset({0})) if point > 1 else side for point, side in enumerate(new)]
    overall = statistics.compare(list(zip(base, new, strict=True)), interleaved=interleaved, round_s=60).overall
    assert overall.verdict is Verdict.undecided
    assert statistics.LOPSIDED in overall.notes


def test_a_lost_round_and_bursts_hide_no_slowdown_of_one_sweep() -> None:
    """A burst hits one side of a round: what is quiet on the other side speaks all the same."""
    rng, exits = random.Random(4), Counter[int]()
    for _ in range(100):
        hit = {(side, point, number) for side in (0, 1) for point in range(8) for number in range(5) if rng.random() < 0.2}
        base, new = (
            [
                Side({i: exp(rng.gauss(0.0488 * side, 0.015) + 0.3 * ((side, point, i) in hit)) for i in range(side, 5)})
                for point in range(8)
            ]
            for side in (0, 1)
        )
        exits[statistics.compare(list(zip(base, new, strict=True)), interleaved=True).exit_code] += 1
    assert exits[1] >= 90


def test_a_headline_counts_the_verdicts() -> None:
    found = compared(steady(0), steady(0.1))
    assert show.headline(found) == "Overall slower (+10.5 %); of the points 6 slower"
