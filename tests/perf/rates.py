"""How often the comparison is wrong: false alarms, power and coverage, on repeats that a real host disturbed."""

from __future__ import annotations

import argparse
import gc
import json
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median

from bench.analysis.regression import Pair, Side, Verdict, compare
from bench.frameworks.hf import HuggingFace
from bench.measure.host import Disturbance
from bench.measure.noise import noise
from bench.measure.point import measure
from bench.measure.stats import geometric_interval, median_interval
from bench.sweep.grid import compose_sweep
from tests.perf.figures import Figure

RECORDED = Path(__file__).parent / "recorded_repeats.json"  # on a virtual machine of 2 cores with nothing beside it
_POINTS, _ROUNDS, _REPEATS = 4, 5, 7
_SWEEP = _POINTS * _ROUNDS * _REPEATS
_QUIET = Disturbance(1.0, 0.0, 0.0, 0, 0.0, 0, None, None, None, None, (), None)


@dataclass(frozen=True)
class Repeat:
    latency_s: float
    around: Disturbance


def error_rates(seconds: float = 150, tries: int = 300) -> list[Figure]:
    """The figures for `make perf`: on recorded repeats, on those of the small model right now, and on pure noise of 1.5 %."""
    figures = []
    for name, repeats in (("recorded repeats", load(RECORDED)), ("the small model now", record(seconds)), ("1.5 % noise", gaussian())):
        figures += figures_for(name, repeats, tries)
    return figures


def figures_for(name: str, repeats: Sequence[Repeat], tries: int) -> list[Figure]:
    covered = coverage(repeats, tries)
    return [
        *_errors(f"{name}, two sweeps", repeats, tries, Layout(interleaved=False)),
        *_errors(f"{name}, one sweep with --by", repeats, tries, Layout(interleaved=True)),
        Figure(f"{name}: 95 % interval of 7 repeats holds the long-run median", f"{covered:.1%}", "≥ 93 %", covered >= 0.93),
        Figure(f"{name}: interval over 5 rounds holds the mean of all rounds", f"{coverage_of_rounds(repeats, tries):.1%}"),
    ]


@dataclass(frozen=True)
class Layout:
    """How two sides lie along the time: one sweep after the other, or both in the rounds of one sweep."""

    interleaved: bool

    def sides(self, repeats: Sequence[Repeat], start: int, factor: float) -> tuple[list[Side], list[Side]]:
        """What they would have seen from `start` on, the second side slower by `factor`."""
        order = [(number, side) for number in range(_ROUNDS) for side in (0, 1)]
        visits = order if self.interleaved else sorted(order, key=lambda visit: visit[1])
        jobs = [(number, side, point) for number, side in visits for point in range(_POINTS)]
        seen = [[_Seen() for _ in range(_POINTS)] for _ in range(2)]
        for place, (number, side, point) in enumerate(jobs):
            job = [repeats[(start + place * _REPEATS + i) % len(repeats)] for i in range(_REPEATS)]
            seen[side][point].add(number, job, (1.0, factor)[side])
        base, new = ([one.side for one in points] for points in seen)
        return base, new


@dataclass
class _Seen:
    rounds: dict[int, float] = field(default_factory=dict)
    noisy: set[int] = field(default_factory=set)

    def add(self, number: int, job: Sequence[Repeat], factor: float) -> None:
        latencies_s = [factor * repeat.latency_s for repeat in job]
        self.rounds[number] = median(latencies_s)
        if noise([repeat.around for repeat in job], latencies_s):
            self.noisy.add(number)

    @property
    def side(self) -> Side:
        return Side(self.rounds, frozenset(self.noisy))


def _errors(name: str, repeats: Sequence[Repeat], tries: int, layout: Layout) -> list[Figure]:
    same, trusting = (verdicts(repeats, 0.0, tries, layout, trust_noisy=trust) for trust in (False, True))
    slower = verdicts(repeats, 0.05, tries, layout)
    wrong, alarms = (found.share(Verdict.faster, Verdict.slower) for found in (same, trusting))
    closed, power = same.exits[1] / tries, slower.exits[1] / tries
    quiet = slower.quiet / slower.points.total()
    return [
        Figure(f"{name}: the same twice, points called different", f"{wrong:.1%}", "≤ 2 %", wrong <= 0.02),
        Figure(f"{name}: the same with --trust-noisy", f"{alarms:.1%}"),
        Figure(f"{name}: the same twice, comparisons that exit with 1", f"{closed:.1%}"),
        Figure(f"{name}: 5 % slower, comparisons that exit with 1", f"{power:.0%}", "≥ 90 %", power >= 0.9 if quiet > 0.5 else None),
        Figure(f"{name}: 5 % slower, points where that is found", f"{slower.share(Verdict.slower):.0%}"),
        Figure(f"{name}: points on a quiet host", f"{quiet:.0%}"),
    ]


@dataclass
class Verdicts:
    """How often each was given to a point, and what the comparisons as a whole said."""

    points: Counter[Verdict] = field(default_factory=Counter)
    quiet: int = 0  # points without a note
    exits: Counter[int] = field(default_factory=Counter)

    def share(self, *wanted: Verdict) -> float:
        return sum(self.points[verdict] for verdict in wanted) / self.points.total()


def verdicts(repeats: Sequence[Repeat], effect: float, tries: int, layout: Layout, trust_noisy: bool = False) -> Verdicts:
    """Measure twice, again and again, starting anywhere in the repeats; the second side is slower by `effect`."""
    rng, found = random.Random(1), Verdicts()
    for _ in range(tries):
        base, new = layout.sides(repeats, rng.randrange(len(repeats)), 1 + effect)
        pairs = [Pair({}, a, b) for a, b in zip(base, new, strict=True)]
        comparison = compare(pairs, trust_noisy=trust_noisy, interleaved=layout.interleaved)
        found.points.update(change.verdict for change in comparison.points)
        found.quiet += sum(not change.notes for change in comparison.points)
        found.exits[comparison.exit_code] += 1
    return found


def coverage(repeats: Sequence[Repeat], tries: int) -> float:
    """Of the interval of one job, for repeats drawn from everywhere: its own promise, without the drift that rounds are there for."""
    rng, latencies_s = random.Random(2), [repeat.latency_s for repeat in repeats]
    truth = median(latencies_s)
    intervals = [median_interval(rng.choices(latencies_s, k=_REPEATS)) for _ in range(tries)]
    return sum(low <= truth <= high for low, high in filter(None, intervals)) / tries


def coverage_of_rounds(repeats: Sequence[Repeat], tries: int) -> float:
    rng = random.Random(3)
    jobs = [median(r.latency_s for r in repeats[i : i + _REPEATS]) for i in range(0, len(repeats) - _REPEATS, _REPEATS)]
    whole = geometric_interval(jobs)
    assert whole is not None
    intervals = [geometric_interval(rng.sample(jobs, _ROUNDS)) for _ in range(tries)]
    return sum(low <= whole[0] <= high for _, low, high in filter(None, intervals)) / tries


def record(seconds: float) -> list[Repeat]:
    """Repeats of the embedded model on one thread, one after the other, for about this long."""
    settings = ["hardware=cpu", "hardware.threads=1", "input_tokens=16", "output_tokens=33", "warmup_runs=3", "num_runs=5"]
    [probe] = compose_sweep(settings)
    framework = HuggingFace(probe)
    shape = framework.load()
    gc.freeze()  # as the worker does: each repeat collects garbage first, and the loaded model is none
    repeat_s = median(measure(probe, framework, shape, 0.0, _ignore).latencies_s)
    [run] = compose_sweep([*settings, f"num_runs={max(2 * _SWEEP, int(seconds / repeat_s / 1.3))}"])
    seen = measure(run, framework, shape, 0.0, _ignore)
    return [Repeat(latency_s, around) for latency_s, around in zip(seen.latencies_s, seen.around, strict=True)]


def gaussian(count: int = 20_000, spread: float = 0.015) -> list[Repeat]:
    rng = random.Random(4)
    return [Repeat(rng.lognormvariate(0, spread), _QUIET) for _ in range(count)]


def load(file: Path) -> list[Repeat]:
    stored = json.loads(file.read_text())
    return [
        Repeat(latency_s, Disturbance(**{**asdict(_QUIET), **dict(zip(stored["around"], values, strict=True))}))
        for latency_s, *values in stored["repeats"]
    ]


def store(repeats: Sequence[Repeat], file: Path) -> None:
    names = ("seconds", "other_cpu_s", "stolen_s", "switches")
    rows = [[round(r.latency_s, 6), *(round(getattr(r.around, name), 4) for name in names)] for r in repeats]
    lines = ",\n".join(json.dumps(row) for row in rows)
    file.write_text(f'{{"around": {json.dumps(names)},\n"repeats": [\n{lines}\n]}}\n')


def _ignore(kind: str, number: int, count: int | None) -> None:
    pass


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--record", type=float, metavar="SECONDS", help=f"record repeats for this long into {RECORDED.name}")
    parser.add_argument("--tries", type=int, default=300, help="comparisons per figure")
    options = parser.parse_args()
    if options.record:
        store(record(options.record), RECORDED)
    for figure in error_rates(tries=options.tries):
        print(f"{figure.what}: {figure.value} {figure.bound} {figure.verdict}")


if __name__ == "__main__":
    main()
