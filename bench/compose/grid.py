"""The grid: from what was typed (and what a named sweep says) to the overrides of every point."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice, product
from math import prod
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Override, RangeSweep, Transformer, ValueType
from omegaconf import DictConfig, OmegaConf

from bench.compose.ellipsis import ELLIPSIS, MAX_TERMS, expand
from bench.errors import InvalidSetting, SeriesError, require

if TYPE_CHECKING:
    from hydra.core.config_loader import ConfigLoader


MAX_POINTS = 1_000_000


def grid(loader: ConfigLoader, master: DictConfig, typed: Sequence[Override]) -> list[list[Override]]:
    """Every combination of the swept values, each as a list of overrides; what is `typed` replaces a named sweep's params.

    Axes named in sweep.zip advance together, combinations that sweep.exclude names are left
    out, and those that sweep.also names get settings of their own.
    """
    params = _unresolved(master, "hydra.sweeper.params") or {}  # Hydra's own sweeper may have none
    lines = [f"{key}={values}" if isinstance(values, str) else spelled(key, values) for key, values in params.items()]
    parser = OverridesParser.create(config_loader=loader)
    axes = {override.get_key_element(): values_of(override) for override in (*parser.parse_overrides(lines), *typed)}
    settings = master.sweep
    blocks = [_zipped(axes, spec) for spec in settings.zip]
    zipped = {key for spec in settings.zip for key in _keys(spec)}
    blocks += [[(value,) for value in values] for key, values in axes.items() if key not in zipped]
    if (count := prod(map(len, blocks))) > MAX_POINTS:
        raise InvalidSetting(
            "points", f"{count:,}", f"are more than {MAX_POINTS:,}; sweep fewer values, or divide them among several sweeps"
        )
    points = [[value for block in point for value in block] for point in product(*blocks)]
    excluded = [_combination("sweep.exclude", spec, axes) for spec in settings.exclude]
    names = {override.key_or_group for override in typed}

    def is_typed(override: Override) -> bool:
        return override.key_or_group in names

    also = [
        (_combination("sweep.also", spec, axes), [each for each in parser.parse_overrides(list(own)) if not is_typed(each)])
        for spec, own in settings.also.items()
    ]
    if excluded or also:
        named = [(point, set(map(line_of, point))) for point in points]
        kept = [(point, its_lines) for point, its_lines in named if not any(combination <= its_lines for combination in excluded)]
        # Of two that say the same the last one counts: the grid's, what is said of a part of it, what was typed.
        points = [sorted((*point, *(each for part, own in also if part <= its for each in own)), key=is_typed) for point, its in kept]
        require(bool(points), "sweep.exclude", list(settings.exclude), "leaves out every point; exclude fewer combinations")
    return points


def typed_overrides(loader: ConfigLoader, master: DictConfig) -> list[Override]:
    """The command line, less what is Hydra's own."""
    lines = _unresolved(master, "hydra.overrides.task")
    return list(OverridesParser.create(config_loader=loader).parse_overrides(lines))


def _unresolved(master: DictConfig, key: str) -> Any:
    """What stands there, as it was written: a formula like ${output_tokens} is each point's own, and not the sweep's."""
    found = OmegaConf.select(master, key)
    return OmegaConf.to_container(found, resolve=False) if OmegaConf.is_config(found) else found


def line_of(override: Override) -> str:
    """As one types it."""
    return str(override.input_line)


def spelled(key: str, value: Any) -> str:
    """`key=value` as one types it; a list is swept."""
    return f"{key}={','.join(map(_spelled, value)) if isinstance(value, Sequence) and not isinstance(value, str) else _spelled(value)}"


def _spelled(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{_spelled(part)}" for key, part in value.items()) + "}"
    if isinstance(value, str) and not re.fullmatch(r"[\w./:@$?{}+-]+", value):
        return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
    return value if isinstance(value, str) else json.dumps(value)


def values_of(override: Override) -> list[Override]:
    """The override once per value that it sweeps."""
    key = override.get_key_element()
    if not override.is_sweep_override():
        return [replace(override, input_line=f"{key}={override.get_value_element_as_str()}")]
    of_one = {"value_type": ValueType.ELEMENT, "config_loader": None}
    return [replace(override, **of_one, _value=value, input_line=f"{key}={Transformer.str(value)}") for value in _swept(override)]


def _swept(override: Override) -> list[Any]:
    """The values, with 1,2,4,...,64 spelled out."""
    sweep, key, typed = override.value(), override.get_key_element(), override.get_value_string()
    if isinstance(sweep, ChoiceSweep) and ELLIPSIS in sweep.list:
        try:
            return expand(sweep.list)
        except SeriesError as error:
            raise SeriesError(f"{override.key_or_group}={error}") from None
    as_in = "list those to measure, as in 1,2,4,...,64"
    require(not override.is_interval_sweep(), key, typed, f"holds endlessly many values; {as_in}")
    is_long = isinstance(sweep, RangeSweep) and any(True for _ in islice(sweep.range(), MAX_TERMS, None))
    require(not is_long, key, typed, f"holds more than {MAX_TERMS:,} values; take larger steps")
    values = list(override.sweep_iterator())
    require(bool(values), key, typed, f"holds no value; {as_in}")
    return values


def _keys(spec: str) -> list[str]:
    return [part.strip() for part in spec.split(",")]


def _combination(setting: str, spec: str, axes: Mapping[str, Any]) -> set[str]:
    """`model=a,batch_size=4` as the lines of a point. A value that is not swept today matches nothing; a key never would."""
    lines = set(_keys(spec))
    _require_swept([line.partition("=")[0] for line in lines], setting, spec, axes)
    return lines


def _require_swept(keys: Sequence[str], setting: str, spec: str, axes: Mapping[str, Any]) -> None:
    for key in keys:
        require(key in axes, setting, spec, f"{key} is not swept; give it values, or take it out of {setting}")


def _zipped(axes: Mapping[str, list[Override]], spec: str) -> list[tuple[Override, ...]]:
    keys = _keys(spec)
    _require_swept(keys, "sweep.zip", spec, axes)
    lengths = {key: len(axes[key]) for key in keys}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{key} has {length} values" for key, length in lengths.items())
        raise InvalidSetting("sweep.zip", spec, f"axes that advance together need equally many values, but {told}")
    return list(zip(*(axes[key] for key in keys), strict=True))
