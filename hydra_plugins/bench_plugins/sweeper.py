"""hydra/sweeper=series: the grid of all swept values, with 1,2,4,...,64 expanded, on the command line and in YAML."""

import copy
from dataclasses import dataclass, field
from typing import Any, Dict, List, Optional

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Override
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


@dataclass
class SeriesSweeperConf:
    _target_: str = "hydra_plugins.bench_plugins.sweeper.SeriesSweeper"
    params: Dict[str, str] = field(default_factory=dict)  # key: values to sweep, as on the command line


ConfigStore.instance().store(group="hydra/sweeper", name="series", node=SeriesSweeperConf, provider="bench")


class SeriesSweeper(Sweeper):
    def __init__(self, params: Optional[Dict[str, str]] = None) -> None:
        self.params = dict(params or {})

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.hydra_context, self.config = hydra_context, config
        self.launcher = Plugins.instance().instantiate_launcher(hydra_context=hydra_context, task_function=task_function, config=config)

    def sweep(self, arguments: List[str]) -> Any:
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        params = [f"{key}={values}" for key, values in self.params.items()]
        overrides = [_expanded(override) for override in parser.parse_overrides([*params, *arguments])]
        [jobs] = BasicSweeper.split_arguments(overrides, max_batch_size=None)
        returns = self.launcher.launch(jobs, initial_job_idx=0)
        return [[job.return_value for job in returns]]


def _expanded(override: Override) -> Override:
    from bench.errors import SeriesError
    from bench.sweep.ellipsis import ELLIPSIS, expand

    value = override._value
    if not isinstance(value, ChoiceSweep) or ELLIPSIS not in value.list:
        return override
    expanded = copy.copy(override)
    expanded._value = copy.copy(value)
    try:
        expanded._value.list = expand(value.list)
    except SeriesError as error:
        raise SeriesError(f"{override.key_or_group}={error}") from None
    return expanded
