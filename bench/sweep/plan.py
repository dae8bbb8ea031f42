"""Which jobs to run, and in what order: group by what must be loaded, cheap first, and leave out what is done."""

from __future__ import annotations

import random
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import groupby

from bench.config import FAR_EVERY, Order, Rerun, RunConfig
from bench.groups import once
from bench.results import Row, Status
from bench.roofline import ModelShape, memory_bytes, seconds_at, shape_of

# Nominal ceilings to weigh points against each other before anything is measured; only their ratio matters.
_FLOPS_PER_S, _BYTES_PER_S = 5e11, 2e10
_GUESSED_MAX_BATCH = 64  # for weighing a search whose end nobody knows

JobKey = tuple[str, int]
"""What tells a job from all others: (config_id, round)."""


@dataclass(frozen=True)
class Job:
    """A point in one round."""

    run: RunConfig
    round: int
    line: tuple[RunConfig, ...] = ()  # with measure.decode=sampled: the points that share its windows, itself among them
    both_ways: bool = False  # its point is sampled and measured in full, too, each as a job of its own

    @property
    def key(self) -> JobKey:
        return self.run.config_id, self.round

    @cached_property
    def cost_s(self) -> float:
        return estimated_line_s(self.line) / len(self.line) if self.line else estimated_s(self.run)

    @property
    def label(self) -> str:
        return f"{self.run.model.name} {self.run.framework.name} {self.sizes}"

    @property
    def sizes(self) -> str:
        return f"batch {self.run.batch_size} in {self.run.input_tokens} out {self.run.output_tokens}"

    def needs_at_least(self, other: Job) -> bool:
        """Whether this job needs no less memory than the other, whatever the model does inside."""
        mine, its = self.run, other.run
        return (
            mine.load_key == its.load_key
            and mine.generation == its.generation
            and mine.batch_size >= its.batch_size
            and mine.input_tokens >= its.input_tokens
            and mine.output_tokens >= its.output_tokens
        )


@dataclass
class Ledger:
    """What is known of the jobs: from rows of this environment, and from those that have run since."""

    statuses: dict[JobKey, Status] = field(default_factory=dict)
    out_of_memory: list[Job] = field(default_factory=list)
    largest: dict[str, RunConfig] = field(default_factory=dict)  # by load key, of the whole sweep: an engine makes room for it

    def record(self, job: Job, status: Status) -> None:
        self.statuses[job.key] = status
        if status is Status.oom:
            self.out_of_memory.append(job)

    def ruled_out_by(self, job: Job) -> Job | None:
        """A job that ran out of memory and needed no more than this one."""
        return next((smaller for smaller in self.out_of_memory if job.needs_at_least(smaller)), None)


@dataclass(frozen=True)
class Plan:
    """`todo` in the order of running; jobs that follow each other with one load key share a loaded model."""

    todo: tuple[Job, ...]
    done: int
    ledger: Ledger = field(default_factory=Ledger)

    @property
    def groups(self) -> list[list[Job]]:
        return [list(jobs) for _, jobs in groupby(self.todo, key=lambda job: job.run.load_key)]

    @property
    def loads(self) -> int:
        return len(self.groups)


def make_plan(points: Sequence[RunConfig], rows: Iterable[Row]) -> Plan:
    """What is left to do of these points, given the rows that count."""
    rounds = points[0].rounds if points else 0
    by_key = {job.key: job for job in (Job(run, number) for number in range(rounds) for run in points)}  # each once
    jobs = list(by_key.values())
    ledger = Ledger()
    for row in rows:
        key = (row["config_id"], row["round"])
        if points and _counts(Status(row["status"]), points[0].rerun):
            ledger.statuses[key] = Status(row["status"])
            if row["status"] == Status.oom and key in by_key:
                ledger.out_of_memory.append(by_key[key])
    for job in sorted((job for job in jobs if not job.run.is_search), key=lambda job: job.run.batch_size * job.run.input_tokens):
        ledger.largest[job.run.load_key] = job.run
    todo = unfinished(jobs, ledger)
    return Plan(tuple(_in_order(todo)), len(jobs) - len(todo), ledger)


def unfinished(jobs: Iterable[Job], ledger: Ledger) -> list[Job]:
    return [job for job in jobs if job.key not in ledger.statuses and not (job.run.is_search and largest_batch(job, ledger) is not None)]


def with_probes(jobs: Iterable[Job], ledger: Ledger) -> Iterator[Job]:
    """The jobs, each search for the largest batch as the jobs it consists of.

    Each probe must have been recorded in the ledger before the next one is asked for.
    """
    for job in jobs:
        yield from _search(job, ledger) if job.run.is_search else (job,)


def estimated_s(run: RunConfig) -> float:
    """What a job costs, in nominal seconds: good for comparing points, not for telling the time."""
    shape = _shape_of(run)
    repeats = run.expected_runs
    sequences = (_GUESSED_MAX_BATCH if run.is_search else run.batch_size) * run.generation.num_beams
    if shape is None:
        return float(1e-3 * repeats * sequences * (run.output_tokens + run.input_tokens / 50))
    return repeats * seconds_at(shape, sequences, run.input_tokens, run.output_tokens, run.model.dtype.bytes, _FLOPS_PER_S, _BYTES_PER_S)


def estimated_line_s(line: Sequence[RunConfig]) -> float:
    """What the windows of a line cost: some at each prompt length, and where the cache grows, a few as long as its largest point."""
    largest = max(line, key=lambda run: run.total_tokens)
    window = largest.window_tokens

    def cost_s(tokens: int) -> float:
        return estimated_s(replace(largest, input_tokens=tokens, output_tokens=window))

    far = -(-largest.expected_runs // FAR_EVERY) / largest.expected_runs  # of the repeats
    far_s = 0.0 if largest.cache_is_whole else far * cost_s(largest.total_tokens - window)
    return sum(map(cost_s, {run.input_tokens for run in line})) + far_s


def predicted_bytes(run: RunConfig) -> int | None:
    """Memory that the model's shape needs at this point; None where its architecture is not known before it is loaded."""
    shape = _shape_of(run)
    if shape is None or run.is_search:
        return None
    sequences = run.batch_size * run.generation.num_beams
    shape = replace(shape, bytes_per_weight=run.framework.bytes_per_weight or shape.bytes_per_weight)
    return round(memory_bytes(shape, sequences, run.input_tokens, run.output_tokens, run.model.dtype.bytes))


def _shape_of(run: RunConfig) -> ModelShape | None:
    return once(run.model, "_shape", lambda model: shape_of(model.architecture))


def _search(job: Job, ledger: Ledger) -> Generator[Job, None, int]:
    """Find the largest batch that completes, by doubling and bisection with one repeat each, then measure it in full.

    Returns that batch; 0 where none completes, or one ended for a reason that has nothing to do with its size.
    """
    completes, fails = 0, None
    while fails is None or fails - completes > 1:
        size = max(1, 2 * completes) if fails is None else (completes + fails) // 2
        probe = probe_of(job.run, size)
        status = yield from _outcome(Job(probe, job.round), ledger)
        if status is Status.ok:
            completes = size
        elif status in (Status.oom, Status.pruned, Status.timeout):
            fails = size
        else:
            return 0
    while completes:  # a full measurement may need a little more than its probe
        status = yield from _outcome(Job(replace(job.run, batch_size=completes), job.round), ledger)
        if status is not Status.oom:
            return completes if status is Status.ok else 0
        completes -= 1
    return 0


def probe_of(run: RunConfig, size: int) -> RunConfig:
    """The same point at this batch size, run once: it only asks whether that completes."""
    return replace(run, batch_size=size, num_runs=1, warmup_runs=0)


def _outcome(job: Job, ledger: Ledger) -> Generator[Job, None, Status]:
    """Yield the job unless it is known, and return its status."""
    if job.key not in ledger.statuses:
        yield job
    return ledger.statuses.get(job.key, Status.interrupted)


def largest_batch(job: Job, ledger: Ledger) -> int | None:
    """What a search found, 0 for nothing; None where it is not over."""
    try:
        next(_search(job, ledger))
    except StopIteration as over:
        return int(over.value)
    return None


def _counts(status: Status, rerun: Rerun) -> bool:
    """Whether a row of this status means that its job need not run again."""
    return rerun is not Rerun.all and (status is Status.ok or (rerun is Rerun.missing and status.is_result))


def _in_order(jobs: list[Job]) -> list[Job]:
    """Round by round, so that drift hits every point alike, and in each round model by model, so that each is loaded once.

    Every other round takes the models from the last to the first: then a steady drift favours none of
    them, and the last one need not be loaded anew.
    """
    models = {key: i for i, key in enumerate(dict.fromkeys(job.run.load_key for job in jobs))}
    position = {job.key: i for i, job in enumerate(_shuffled(jobs))}

    def rank(job: Job) -> tuple[int, int, float, int]:
        cost = job.cost_s if job.run.order is Order.cost else 0.0
        model = models[job.run.load_key]
        return job.round, -model if job.round % 2 else model, cost, position[job.key]

    return sorted(jobs, key=rank)


def _shuffled(jobs: list[Job]) -> list[Job]:
    """In a random order that the seed alone decides, where order=shuffle; else as they are."""
    if not jobs or jobs[0].run.order is not Order.shuffle:
        return jobs
    return random.Random(jobs[0].run.seed).sample(jobs, len(jobs))
