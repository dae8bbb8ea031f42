"""Groups of jobs on other machines: place each, watch the shared disk for its rows, and say how it ended."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from bench.host.processes import on_sigterm
from bench.results import Row, Status, Store
from bench.sweep.group import GroupRunner, Observer
from bench.sweep.outcome import Outcome, host_of, to_row
from bench.sweep.plan import Job, JobKey, Ledger, unfinished

_POLL_S = 0.5


class Placed(Protocol):
    """A group that was handed to a cluster."""

    @property
    def jobs(self) -> Sequence[Job]: ...

    def ended(self) -> Outcome | None:
        """How the group ended, for its jobs without a row; None while it waits or runs."""

    def cancel(self) -> None: ...


class Silent:
    """An Observer on the far side: the rows tell the launching side all there is to know."""

    def note(self, text: str) -> None: ...
    def loading(self, job: Job) -> None: ...
    def repeating(self, job: Job, kind: str, number: int, count: int | None) -> None: ...
    def finished(self, job: Job, row: Row) -> None: ...


def run_group(jobs: Sequence[Job], folder: str, ledger: Ledger, place: str) -> None:
    """What a cluster runs, on the machine that it chose. A SIGTERM leaves a row that names the place."""
    store = Store(Path(folder))
    store.prepare()
    runner = GroupRunner(store, Silent(), ledger)
    reason = f"{place} was told to stop (cancelled, preempted, or out of its time)"
    with on_sigterm(lambda: runner.stop(reason)):
        runner.run(jobs)


def collect(placed: Sequence[Placed], store: Store, names: frozenset[str], observer: Observer, ledger: Ledger) -> None:
    """Wait for the groups, and pass on each row as it arrives. A job whose group ended without its row gets one here.

    KeyboardInterrupt cancels the groups, and is raised again once their jobs have rows.
    """
    rows = _Rows(store, names, observer, ledger, {job.key: job for group in placed for job in group.jobs})
    waiting = list(placed)
    try:
        while waiting:
            time.sleep(_POLL_S)
            rows.pass_on()
            waiting = [group for group in waiting if not rows.settle(group)]
    except KeyboardInterrupt:
        for group in waiting:
            group.cancel()
        for group in waiting:
            rows.settle(group, Outcome(Status.interrupted, "stopped by Ctrl-C; the same command runs it again"))
        raise


@dataclass
class _Rows:
    """The rows that arrive on the shared disk."""

    store: Store
    names: frozenset[str]
    observer: Observer
    ledger: Ledger
    jobs: dict[JobKey, Job]

    def pass_on(self) -> None:
        newer = self.store.names() - self.names
        self.names |= newer
        for row in self.store.rows_in(newer):
            key = (row["config_id"], row["round"])
            self.ledger.statuses[key] = Status(row["status"])
            if job := self.jobs.get(key):  # a probe of a search is nobody's job
                self.observer.finished(job, row)

    def settle(self, group: Placed, outcome: Outcome | None = None) -> bool:
        """Whether the group has ended; then each of its jobs has a row."""
        outcome = outcome or group.ended()
        if outcome is None:
            return False
        time.sleep(_POLL_S)  # its last row may still be on its way through a network disk
        self.pass_on()
        for job in unfinished(group.jobs, self.ledger):
            row = to_row(job, outcome, datetime.now(UTC), host_of(job.run))
            self.store.write(row)
        self.pass_on()
        return True
