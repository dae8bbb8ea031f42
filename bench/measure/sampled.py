"""Measure the windows that the points of one line share, and tell each point what they add up to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from statistics import median
from time import perf_counter

from bench.config import AUTO, FAR_EVERY, RunConfig
from bench.frameworks.base import Framework
from bench.host.disturbance import Disturbance
from bench.measure.point import Clock, Measurement, OnRepeat, Repeats, prepared
from bench.measure.stats import enough_repeats, enough_warmups
from bench.measure.windows import Pass, SampledTimes, Window, generations, middles
from bench.measure.workload import prompts_for
from bench.roofline import ModelShape

_SEARCH = 0.05  # of what a line's points would cost in full: so much may go into looking for bends


class StepsMissing(RuntimeError):
    """An engine did not tell each step: then there is nothing to sample."""

    def __init__(self, wanted: int, got: int) -> None:
        super().__init__(f"a window of {wanted} tokens, and the engine told of {got} steps; its points are measured in full")


@dataclass(frozen=True)
class Line:
    """What the windows of points that differ in their lengths alone have shown. Each point's measurement follows from it."""

    passes: tuple[Pass, ...]
    points: int  # that share the cost
    seen: Measurement  # of all windows together: what came of no single point is empty

    def measurement(self, run: RunConfig) -> Measurement:
        whole = generations(self.passes, run.input_tokens, run.output_tokens)
        latencies_s = tuple(each.latency_s for each in whole)
        gaps = run.output_tokens - 1
        spent_s = self.seen.spent_s / self.points
        times = SampledTimes(
            passes=self.passes,
            ttft_s=median(each.ttft_s for each in whole),
            tpot_s=median((each.last_token_s - each.ttft_s) / gaps for each in whole),
            saved_s=run.expected_runs * median(latencies_s) - spent_s,
        )
        return replace(self.seen, latencies_s=latencies_s, spent_s=spent_s, sampled=times)


def sample(
    points: Sequence[RunConfig],
    framework: Framework,
    shape: ModelShape | None,
    load_s: float,
    on_repeat: OnRepeat,
    clock: Clock = perf_counter,
) -> Line:
    """Measure the windows of points that differ in their lengths alone. Raises what `measure` raises, and StepsMissing."""
    largest = max(points, key=lambda run: run.total_tokens)
    # Prepared for the longest: a cache of the final length is made for the length that the points have.
    look = _Look(prepared(largest, framework, shape, on_repeat, clock))
    passes = _passes(points, largest, look)
    told = look.whole.told()
    told.pop("device_peaks", None)  # of the longest context, whichever point asks
    around = tuple(replace(each, energy_j=None) for each in look.around)  # energy is told per window, and a window is no repeat
    gpus = tuple(gpu.uuid for gpu in look.whole.host.gpus)
    return Line(passes, len(points), Measurement((), None, None, shape, load_s, look.spent_s, around, gpus=gpus, engine=told))


def _passes(points: Sequence[RunConfig], largest: RunConfig, look: _Look) -> tuple[Pass, ...]:
    """The first pass tries the largest context first, for which the memory may not suffice, and finds out where the curve bends."""
    starts = sorted({run.input_tokens for run in points})
    end = [] if largest.cache_is_whole else [largest.total_tokens - largest.window_tokens]
    seen = {tokens: look(tokens, 1) for tokens in end}
    for tokens in starts:
        look.warm_up(tokens)
        seen[tokens] = look(tokens, 1)
    ends = [seen[tokens] for tokens in sorted(seen)]
    again: dict[int, Window] = {}

    def remember(tokens: int) -> Window:
        again[tokens] = look(tokens, 1 + (tokens in again))
        return again[tokens]

    bent = [] if largest.cache_is_whole else middles(remember, ends, _budget(points, ends, look))
    passes = [Pass((*ends, *(again[tokens] for tokens in bent)))]
    while not _enough(passes, largest, look.spent_s):
        number = len(passes)
        # Where no point starts, not every pass looks: such a window gives many steps at the price of a long prefill.
        places = sorted({*starts, *(end + bent if number % FAR_EVERY == 0 else [])}, reverse=number % 2 == 1)
        passes.append(Pass(tuple(look(tokens, number + 1) for tokens in places)))
    return tuple(passes)


def _budget(points: Sequence[RunConfig], ends: Sequence[Window], look: _Look) -> Callable[[], bool]:
    """Whether there is time left to look for bends: where a host's speed moves, a look finds one everywhere."""
    first, before_s = Pass(tuple(ends)), look.spent_s
    full_s = sum(run.expected_runs * generations([first], run.input_tokens, run.output_tokens)[0].latency_s for run in points)
    return lambda: look.spent_s - before_s < _SEARCH * full_s


def _enough(passes: Sequence[Pass], largest: RunConfig, spent_s: float) -> bool:
    if largest.num_runs != AUTO:
        return len(passes) >= int(largest.num_runs)
    latencies_s = [each.latency_s for each in generations(passes, largest.input_tokens, largest.output_tokens)]
    out_of_time = spent_s >= largest.max_seconds
    return enough_repeats(latencies_s, largest.precision, 0.0 if out_of_time else float("inf"))


@dataclass
class _Look:
    """Measures one window after the other, under the conditions of the line's largest point."""

    whole: Repeats  # of that point
    around: list[Disturbance] = field(default_factory=list)
    spent_s: float = 0.0
    _windows: dict[int, Repeats] = field(default_factory=dict)

    def __call__(self, prompt_tokens: int, number: int) -> Window:
        largest = self.whole.run
        count = None if largest.num_runs == AUTO else int(largest.num_runs)
        repeat = self._at(prompt_tokens).once("repeat", number, count)
        self.around.append(repeat.around)
        self.spent_s += repeat.latency_s
        if len(repeat.step_s) != largest.window_tokens:
            raise StepsMissing(largest.window_tokens, len(repeat.step_s))
        return Window(prompt_tokens, tuple(repeat.step_s), repeat.latency_s)

    def warm_up(self, prompt_tokens: int) -> None:
        largest = self.whole.run
        for repeat in self._at(prompt_tokens).some("warm-up", largest.warmup_runs, lambda seen: enough_warmups(seen, largest.max_seconds)):
            self.spent_s += repeat.latency_s

    def _at(self, prompt_tokens: int) -> Repeats:
        if prompt_tokens not in self._windows:
            run = replace(self.whole.run, input_tokens=prompt_tokens, output_tokens=self.whole.run.window_tokens)
            self._windows[prompt_tokens] = replace(self.whole, run=run, prompts=prompts_for(run))
        return self._windows[prompt_tokens]
