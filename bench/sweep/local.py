"""executor=local: groups of jobs in worker processes of this host, one after the other or side by side."""

from __future__ import annotations

import os
import queue
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from bench.host import machine
from bench.sweep.group import GroupRunner
from bench.sweep.plan import Job
from bench.worker.resident import Slot

MakeRunner = Callable[[Slot], GroupRunner]


def run_locally(groups: Sequence[Sequence[Job]], make_runner: MakeRunner, workers: int) -> None:
    """Run every group on one of `workers` slots. KeyboardInterrupt ends the jobs in flight, writes their rows, and is raised again."""
    waiting: queue.SimpleQueue[Sequence[Job]] = queue.SimpleQueue()
    for group in groups:
        waiting.put(group)
    runners = [make_runner(slot) for slot in slots(min(workers, len(groups)))]
    # The kernel ends a worker with the thread that started it, so each runner keeps to one thread of the pool.
    with ThreadPoolExecutor(len(runners), thread_name_prefix="slot") as pool:
        lanes = [pool.submit(runner.run, _taken(waiting)) for runner in runners]
        try:
            for lane in lanes:
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


def slots(workers: int) -> list[Slot]:
    """The host in equal parts: GPUs where there are some, else cores. One worker gets all of it."""
    if workers <= 1:
        return [Slot()]
    if gpus := _visible_gpus():
        return [Slot(gpus=tuple(gpus[i::workers])) for i in range(min(workers, len(gpus)))]
    cpus = sorted(os.sched_getaffinity(0))
    return [Slot(cpus=tuple(cpus[i::workers])) for i in range(min(workers, len(cpus)))]


def _visible_gpus() -> list[str]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        return [gpu for gpu in chosen.split(",") if gpu.strip() and gpu != "-1"]
    return [str(i) for i in range(len(machine.describe().gpus))]
