"""executor=slurm: each group as a Slurm job, submitted through submitit; works on clusters without accounting."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from bench.cells import json_object
from bench.errors import InvalidSetting, MissingExtra
from bench.host.processes import python_path
from bench.results import Status, Store
from bench.sweep.cluster import run_group
from bench.sweep.outcome import Outcome
from bench.sweep.plan import Job, JobKey, Ledger, Plan

_JOB_ID = re.compile(r"\d+(_\d+)?")
# What a job's state means for those of its jobs that left no row. Other states mean that it goes on.
_ENDINGS = {
    "COMPLETED": Status.crashed,
    "FAILED": Status.crashed,
    "NODE_FAIL": Status.crashed,
    "BOOT_FAIL": Status.crashed,
    "OUT_OF_MEMORY": Status.oom,
    "TIMEOUT": Status.timeout,
    "DEADLINE": Status.timeout,
    "CANCELLED": Status.interrupted,
    "PREEMPTED": Status.interrupted,
    "REVOKED": Status.interrupted,
}


@dataclass(frozen=True)
class SlurmJob:
    """A group in the hands of Slurm."""

    job_id: str
    jobs: Sequence[Job]

    def ended(self) -> Outcome | None:
        state = _state(self.job_id)
        if state not in _ENDINGS:
            return None
        return Outcome(_ENDINGS[state], f"Slurm job {self.job_id} ended as {state} before this was done; the same command runs it again")

    def cancel(self) -> None:
        subprocess.run(["scancel", self.job_id], check=False, capture_output=True)


class Submissions:
    """Which Slurm job has which of our jobs: written down, so that a later command finds those still under way."""

    def __init__(self, store: Store) -> None:
        self._file = store.folder / ".slurm.json"

    def alive(self, jobs: Sequence[Job]) -> list[SlurmJob]:
        """The Slurm jobs of earlier commands that still wait or run and have some of these jobs."""
        by_key = {job.key: job for job in jobs}
        found = []
        for job_id, keys in self._read().items():
            mine = [by_key[key] for key in keys if key in by_key]
            if mine and not SlurmJob(job_id, mine).ended():
                found.append(SlurmJob(job_id, mine))
        return found

    def add(self, submitted: Sequence[SlurmJob]) -> None:
        known = self._read() | {job.job_id: [each.key for each in job.jobs] for job in submitted}
        self._file.write_text(json.dumps(known))

    def _read(self) -> dict[str, list[JobKey]]:
        if not self._file.exists():
            return {}
        try:
            known = json_object(self._file.read_text())
            return {
                job_id: [(str(key), int(number)) for key, number in keys] for job_id, keys in known.items() if _JOB_ID.fullmatch(job_id)
            }
        except (TypeError, ValueError):  # nothing that this program wrote
            return {}


@contextmanager
def placed(plan: Plan, store: Store, params: Mapping[str, Any], tell: Callable[[str], None]) -> Iterator[list[SlurmJob]]:
    """The groups in the hands of Slurm: what no job of an earlier command still has is submitted.

    `params` are submitit's: slurm_partition, timeout_min, gpus_per_node, ...
    """
    submissions = Submissions(store)
    earlier = submissions.alive(plan.todo)
    under_way = {job.key for group in earlier for job in group.jobs}
    new = [[job for job in group if job.key not in under_way] for group in plan.groups]
    submitted = _submit([group for group in new if group], store, plan.ledger, params)
    submissions.add(submitted)
    tell(f"Slurm jobs: {' '.join(group.job_id for group in (*earlier, *submitted))}")
    yield [*earlier, *submitted]


def _submit(groups: Sequence[Sequence[Job]], store: Store, ledger: Ledger, params: Mapping[str, Any]) -> list[SlurmJob]:
    try:
        import submitit
    except ImportError:
        raise MissingExtra("executor=slurm", "submitit", "slurm") from None
    os.environ["PYTHONPATH"] = python_path()
    try:
        executor = submitit.AutoExecutor(folder=store.folder / "logs" / "slurm", cluster="slurm")
        executor.update_parameters(**{"name": f"bench-{store.folder.name}", **params})
        submitted = [executor.submit(run_group, list(group), str(store.folder.absolute()), ledger, "the Slurm job") for group in groups]
    except (RuntimeError, TypeError, ValueError, NameError, submitit.core.utils.FailedJobError) as error:
        raise InvalidSetting("hydra.launcher.params", dict(params), f"Slurm did not take the jobs: {error}") from error
    return [SlurmJob(job.job_id, list(group)) for job, group in zip(submitted, groups, strict=True)]


def _state(job_id: str) -> str:
    """The state as the controller knows it: no accounting database is asked, since many clusters have none."""
    told = subprocess.run(["scontrol", "show", "job", "-o", job_id], check=False, capture_output=True, text=True)
    if found := re.search(r"JobState=(\w+)", told.stdout):
        return found[1]
    # The controller forgets an ended job after some minutes (MinJobAge).
    return "COMPLETED" if "Invalid job id" in told.stderr else "UNKNOWN"
