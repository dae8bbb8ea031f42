"""Which points of two sweeps, or of two parts of one, are the same but for what is compared; and what else differs."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Any

from bench.analysis.regression import Pair, Side
from bench.config import canonical_json
from bench.errors import InvalidSetting
from bench.results import Row, Status, Store

GRID = ("batch_size", "input_tokens", "output_tokens")
# Parts of the config that say what was measured, and not how often or where to.
_POINT = ("model", "framework", "hardware", "generation", "data", *GRID, "seed")
_SURROUNDINGS = (
    *("host", "hardware", "device", "cpu", "gpu", "driver", "threads"),
    *("torch", "transformers", "python", "framework_version", "bench_version", "git_sha"),
)
_COLUMNS = [
    *("point_id", "round", "started_at", "status", "latency_s", "latencies_s", "noisy", "config", "environment"),
    *_SURROUNDINGS,
]


@dataclass(frozen=True)
class Measured:
    """One point of a sweep: its settings as {"model.name": ...}, and its latest row of each round."""

    settings: Mapping[str, Any]
    rounds: Mapping[int, Row]

    @property
    def side(self) -> Side:
        return Side(
            rounds={number: row["latency_s"] for number, row in self.rounds.items()},
            noisy=frozenset(number for number, row in self.rounds.items() if row["noisy"]),
            repeats=[latency_s for row in self.rounds.values() for latency_s in row["latencies_s"]],
        )


@dataclass(frozen=True)
class Group:
    """One side of a comparison."""

    name: str
    points: Sequence[Measured]

    @cached_property
    def values(self) -> dict[str, set[str]]:
        found: dict[str, set[str]] = defaultdict(set)
        for point in self.points:
            for key, value in point.settings.items():
                found[key].add(_text(value))
        return found

    @property
    def round_s(self) -> float | None:
        """The time from one round to the next, as the median point saw it; None if none was measured twice."""
        times = [sorted(row["started_at"] for row in point.rounds.values()) for point in self.points if len(point.rounds) > 1]
        return median((started[-1] - started[0]).total_seconds() / (len(started) - 1) for started in times) if times else None

    def surroundings(self) -> dict[str, set[str]]:
        found: dict[str, set[str]] = defaultdict(set)
        for row in (row for point in self.points for row in point.rounds.values()):
            environment = json.loads(row["environment"] or "{}")
            further = {**environment.get("details", {}), **environment.get("variables", {})}
            for key, value in {**{name: row[name] for name in _SURROUNDINGS}, **further}.items():
                found[key].add(_text(value))
        return found


@dataclass(frozen=True)
class Matched:
    base: Group
    new: Group
    pairs: Sequence[Pair]
    unmatched: int  # points that only one side has
    differences: Mapping[str, tuple[str, str]]  # settings and surroundings that are not the same on both sides
    interleaved: bool  # both sides are parts of one sweep, and met the same rounds

    @property
    def round_s(self) -> float:
        """The time from one round to the next, on the side where that is shorter; 0 if there is but one."""
        return min(side.round_s or 0.0 for side in (self.base, self.new))


def read(folder: Path) -> Group:
    """The points of a sweep that have a result. Raises NoRows."""
    found: dict[str, dict[int, Row]] = defaultdict(dict)
    table = Store(folder).table(_COLUMNS)
    for row in sorted(table.to_pylist(), key=lambda row: row["started_at"]):
        if row["status"] == Status.ok:
            found[row["point_id"]][row["round"]] = row
    points = [Measured(_settings(next(iter(rounds.values()))), rounds) for rounds in found.values()]
    return Group(folder.name, sorted(points, key=lambda point: [point.settings[key] for key in GRID]))


def split(group: Group, by: str) -> list[Group]:
    """The parts of a sweep that differ in the setting `by`, in the order of their first points. Raises InvalidSetting."""
    key = _key_for(group, by)
    parts: dict[str, list[Measured]] = defaultdict(list)
    for point in group.points:
        parts[_text(point.settings.get(key))].append(point)
    return [Group(name, points) for name, points in parts.items()]


def match(base: Group, new: Group, *, interleaved: bool) -> Matched:
    """Pair the points that agree in the grid and in whatever varies within a side; the rest of the settings may differ."""
    told_apart = sorted({key for group in (base, new) for key, values in group.values.items() if len(values) > 1} | set(GRID))
    theirs = {_identity(point, told_apart): point for point in new.points}
    pairs = []
    for point in base.points:
        other = theirs.get(_identity(point, told_apart))
        if other:
            shown = {key: point.settings.get(key) for key in told_apart}
            pairs.append(Pair(shown, point.side, other.side))
    unmatched = len(base.points) + len(new.points) - 2 * len(pairs)
    return Matched(base, new, pairs, unmatched, _differences(base, new, told_apart), interleaved)


def _differences(base: Group, new: Group, told_apart: Sequence[str]) -> dict[str, tuple[str, str]]:
    sides = [{**{k: v for k, v in group.values.items() if k not in told_apart}, **group.surroundings()} for group in (base, new)]
    keys = dict.fromkeys((*sides[0], *sides[1]))
    both = {key: (_joined(sides[0].get(key)), _joined(sides[1].get(key))) for key in keys}
    return {key: values for key, values in both.items() if values[0] != values[1]}


def _key_for(group: Group, by: str) -> str:
    """`framework` for framework.name, `dtype` for model.dtype; the whole key where that is not clear."""
    keys = list(group.values)
    for found in ([by], [f"{by}.name"], [key for key in keys if key.rpartition(".")[2] == by]):
        if len(found) == 1 and found[0] in keys:
            return found[0]
    varying = sorted(key for key, values in group.values.items() if len(values) > 1)
    raise InvalidSetting("--by", by, f"is no setting of this sweep; those that vary in it are {', '.join(varying) or 'none'}")


def _identity(point: Measured, keys: Iterable[str]) -> tuple[str, ...]:
    return tuple(_text(point.settings.get(key)) for key in keys)


def _settings(row: Row) -> dict[str, Any]:
    config = json.loads(row["config"])
    return dict(_leaves({key: config[key] for key in _POINT if key in config}))


def _leaves(values: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _text(value: Any) -> str:
    return value if isinstance(value, str) else canonical_json(value)


def _joined(values: set[str] | None) -> str:
    return ", ".join(sorted(values)) if values else "-"
