"""Which jobs to run, and in what order: group by what must be loaded, cheap first, and leave out what is done."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby

from bench.config import Rerun, RunConfig
from bench.results import Row, Status
from bench.roofline import seconds_at, shape_of

# Nominal ceilings to weigh points against each other before anything is measured; only their ratio matters.
_FLOPS_PER_S, _BYTES_PER_S = 5e11, 2e10


@dataclass(frozen=True)
class Job:
    """A point in one round."""

    run: RunConfig
    round: int

    @property
    def done_key(self) -> tuple[str, int]:
        return self.run.config_id, self.round

    @cached_property
    def cost_s(self) -> float:
        return estimated_s(self.run)

    @property
    def label(self) -> str:
        run = self.run
        return f"{run.model.name} {run.framework.name} batch {run.batch_size} in {run.input_tokens} out {run.output_tokens}"


@dataclass(frozen=True)
class Plan:
    """`todo` in the order of running; jobs that follow each other with one load key share a loaded model."""

    todo: tuple[Job, ...]
    done: int

    @property
    def loads(self) -> int:
        return len(list(groupby(self.todo, key=lambda job: job.run.load_key)))


# The columns that tell whether a job is done.
DONE_COLUMNS = ["config_id", "round", "status", "environment_id"]


def make_plan(points: Sequence[RunConfig], rows: Iterable[Row], environment_id: str) -> Plan:
    jobs = _unique(Job(run, number) for number in range(points[0].rounds if points else 0) for run in points)
    done = _done(rows, environment_id, points[0].rerun) if points else set()
    todo = [job for job in jobs if job.done_key not in done]
    return Plan(tuple(_in_order(todo)), len(jobs) - len(todo))


def estimated_s(run: RunConfig) -> float:
    """What a job costs, in nominal seconds: good for comparing points, not for telling the time."""
    shape = shape_of(run.model.architecture)
    repeats = run.num_runs + run.warmup_runs
    if shape is None:
        return 1e-3 * repeats * run.batch_size * (run.output_tokens + run.input_tokens / 50)
    sequences = run.batch_size * run.generation.num_beams
    return repeats * seconds_at(shape, sequences, run.input_tokens, run.output_tokens, run.model.dtype.bytes, _FLOPS_PER_S, _BYTES_PER_S)


def _unique(jobs: Iterable[Job]) -> list[Job]:
    return list({job.done_key: job for job in jobs}.values())


def _done(rows: Iterable[Row], environment_id: str, rerun: Rerun) -> set[tuple[str, int]]:
    def counts(status: Status) -> bool:
        return status is Status.ok or (rerun is Rerun.missing and status.is_result)

    if rerun is Rerun.all:
        return set()
    return {(row["config_id"], row["round"]) for row in rows if row["environment_id"] == environment_id and counts(Status(row["status"]))}


def _in_order(jobs: list[Job]) -> list[Job]:
    """Round by round; in each, the models in the order given, and for each model the cheap points first."""
    model_order = {key: i for i, key in enumerate(dict.fromkeys(job.run.load_key for job in jobs))}
    return sorted(jobs, key=lambda job: (job.round, model_order[job.run.load_key], job.cost_s))
