"""The grid: from what was typed (and what a named sweep says) to the overrides of every point."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from hydra import initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Override
from hydra.types import RunMode

from bench.config import RunConfig
from bench.errors import SeriesError
from bench.sweep.compose import CONF, Composer, register_schemas
from bench.sweep.ellipsis import ELLIPSIS, expand

if TYPE_CHECKING:
    from hydra.core.config_loader import ConfigLoader


def grid(loader: ConfigLoader, params: Mapping[str, str], arguments: Sequence[str]) -> list[list[str]]:
    """Every combination of the swept values, each as a list of overrides; what is typed replaces a named sweep's params."""
    lines = [*(f"{key}={values}" for key, values in params.items()), *arguments]
    overrides = OverridesParser.create(config_loader=loader).parse_overrides(lines)
    [points] = BasicSweeper.split_arguments([_expanded(override) for override in overrides], max_batch_size=None)
    return points


def compose_sweep(arguments: Sequence[str]) -> list[RunConfig]:
    """The points of `bench-run -m ARGUMENTS`, without running them."""
    register_schemas()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        master = loader.load_configuration("config", list(arguments), RunMode.MULTIRUN)
        composer = Composer(loader, master)
        return [composer.compose(point) for point in grid(loader, master.hydra.sweeper.params, arguments)]


def _expanded(override: Override) -> Override:
    """The override with 1,2,4,...,64 spelled out."""
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
