"""Comparisons: known false-alarm rate and power, matching of points, verdicts, exit codes, output."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import accumulate, count, product
from math import exp, log
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from bench import compare
from bench.analysis import terminal
from bench.analysis.compare import pairs as matching
from bench.analysis.compare import show, statistics
from bench.analysis.compare.statistics import Comparison, Side, Verdict
from bench.analysis.settings import pool_rounds, read_jobs
from bench.config import ModelConfig, RunConfig
from bench.frameworks.fake import Settings
from bench.host import machine
from bench.host.disturbance import Disturbance
from bench.measure.point import Measurement
from bench.results import Row, Status, Store
from bench.roofline import ModelShape
from bench.sweep.outcome import Outcome, to_row
from bench.sweep.plan import Job
from tests import synthetic
from tests.conftest import TINY

_SECONDS = count()  # no two rows started at the same time
Latency = Callable[[int, int], float]  # of (point, round), in logarithms
QUIET = Disturbance(1.0, 0.0, 0.0, 0, 0.0, 0, None, None, None, None, (), None)
NOISY = replace(QUIET, other_cpu_s=1e3)


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


def sweep(folder: Path, latency_s: float = 0.1, noisy: bool = False, rounds: int = 5, **varied: list[Any]) -> Path:
    """The rows of a sweep over batch 1 and 2, and over settings of the fake framework."""
    store = Store(folder)
    store.prepare()
    [(setting, values)] = varied.items() or [("step_s", [0.0])]
    for number, value, batch_size in product(range(rounds), values, (1, 2)):
        chosen: dict[str, Any] = {"name": "fake", setting: value}
        run = RunConfig(ModelConfig(name="tiny", architecture=dict(TINY)), Settings(**chosen), batch_size=batch_size)
        store.write(row(run, number, latency_s * batch_size * (1 + 10 * value), noisy))
    return folder


def changed(folder: Path, keep: Callable[[Row], bool] = lambda _: True, **columns: Any) -> None:
    """These rows once more, a day later and with other columns."""
    store = Store(folder)
    for old in filter(keep, store.rows()):
        store.write({**old, "started_at": old["started_at"] + timedelta(days=1), **columns})


def row(run: RunConfig, number: int, latency_s: float, noisy: bool) -> Row:
    latencies_s = tuple(latency_s * (1 + 0.001 * ((number + i) % 4)) for i in range(6))
    shape = ModelShape("fake", 1, 1, 1, 1, 1, 1, 1, gated=False, tied=True, n_params=1)
    around = (NOISY if noisy else QUIET,) * 6
    seen = Measurement(latencies_s, None, "", shape, 0.0, 1.0, around=around, engine={"device": "cpu"})
    started_at = datetime(2026, 11, 22, tzinfo=UTC) + timedelta(seconds=next(_SECONDS))
    return to_row(Job(run, number), Outcome(Status.ok, measurement=seen), started_at, machine.describe())


def matched(folder: Path) -> matching.Matching:
    """A sweep against itself."""
    settings = matching.read(folder)
    return matching.match(("base", settings), ("new", settings))


def rounds_of(folder: Path) -> list[Any]:
    """By point: the latency of each round."""
    return [base.rounds for base, _ in matched(folder).pairs]


def exit_code(*arguments: object) -> int:
    with pytest.raises(SystemExit) as left:
        compare.main([str(argument) for argument in arguments])
    assert isinstance(left.value.code, int)
    return left.value.code


def test_the_command_is_a_gate(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    base, same, slower = sweep(tmp_path / "base"), sweep(tmp_path / "same"), sweep(tmp_path / "slower", 0.11)
    assert exit_code(base, same) == 0
    assert exit_code(base, slower) == 1
    assert exit_code(slower, base) == 0
    printed = capsys.readouterr().out
    assert "+10.0%" in printed
    assert max(len(line.rstrip()) for line in printed.splitlines() if str(tmp_path) not in line) <= 80
    assert (slower / "charts/compare-base-slower.svg").stat().st_size > 1000
    assert "The rounds follow each other within 2 s" in printed


def test_json_is_for_machines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base, slower = sweep(tmp_path / "base"), sweep(tmp_path / "slower", 0.11)
    assert exit_code("--json", base, slower) == 1
    printed = json.loads(capsys.readouterr().out)
    assert printed["overall"]["verdict"] == "slower"
    assert [point["point"]["batch_size"] for point in printed["points"]] == [1, 2]
    assert printed["points"][0]["ratio"] == pytest.approx(1.1)
    assert printed["left_out"] == {"base": 0, "new": 0}


def test_noise_in_the_rows_reaches_the_verdict(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base, noisy = sweep(tmp_path / "base"), sweep(tmp_path / "noisy", 0.11, noisy=True)
    assert exit_code(base, noisy) == 2
    assert "noise=wait or more rounds" in capsys.readouterr().out
    assert exit_code("--trust-noisy", base, noisy) == 1


def test_settings_that_differ_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base, other = sweep(tmp_path / "base", load_s=[0.0]), sweep(tmp_path / "other", load_s=[0.0, 0.1])
    exit_code(base, other)
    assert "2 points have a result on one side only" in capsys.readouterr().out
    other = sweep(tmp_path / "another", load_s=[0.2])
    exit_code(base, other)
    assert "framework.load_s: 0.0 -> 0.2" in capsys.readouterr().out


def test_parts_of_one_sweep_compare_the_same_way(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = sweep(tmp_path / "both", load_s=[0.0, 0.02])
    assert exit_code(folder, "--by", "load_s") == 1
    assert "0.02 against 0.0" in capsys.readouterr().out
    assert exit_code(folder, "--by", "load_s", "--base", "0.02") == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("{base}",), "name two, BASE and NEW"),
        (("{base}", "{base}-missing"), "no rows in"),
        (("{base}", "--by", "frmework"), "is no setting of this sweep"),
        (("{base}", "--by", "framework"), "has one value in this sweep (fake)"),
        (("{base}", "--by", "batch_size", "--base", "7"), "is none of 1, 2"),
        (("{base}", "--by", "batch_size"), "no point has a result on both sides"),
    ],
)
def test_what_cannot_be_compared_is_told_in_one_message(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
) -> None:
    base = sweep(tmp_path / "base")
    assert exit_code(*(argument.format(base=base) for argument in arguments)) == 2
    assert message in capsys.readouterr().err


def test_the_later_row_of_a_round_counts(tmp_path: Path) -> None:
    folder = sweep(tmp_path / "base", rounds=1)
    assert rounds_of(folder)[0] == {0: pytest.approx(0.1, rel=0.01)}
    run = RunConfig(ModelConfig(name="tiny", architecture=dict(TINY)), Settings(name="fake"), batch_size=1)
    again = row(run, 0, 0.5, noisy=False)
    Store(folder).write({**again, "started_at": again["started_at"] + timedelta(minutes=1)})
    assert rounds_of(folder)[0] == {0: pytest.approx(0.5, rel=0.01)}


def test_a_pause_of_a_night_is_one_gap_among_many(tmp_path: Path) -> None:
    folder = sweep(tmp_path / "base")
    rows = Store(folder).rows()
    for file in (folder / "rows").iterdir():
        file.unlink()
    for old in rows:
        Store(folder).write({**old, "started_at": old["started_at"] + timedelta(hours=12) * (old["round"] > 2)})
    assert matched(folder).round_s == 2


def test_after_an_upgrade_like_is_compared_with_like(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A round measured again in another environment is no round of the first."""
    base, new = sweep(tmp_path / "base"), sweep(tmp_path / "new")
    changed(new, lambda old: old["round"] == 0, environment_id="upgraded", torch="9.9", latency_s=0.13, latencies_s=[0.13] * 6)
    assert exit_code("--json", base, new) == 0
    printed = json.loads(capsys.readouterr().out)
    assert [round(point["ratio"], 3) for point in printed["points"]] == [1, 1]
    assert printed["unmatched"] == 2
    assert printed["hosts"]["differences"] == {}  # of what is compared


def test_two_environments_without_their_like_are_refused_until_one_is_chosen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base, new = sweep(tmp_path / "base"), sweep(tmp_path / "new")
    changed(base, environment_id="older", torch="1.0")
    changed(new, environment_id="newer", torch="9.9")
    for file in (base / "rows").iterdir():
        if Store(base).rows_in([file.name])[0]["environment_id"] != "older":
            file.unlink()
    assert exit_code(base, new) == 2
    assert " or --environment torch=9.9, or compare them: --by torch" in capsys.readouterr().err
    assert exit_code(base, new, "--environment", "jobs=5") == 2
    assert " or --environment torch=9.9, or compare them: --by torch" in capsys.readouterr().err
    assert exit_code(base, new, "--environment", "torch=9.9") == 0
    assert exit_code(new, "--by", "torch", "--base", "9.9") == 0


_BROKEN_ROWS: list[dict[str, Any]] = [
    *({"latency_s": value} for value in (None, float("nan"), 0.0, float("inf"))),
    *({"latencies_s": value} for value in ([0.1, float("nan")], [0.1, -0.1], [None])),
    *({"status": value} for value in ("fine", None)),
    *({"ttft_s": -1.0}, {"round": -1}, {"batch_size": 0}, {"tpot_s": float("inf")}),
    *({name: None} for name in ("point_id", "batch_size", "round", "started_at")),
]


@pytest.mark.parametrize("broken", _BROKEN_ROWS, ids=str)
def test_a_row_with_a_cell_that_cannot_be_is_no_result(tmp_path: Path, broken: dict[str, Any]) -> None:
    """It neither ends the comparison nor moves it, and the report tells of it."""
    folder = synthetic.write(tmp_path / "made-up", synthetic.sweep(output_tokens=[11], batch_size=[1, 2]))
    whole = synthetic.sweep(output_tokens=[11], batch_size=[1, 2])
    synthetic.write(folder, [*whole, {**whole[0], "round": 1, "name": "made-up", **broken}])
    assert rounds_of(folder) == [{0: each["latency_s"]} for each in whole]
    jobs = read_jobs([folder])
    assert any("the row says " in line and " cannot be" in line for line in terminal.failures(jobs))
    assert len(pool_rounds(jobs).query("status == 'ok'")) == 2


@pytest.mark.parametrize("latencies_s", [None, []])
def test_a_result_without_its_repeats_is_one_repeat(tmp_path: Path, latencies_s: list[float] | None) -> None:
    [whole] = synthetic.sweep(output_tokens=[11], batch_size=[4])
    folder = synthetic.write(tmp_path / "made-up", [{**whole, "latencies_s": latencies_s}])
    assert matched(folder).pairs[0][0].repeats == [whole["latency_s"]]
    assert pool_rounds(read_jobs([folder]))["repeats"].tolist() == [1]


def test_a_batch_size_that_only_the_config_has_counts(tmp_path: Path) -> None:
    [whole] = synthetic.sweep(output_tokens=[11], batch_size=[4])
    config = json.dumps({**json.loads(whole["config"]), "batch_size": 4})
    folder = synthetic.write(tmp_path / "made-up", [{**whole, "config": config, "batch_size": None}])
    assert read_jobs([folder])[["batch_size", "status"]].to_numpy().tolist() == [[4, "ok"]]
    assert matched(folder).points[0]["batch_size"] == 4


@pytest.mark.parametrize("text", [None, '{"model": {"na', "[1]", '{"used": null, "details": null}'])
def test_columns_of_broken_json_end_nothing(tmp_path: Path, text: str | None) -> None:
    rows = synthetic.sweep(output_tokens=[11], batch_size=[1, 2])
    folder = synthetic.write(tmp_path / "made-up", [{**each, "config": text, "environment": text, "framework_args": text} for each in rows])
    assert exit_code("--json", folder, folder) == 2  # of one round, all is undecided
    assert "batch" in terminal.markdown(read_jobs([folder]), pool_rounds(read_jobs([folder])))


def test_a_sweep_without_a_result_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = sweep(tmp_path / "base")
    failed = synthetic.write(tmp_path / "failed", [{**each, "status": "crashed", "name": "failed"} for each in Store(base).rows()])
    assert exit_code(base, failed) == 2
    assert "failed: has no result: none of its jobs is ok" in capsys.readouterr().err


def test_a_chart_that_cannot_be_written_is_one_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = sweep(tmp_path / "base")
    assert exit_code(base, base, "--out", "/proc/x") == 2
    assert capsys.readouterr().err.startswith("bench-compare: --out=/proc/x: cannot be written")


def test_a_headline_counts_the_verdicts() -> None:
    found = compared(steady(0), steady(0.1))
    assert show.headline(found) == "Overall slower (+10.5 %); of the points 6 slower"


def test_shares_are_read_as_people_write_them() -> None:
    assert compare._share("3%") == compare._share("0.03") == 0.03
    assert exit_code("a", "b", "--min-effect", "3") == 2
