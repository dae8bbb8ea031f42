"""Somebody else's rows as a named sweep: each row holds the whole config of its point, so that the same points can be measured here."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from enum import StrEnum
from math import prod
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from bench.cells import json_object, json_value
from bench.config import GROUPS, OF_THE_SWEEP, OPTIONS, Decode, FrameworkConfig, RunConfig
from bench.errors import InvalidSetting, NoRows, require
from bench.frameworks import settings_by_name
from bench.identity import canonical_json
from bench.importers.named_sweep import NamedSweep, file_name
from bench.results import Row, Store, read_file
from bench.row import schema_of

_COLUMNS = ["point_id", "config"]
_OURS = ("name", "output_dir", "sweep", "rerun", "report")  # where results go, and which of them to get, is for whoever runs it
_RUNS_CODE = {"python": "an interpreter of theirs", "trust_remote_code": "it runs code that comes with a model"}
# Of the worker's environment: what changes timings, and neither loads a library (LD_PRELOAD, OMP_TOOL_LIBRARIES) nor names a file.
_HARMLESS = re.compile(r"(?:OMP_(?!TOOL)|GOMP_|KMP_|MKL_|DNNL_|ONEDNN_)\w*=[\w.,:{}() -]*")
Point = dict[str, Any]  # dotted keys of the root, and a whole mapping for each group


def convert(path: Path, folder: Path) -> NamedSweep:
    """The points in a sweep's folder, or in one of its files; what a point chooses of a group is written below `folder`.

    Raises NoRows, and InvalidSetting where no row says how it was made.
    """
    home = path if os.path.isdir(path) else path.with_suffix("")
    home = home.parent if home.name == "rows" else home
    sweep = NamedSweep(file_name(f"{home.resolve().name}-here"), f"the rows in {path.name}")
    points = list(_points(_rows(path, home), sweep))
    problem = "no row in it holds the config of its point; name the folder or the file of a sweep of this program"
    require(bool(points), "+from", path, problem)
    for key in (key for key in OF_THE_SWEEP if key not in _OURS):
        _agree(key, points, sweep)
    for group in OPTIONS:
        names = _write_options(folder, group, [point[group] for point in points])
        for point, name in zip(points, names, strict=True):
            point[group] = name
    for key, value in (setting for point in points for setting in point.items()):
        problem = "is one value in every row of this program; the file was changed, so name another one"
        require(not isinstance(value, dict | list), key, f"{value}"[:60], problem)
    for key in dict.fromkeys(key for point in points for key in point):  # rows of an older version lack what came later
        for point in points:
            point.setdefault(key, _default(key))
    axes = {key: list(dict.fromkeys(point[key] for point in points)) for key in points[0]}
    is_grid = prod(map(len, axes.values())) == len(points)
    for key, values in axes.items():
        if len(values) > 1:
            sweep.settings[key] = values if is_grid else [point[key] for point in points]
            sweep.together += [] if is_grid else [key]
        else:
            (sweep.choices if key in OPTIONS else sweep.settings)[key] = values[0]
    return sweep


def _agree(key: str, points: Sequence[Point], sweep: NamedSweep) -> None:
    """Commands that gave these rows may have differed in what holds for a whole sweep: it gets what most points have."""
    values = Counter(f"{point.get(key)}" for point in points)
    if len(values) > 1:
        most = max(points, key=lambda point: values[f"{point.get(key)}"]).get(key)
        sweep.notes.append(f"{key}={', '.join(sorted(values))}: holds for the whole sweep, so {most} is taken; set {key} for another one")
        for point in points:
            point[key] = most


def _default(key: str) -> Any:
    group, _, name = key.partition(".")
    default = next(each.default for each in fields(GROUPS[group] if name else RunConfig) if each.name == (name or group))
    return str(default) if isinstance(default, StrEnum) else default


def _rows(path: Path, home: Path) -> list[Row]:
    if os.path.isdir(path):
        return list(Store(home).table(_COLUMNS).to_pylist())
    try:
        return list(read_file(path.resolve(), schema_of(_COLUMNS)).to_pylist())
    except (ValueError, OSError) as error:
        raise NoRows(path, [f"{path.name}: {str(error).splitlines()[0]}"]) from error


def _points(rows: Sequence[Row], sweep: NamedSweep) -> Iterator[Point]:
    """Each point once; of one that was sampled and measured in full, to know the error, the sampled one."""
    configs: dict[str, Any] = {}
    for row in rows:
        config = json_object(row["config"])
        is_whole = all(isinstance(config.get(group), dict) for group in OPTIONS)
        if is_whole and (row["point_id"] not in configs or json_value(row["config"], "measure", "decode") == Decode.sampled):
            configs[row["point_id"]] = config
    told: dict[str, None] = {}
    seen, frameworks = set(), settings_by_name()
    for config in configs.values():
        point = _known(config, frameworks, told)
        if canonical_json(point) not in seen:
            seen.add(canonical_json(point))
            yield point
    sweep.notes += told
    if lost := len({row["point_id"] for row in rows}) - len(configs):
        sweep.notes.append(f"{lost} points: their rows do not hold their config, so they are left out")


def _known(config: Mapping[str, Any], frameworks: Mapping[str, type[FrameworkConfig]], told: dict[str, None]) -> Point:
    """What today's settings have a place for; the rest is told. All points have the same keys."""
    problem = "is a formula, and a row holds values; the file was changed, so name another one"
    require("${" not in json.dumps(config), "config", "${...}", problem)
    point: Point = {}
    for each in fields(RunConfig):
        key, given = each.name, config.get(each.name)
        kind = _framework(config, frameworks) if key == "framework" else GROUPS.get(key)
        if key in _OURS or (key not in config and kind is None):
            continue
        if kind is None:
            point[key] = given
        else:
            values = _taken(key, given if isinstance(given, dict) else {}, kind, told)
            point |= {key: values} if key in OPTIONS else {f"{key}.{name}": value for name, value in values.items()}
    for key in config.keys() - {each.name for each in fields(RunConfig)} - {*_OURS}:
        told[f"{key}: no setting of this version, so it is left out"] = None
    return point


def _framework(config: Mapping[str, Any], known: Mapping[str, type[FrameworkConfig]]) -> type:
    name = config["framework"].get("name")
    if not isinstance(name, str) or name not in known:
        raise InvalidSetting("framework", name, f"is not known here; {', '.join(known)} are. Install the package that brings it")
    return known[name]


def _taken(group: str, given: Mapping[str, Any], kind: type, told: dict[str, None]) -> dict[str, Any]:
    known = {each.name: each.default for each in fields(kind)}
    taken = {}
    for key, value in given.items():
        if key not in known:
            told[f"{group}.{key}: no setting of this version, so it is left out"] = None
        elif key in _RUNS_CODE and value:
            told[f"{group}.{key}={value}: {_RUNS_CODE[key]}; if you trust it, set it yourself"] = None
        elif (group, key) == ("hardware", "env") and isinstance(value, dict):
            taken[key] = {name: text for name, text in value.items() if _HARMLESS.fullmatch(f"{name}={text}")}
            for name in sorted(value.keys() - taken[key].keys()):
                told[f"hardware.env.{name}={value[name]}: may do more than change timings; if you trust it, set it yourself"] = None
        elif key not in _RUNS_CODE:
            taken[key] = value
    return taken


def _write_options(folder: Path, group: str, chosen: Sequence[Mapping[str, Any]]) -> list[str]:
    """A file for each different choice, as Hydra wants to have it; returns the name of each choice."""
    names: dict[str, str] = {}
    (folder / group).mkdir(parents=True, exist_ok=True)
    for values in chosen:
        if (key := canonical_json(values)) not in names:
            names[key] = f"{folder.name}-{len(names)}"
            schema = f"defaults: [/schema/framework/{values['name']}@_here_]\n" if group == "framework" else ""
            (folder / group / f"{names[key]}.yaml").write_text(schema + OmegaConf.to_yaml(OmegaConf.create(dict(values))))
    return [names[canonical_json(values)] for values in chosen]
