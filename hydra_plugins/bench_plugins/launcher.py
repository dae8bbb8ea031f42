"""hydra/launcher=resident: checks every point before the first one starts, then runs them with each model loaded once."""

from dataclasses import dataclass, field
from typing import Any, Dict, Sequence

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf


@dataclass
class ResidentLauncherConf:
    _target_: str = "hydra_plugins.bench_plugins.launcher.ResidentLauncher"
    executor: str = "local"  # local, slurm or ray
    workers: int = 1  # local: groups that run side by side, each on its part of the GPUs or cores
    detach: bool = False  # slurm: submit and return; the same command later collects
    params: Dict[str, Any] = field(default_factory=dict)  # slurm: submitit's parameters; ray: options of its tasks, and init


schema = OmegaConf.structured(ResidentLauncherConf)
OmegaConf.set_struct(schema.params, False)  # its keys are submitit's and Ray's
ConfigStore.instance().store(group="hydra/launcher", name="resident", node=schema, provider="bench")


class ResidentLauncher(Launcher):
    def __init__(self, **placement: Any) -> None:
        self.placement = placement

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.hydra_context, self.config = hydra_context, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        from bench.compose.composer import Composer
        from bench.run import run_points
        from bench.sweep.conductor import Placement

        composer = Composer(self.hydra_context.config_loader, self.config)
        points = [composer.compose(overrides) for overrides in job_overrides]
        run_points(points, Placement(**self.placement))
        return [JobReturn(overrides=list(overrides), status=JobStatus.COMPLETED) for overrides in job_overrides]
