"""Where the groups of a sweep run: the settings below hydra.launcher."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from bench.errors import InvalidSetting, UnknownName


@dataclass
class Placement:
    executor: str = "local"  # local, slurm or ray
    workers: int = 1  # local: groups that run side by side, each on its part of the GPUs or cores
    detach: bool = False  # slurm: submit and return; the same command later collects
    params: dict[str, Any] = field(default_factory=dict)  # slurm: submitit's parameters; ray: options of its tasks, and init

    def __post_init__(self) -> None:
        if self.executor not in (known := ("local", "slurm", "ray")):
            raise UnknownName("executor", self.executor, known, "as in hydra.launcher.executor=slurm")
        if self.workers < 1:
            raise InvalidSetting("hydra.launcher.workers", self.workers, "must be at least 1")
        if self.detach and self.executor != "slurm":
            raise InvalidSetting(
                "hydra.launcher.detach", True, f"executor={self.executor} ends with this process; only executor=slurm goes on alone"
            )
