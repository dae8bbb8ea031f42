"""executor=local: groups of jobs in worker processes of this host, one after the other or side by side."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait

from bench.host.devices import Slot, devices
from bench.sweep.group import GroupRunner
from bench.sweep.plan import Job

MakeRunner = Callable[[Slot], GroupRunner]


def run_locally(groups: Sequence[Sequence[Job]], make_runner: MakeRunner, workers: int) -> None:
    """Run every group on one of `workers` slots. KeyboardInterrupt ends the jobs in flight, writes their rows, and is raised again."""
    waiting: queue.SimpleQueue[Sequence[Job]] = queue.SimpleQueue()
    for group in groups:
        waiting.put(group)
    runners = [make_runner(slot) for slot in devices().slots(min(workers, len(groups)), [group[0].run for group in groups])]
    # The kernel ends a worker with the thread that started it, so each runner keeps to one thread of the pool.
    with ThreadPoolExecutor(len(runners), thread_name_prefix="slot") as pool:
        try:
            lanes = [pool.submit(runner.run, _taken(waiting)) for runner in runners]
            for lane in wait(lanes, return_when=FIRST_EXCEPTION).done:
                lane.result()
        except BaseException as error:  # also when a disk is full: the others must not go on
            reason = "stopped by Ctrl-C or SIGTERM" if isinstance(error, KeyboardInterrupt) else str(error)
            for runner in runners:
                runner.stop(f"{reason}; the same command runs it again")
            raise


def _taken(waiting: queue.SimpleQueue[Sequence[Job]]) -> Iterator[Job]:
    while True:
        try:
            yield from waiting.get_nowait()
        except queue.Empty:
            return
