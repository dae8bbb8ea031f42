"""What a command line asks for: checked points, and where they are to run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hydra import initialize_config_dir
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from bench.compose import schemas
from bench.compose.composer import Composer
from bench.compose.grid import grid
from bench.compose.messages import explain
from bench.compose.placement import Placement
from bench.config import RunConfig
from bench.errors import BenchError


@dataclass(frozen=True)
class Request:
    points: list[RunConfig]
    placement: Placement | None  # None: hydra/launcher chose one of Hydra's own
    # What Hydra's own launchers need, to compose each point again where they run it.
    loader: ConfigLoader
    master: DictConfig
    overrides: list[list[str]]


def compose(arguments: Sequence[str]) -> Request:
    """The sweep of `bench-run ARGUMENTS`, not run. Raises BenchError."""
    try:
        return _compose(arguments)
    except BenchError:
        raise
    except Exception as error:  # the boundary: Hydra and OmegaConf fail in many ways on what they did not expect
        raise BenchError(explain(error, arguments)) from error


def compose_sweep(arguments: Sequence[str]) -> list[RunConfig]:
    """The points alone."""
    return compose(arguments).points


def _compose(arguments: Sequence[str]) -> Request:
    schemas.register()
    with initialize_config_dir(str(schemas.CONF), job_name="bench", version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        master = loader.load_configuration("config", list(arguments), RunMode.MULTIRUN)
        overrides = grid(loader, master, master.hydra.overrides.task)
        composer = Composer(loader, master)
        points = [composer.compose(point) for point in overrides]
        placement = OmegaConf.to_object(master.hydra.launcher)
        return Request(points, placement if isinstance(placement, Placement) else None, loader, master, overrides)
