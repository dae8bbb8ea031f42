"""hydra/sweeper=series: the grid of all swept values, with 1,2,4,...,64 expanded, on the command line and in YAML."""

from dataclasses import dataclass, field
from typing import Any, Dict, List, Optional

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


@dataclass
class SeriesSweeperConf:
    _target_: str = "hydra_plugins.bench_plugins.sweeper.SeriesSweeper"
    params: Dict[str, Any] = field(default_factory=dict)  # key: values to sweep, as on the command line or as a list


ConfigStore.instance().store(group="hydra/sweeper", name="series", node=SeriesSweeperConf, provider="bench")


class SeriesSweeper(Sweeper):
    def __init__(self, params: Optional[Dict[str, Any]] = None) -> None:
        self.params = dict(params or {})

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.hydra_context, self.config = hydra_context, config
        self.launcher = Plugins.instance().instantiate_launcher(hydra_context=hydra_context, task_function=task_function, config=config)

    def sweep(self, arguments: List[str]) -> Any:
        from bench.compose.grid import grid

        points = grid(self.hydra_context.config_loader, self.config, self.params, arguments)
        returns = self.launcher.launch(points, initial_job_idx=0)
        return [[job.return_value for job in returns]]
