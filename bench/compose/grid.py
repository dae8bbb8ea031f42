"""The grid: from what was typed (and what a named sweep says) to the overrides of every point."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from itertools import product
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Override
from omegaconf import DictConfig

from bench.compose.ellipsis import ELLIPSIS, expand
from bench.errors import InvalidSetting, SeriesError

if TYPE_CHECKING:
    from hydra.core.config_loader import ConfigLoader


def grid(loader: ConfigLoader, master: DictConfig, arguments: Sequence[str]) -> list[list[str]]:
    """Every combination of the swept values, each as a list of overrides; what is typed replaces a named sweep's params.

    Axes named in sweep.zip advance together, combinations that sweep.exclude names are left
    out, and those that sweep.also names get settings of their own.
    """
    params = (master.hydra.sweeper.get("params") or {}).items()  # Hydra's own sweeper may have none
    lines = [*(f"{key}={values}" if isinstance(values, str) else typed(key, values) for key, values in params), *arguments]
    overrides = OverridesParser.create(config_loader=loader).parse_overrides(lines)
    axes = {override.get_key_element(): _values(override) for override in overrides}
    settings = loader.load_sweep_config(master, [values[0] for values in axes.values()]).sweep
    blocks = [_zipped(axes, spec) for spec in settings.zip]
    zipped = {key for spec in settings.zip for key in _keys(spec)}
    blocks += [[(line,) for line in lines] for key, lines in axes.items() if key not in zipped]
    points = [[line for block in point for line in block] for point in product(*blocks)]
    excluded = [_keys(spec) for spec in settings.exclude]
    kept = [point for point in points if not any(set(combination) <= set(point) for combination in excluded)]
    also = [(_keys(spec), lines) for spec, lines in settings.also.items()]
    return [[*point, *(line for part, lines in also if set(part) <= set(point) for line in lines)] for point in kept]


def typed(key: str, value: Any) -> str:
    """`key=value` as one types it; a list is swept."""
    return f"{key}={','.join(map(_spelled, value)) if isinstance(value, Sequence) and not isinstance(value, str) else _spelled(value)}"


def _spelled(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{_spelled(part)}" for key, part in value.items()) + "}"
    if isinstance(value, str) and not re.fullmatch(r"[\w./:@$?{}+-]+", value):
        return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
    return value if isinstance(value, str) else json.dumps(value)


def _values(override: Override) -> list[str]:
    """The override once per value that it sweeps, with 1,2,4,...,64 spelled out."""
    key, value = override.get_key_element(), override.value()
    if isinstance(value, ChoiceSweep) and ELLIPSIS in value.list:
        try:
            return [f"{key}={term}" for term in expand(value.list)]
        except SeriesError as error:
            raise SeriesError(f"{override.key_or_group}={error}") from None
    if override.is_interval_sweep():
        raise InvalidSetting(key, override.get_value_string(), "holds endlessly many values; list those to measure, as in 1,2,4,...,64")
    if override.is_sweep_override():
        return [f"{key}={text}" for text in override.sweep_string_iterator()]
    return [f"{key}={override.get_value_element_as_str()}"]


def _keys(spec: str) -> list[str]:
    return [part.strip() for part in spec.split(",")]


def _zipped(axes: Mapping[str, list[str]], spec: str) -> list[tuple[str, ...]]:
    keys = _keys(spec)
    for key in keys:
        if key not in axes:
            raise InvalidSetting("sweep.zip", spec, f"{key} is not swept; give it values, or take it out of sweep.zip")
    lengths = {key: len(axes[key]) for key in keys}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{key} has {length} values" for key, length in lengths.items())
        raise InvalidSetting("sweep.zip", spec, f"axes that advance together need equally many values, but {told}")
    return list(zip(*(axes[key] for key in keys), strict=True))
