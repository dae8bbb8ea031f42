"""What happens at one point: warm up, repeat, time every token, and return what was seen."""

from __future__ import annotations

import gc
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import psutil

from bench.config import RunConfig
from bench.errors import Unsupported
from bench.frameworks.base import Framework, Tokens
from bench.host.devices import devices
from bench.host.disturbance import Disturbance, HostReader
from bench.host.monitors import PeakMemory
from bench.measure.stats import enough_repeats, enough_warmups
from bench.measure.windows import SampledTimes
from bench.measure.workload import Prompts, prompts_for
from bench.roofline import ModelShape

Clock = Callable[[], float]
"""Seconds since some fixed moment. Nothing else in this room or in an engine reads a clock."""


@dataclass(frozen=True)
class Upcoming:
    """A repeat that is about to begin."""

    kind: str  # "warm-up" or "repeat"
    number: int  # from 1
    count: int | None  # how many there are; None: measuring decides


OnRepeat = Callable[[Upcoming], None]
"""Called before each repeat, while nothing is timed."""


@dataclass(frozen=True)
class Measurement:
    """What one job saw. Everything else in its row is derived from this."""

    latencies_s: tuple[float, ...]
    token_times_s: tuple[tuple[float, ...], ...] | None  # per repeat, from the request; None without a per-step hook
    tokens_digest: str | None
    shape: ModelShape | None  # None: a model whose sizes bench/roofline.py does not know
    load_s: float
    spent_s: float  # inside warm-ups and repeats
    around: tuple[Disturbance, ...] = ()  # per repeat: what else happened on the host
    peak_host_bytes: int | None = None
    peak_device_bytes: tuple[tuple[int, int], ...] = ()  # allocated and reserved, rank by rank
    gpus: tuple[str, ...] = ()  # in use: their UUIDs, as far as the driver tells
    engine: dict[str, Any] = field(default_factory=dict)  # what Framework.describe told
    sampled: SampledTimes | None = None  # None: measured in full
    remarks: tuple[str, ...] = ()  # what a reader of the row should know


class WrongLength(RuntimeError):
    """An engine returned another number of tokens than asked: its time would stand for the wrong amount of work."""

    def __init__(self, wanted: tuple[int, int], got: tuple[int, ...]) -> None:
        super().__init__(
            f"asked for tokens of shape {wanted}, the engine returned {tuple(got)}; its times are not comparable, so none is kept"
        )


def measure(
    run: RunConfig, framework: Framework, shape: ModelShape | None, load_s: float, on_repeat: OnRepeat, clock: Clock = perf_counter
) -> Measurement:
    """Measure one point on a loaded framework. Raises what the engine raises, Unsupported, and WrongLength."""
    job = prepared(run, framework, shape, on_repeat, clock)
    memory = PeakMemory(job.host.ranks)
    memory.reset()
    warmups = job.some("warm-up", run.warmup_runs, lambda seen: enough_warmups(seen, run.max_seconds))
    repeats = job.some("repeat", run.num_runs, lambda seen: enough_repeats(seen, run.precision, run.max_seconds))
    times = tuple(tuple(repeat.step_s) for repeat in repeats)
    timed_every_step = all(len(steps) == run.output_tokens for steps in times)
    peak_host_bytes, peak_device_bytes = memory.host_bytes(), memory.device_bytes()  # before the engine works on what it tells of itself
    told = job.told()
    device_peaks = told.pop("device_peaks", None) or [peak_device_bytes]
    return Measurement(
        latencies_s=tuple(repeat.latency_s for repeat in repeats),
        token_times_s=times if timed_every_step else None,
        tokens_digest=repeats[0].tokens_digest,
        shape=shape,
        load_s=load_s,
        spent_s=sum(repeat.latency_s for repeat in (*warmups, *repeats)),
        around=tuple(repeat.around for repeat in repeats),
        peak_host_bytes=peak_host_bytes,
        peak_device_bytes=tuple((allocated, reserved) for allocated, reserved in filter(None, device_peaks)),
        gpus=tuple(gpu.uuid for gpu in job.host.gpus),
        engine=told,
    )


@dataclass(frozen=True)
class Repeat:
    latency_s: float
    step_s: list[float]
    tokens_digest: str
    around: Disturbance


@dataclass(frozen=True)
class Repeats:
    """One point on one loaded model: what all its repeats have in common."""

    run: RunConfig
    framework: Framework
    prompts: Prompts
    on_repeat: OnRepeat
    clock: Clock
    host: HostReader

    def some(self, kind: str, count: int | str, enough: Callable[[list[float]], bool]) -> list[Repeat]:
        """`count` of them; with auto as many as are enough, judged by their latencies."""
        known = None if isinstance(count, str) else count
        done: list[Repeat] = []
        while len(done) < known if known is not None else not enough([repeat.latency_s for repeat in done]):
            done.append(self.once(kind, len(done) + 1, known))
        return done

    def once(self, kind: str, number: int, count: int | None) -> Repeat:
        run = self.run
        batch = self.prompts(kind, number)
        step_s: list[float] = []

        def on_step(at_s: float | None = None) -> None:
            if run.measure.token_times:
                step_s.append((self.clock() if at_s is None else at_s) - started_s)

        self.on_repeat(Upcoming(kind, number, count))
        gc.collect()  # so that earlier garbage is not collected inside the measured time
        before = self.host.read()
        started_s = self.clock()
        tokens = self.framework.generate(batch, run.output_tokens, on_step)
        latency_s = self.clock() - started_s
        around = self.host.since(before)
        if tokens.shape != (run.batch_size, run.output_tokens):
            raise WrongLength((run.batch_size, run.output_tokens), tokens.shape)
        return Repeat(latency_s, step_s, _digest(tokens), around)

    def told(self) -> dict[str, Any]:
        """What the engine says of itself, as plain values: to unpickle its types, the launching process would import it."""
        plain: dict[str, Any] = json.loads(json.dumps(self.framework.describe(), default=str))
        return plain


def prepared(run: RunConfig, framework: Framework, shape: ModelShape | None, on_repeat: OnRepeat, clock: Clock) -> Repeats:
    """The point on the loaded model, ready for its repeats. Raises Unsupported where it is too long for the model."""
    # For a config that was not known before the model was loaded: an engine may cut the sequences short, or die.
    if shape is not None and shape.max_positions is not None and run.total_tokens > shape.max_positions:
        raise Unsupported(
            f"input_tokens + output_tokens={run.total_tokens} is more than the {shape.max_positions} positions of {run.model.name}; "
            "shorten one of them, or choose a model with more positions"
        )
    framework.prepare(run)
    ranks = psutil.Process().children(recursive=True) if run.framework.ranks > 1 else []
    gpus = devices().of(run) if framework.describe().get("device", "cpu") != "cpu" else ()
    host = HostReader(tuple(rank.pid for rank in ranks), gpus)
    return Repeats(run, framework, prompts_for(run), on_repeat, clock, host)


def _digest(tokens: Tokens) -> str:
    return hashlib.sha256(tokens.astype("<i8").tobytes()).hexdigest()[:16]
