"""What Hydra must know of us before it composes: the types of all settings, and where YAML files lie."""

from __future__ import annotations

from dataclasses import dataclass, field, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any, cast

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import DictConfig, OmegaConf

from bench.config import RunConfig
from bench.errors import UnknownName, require
from bench.frameworks import FRAMEWORKS, settings_by_name

_PACKAGE = Path(__file__).parents[1]
# In a wheel the YAML files lie inside the package, in a checkout beside it.
CONF = _PACKAGE / "conf" if (_PACKAGE / "conf").is_dir() else _PACKAGE.parent / "conf"


@dataclass
class Series:
    """hydra/sweeper=series: the grid of all swept values, where 1,2,4,...,64 is spelled out."""

    params: dict[str, Any] = field(default_factory=dict)  # key: values to sweep, as on the command line or as a list


@dataclass
class Placement:
    """hydra/launcher=resident: where the groups of a sweep run."""

    executor: str = "local"  # local, slurm or ray
    workers: int = 1  # local: groups that run side by side, each on its part of the GPUs or cores
    detach: bool = False  # slurm: submit and return; the same command later collects
    params: dict[str, Any] = field(default_factory=dict)  # slurm: submitit's parameters; ray: options of its tasks, and init

    def __post_init__(self) -> None:
        if self.executor not in (known := ("local", "slurm", "ray")):
            raise UnknownName("executor", self.executor, known, "as in hydra.launcher.executor=slurm")
        require(self.workers >= 1, "hydra.launcher.workers", self.workers, "must be at least 1")
        problem = f"executor={self.executor} ends with this process; only executor=slurm goes on alone"
        require(not self.detach or self.executor == "slurm", "hydra.launcher.detach", True, problem)


class OwnConfigs(SearchPathPlugin):  # type: ignore[misc]
    """A folder conf/ in the current folder is searched, too: one's own models, frameworks and sweeps, without a fork."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        own = Path.cwd() / "conf"
        if own.is_dir() and own.resolve() != CONF.resolve():
            # One's own file comes before a built-in one of the same name; but another program's root config must not become ours.
            add = search_path.append if (own / "config.yaml").exists() else search_path.prepend
            add("current-folder", f"file://{own}")


@cache  # it takes an eighth of the time of a composition
def register() -> None:
    """Tell Hydra the types, so that an unknown key or a wrong type stops before anything runs."""
    Plugins.instance().register(OwnConfigs)
    store = ConfigStore.instance()
    store.store(group="schema", name="run", node=_schema(RunConfig), provider="bench")
    store.store(group="hydra/launcher", name="resident", node=_schema(Placement), provider="bench")
    store.store(group="hydra/sweeper", name="series", node=_schema(Series), provider="bench")
    for name, settings in settings_by_name().items():
        store.store(group="schema/framework", name=name, node=_schema(settings), provider="bench")
        if name not in FRAMEWORKS:  # of another package: it needs no YAML in conf/framework/
            node = {"defaults": [f"/schema/framework/{name}@_here_"], "name": name}
            store.store(group="framework", name=name, node=node, provider="bench")


def _schema(settings: type) -> DictConfig:
    """A settings class whose free-form dictionaries (hardware.env, ...) take new keys without Hydra's plus."""
    schema = OmegaConf.structured(settings)
    _open_dictionaries(schema)
    return cast("DictConfig", schema)


def _open_dictionaries(node: DictConfig) -> None:
    for key in [str(key) for key in node if not OmegaConf.is_missing(node, key)]:
        child = node[key] if not OmegaConf.is_interpolation(node, key) else None
        if isinstance(child, DictConfig) and is_dataclass(OmegaConf.get_type(child)):
            _open_dictionaries(child)
        elif isinstance(child, DictConfig):
            OmegaConf.set_struct(child, False)
