"""executor=local: groups of jobs in worker processes of this host, one after the other or side by side."""

from __future__ import annotations

from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from itertools import chain

from bench.host.ceilings import CeilingKeeper
from bench.host.devices import devices
from bench.results import Store
from bench.sweep.group import GroupRunner, Observer
from bench.sweep.plan import Plan


def run_locally(plan: Plan, store: Store, observer: Observer, workers: int) -> None:
    """Run every group on one of `workers` slots. KeyboardInterrupt ends the jobs in flight, writes their rows, and is raised again."""
    if not plan.todo:
        return
    ceilings = CeilingKeeper(may_repeat=workers == 1)
    for job in plan.todo:
        ceilings.ensure(job.run, observer.note)  # before any worker starts: it needs the host to itself
    slots = devices().slots(min(workers, plan.loads), [group[0].run for group in plan.groups])
    runners = [GroupRunner(store, observer, plan.ledger, slot, ceilings) for slot in slots]
    waiting = iter(plan.groups)  # one for all: whoever is free takes the next
    # The kernel ends a worker with the thread that started it, so each runner keeps to one thread of the pool.
    with ThreadPoolExecutor(len(runners), thread_name_prefix="slot") as pool:
        try:
            lanes = [pool.submit(runner.run, chain.from_iterable(waiting)) for runner in runners]
            for lane in wait(lanes, return_when=FIRST_EXCEPTION).done:
                lane.result()
        except BaseException as error:  # also when a disk is full: the others must not go on
            reason = "stopped by Ctrl-C or SIGTERM" if isinstance(error, KeyboardInterrupt) else str(error)
            for runner in runners:
                runner.stop(f"{reason}; the same command runs it again")
            raise
