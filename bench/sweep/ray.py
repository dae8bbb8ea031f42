"""executor=ray: each group as a Ray task, with the GPUs and cores that it asks for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from bench.config import Device, RunConfig
from bench.errors import MissingExtra
from bench.results import Status, Store
from bench.sweep.cluster import run_group
from bench.sweep.outcome import Outcome
from bench.sweep.plan import Job, Plan


@dataclass(frozen=True)
class RayTask:
    """A group in the hands of Ray."""

    reference: Any
    jobs: Sequence[Job]

    def ended(self) -> Outcome | None:
        import ray

        done, _ = ray.wait([self.reference], timeout=0)
        if not done:
            return None
        try:
            ray.get(self.reference)
        except Exception as error:  # whatever a remote process may die of
            reason = str(error).strip().splitlines()[-1]
            return Outcome(Status.crashed, f"its Ray task ended before this was done ({type(error).__name__}: {reason})")
        return Outcome(Status.crashed, "its Ray task ended without a row for it; see the logs folder")

    def cancel(self) -> None:
        import ray

        ray.cancel(self.reference, force=True)


def needed(run: RunConfig, nodes: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """What a group takes of a node: a GPU for each rank, with its share of the cores; on CPUs all cores, so that no other disturbs it.

    Of unequal nodes the smallest decides.
    """
    with_gpus = [node for node in nodes if node.get("GPU")]
    if with_gpus and run.hardware.device is not Device.cpu and run.framework.uses_gpus:
        gpus = run.framework.ranks
        return {"num_gpus": gpus, "num_cpus": max(1, min(int(node.get("CPU", 1) * gpus / node["GPU"]) for node in with_gpus))}
    return {"num_cpus": max(1, min((int(node.get("CPU", 1)) for node in nodes), default=1))}


@contextmanager
def placed(plan: Plan, store: Store, params: Mapping[str, Any], tell: Callable[[str], None]) -> Iterator[list[RayTask]]:
    """Hand each group to Ray, and leave Ray at the end. `params`: `init` for ray.init, the rest (num_gpus, num_cpus, ...) for the tasks."""
    try:
        import ray
    except ImportError:
        raise MissingExtra("executor=ray", "ray", "ray") from None
    options = dict(params)
    ray.init(**{"include_dashboard": False, "log_to_driver": False, "logging_level": "error", **options.pop("init", {})})
    try:
        task = ray.remote(max_retries=0)(run_group)  # a second try would measure what has a row already
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        folder = str(store.folder.absolute())
        yield [
            RayTask(task.options(**{**needed(group[0].run, nodes), **options}).remote(group, folder, plan.ledger, "the Ray task"), group)
            for group in plan.groups
        ]
    finally:
        ray.shutdown()
