"""Which settings of two sweeps, or of two parts of one, are the same but for what is compared; and what else differs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import pandas as pd

from bench.analysis.columns import GRID
from bench.analysis.compare.statistics import Side
from bench.analysis.settings import KEY, leaves, read_jobs
from bench.cells import json_object, json_value
from bench.config import canonical_json
from bench.errors import InvalidSetting
from bench.results import Status

# Parts of the config that say what was measured, and not how often or where to.
_POINT = ("model", "framework", "hardware", "generation", "data", *GRID, "seed")
_SURROUNDINGS = (
    *("host", "hardware", "device", "cpu", "gpu", "driver", "threads"),
    *("torch", "transformers", "python", "framework_version", "bench_version", "git_sha", "environment_id"),
)


@dataclass(frozen=True)
class Measured:
    """One setting: what was chosen as {"model.name": ...}, what was around it, and its jobs that have a result, one per round."""

    chosen: Mapping[str, Any]
    around: Mapping[str, Any]
    jobs: pd.DataFrame = field(repr=False)

    def value(self, key: str) -> str:
        return _text(self.chosen.get(key, self.around.get(key)))

    @property
    def source(self) -> str:
        """measured, or sampled."""
        return str(self.jobs["source"].iloc[-1])

    @property
    def side(self) -> Side:
        rounds = self.jobs["round"].tolist()
        return Side(
            rounds=dict(zip(rounds, self.jobs["latency_s"].tolist(), strict=True)),
            noisy=frozenset(number for number, noisy in zip(rounds, self.jobs["noisy"], strict=True) if noisy),
            repeats=[float(latency_s) for latencies_s in self.jobs["latencies_s"] for latency_s in latencies_s],
        )

    @property
    def gaps_s(self) -> list[float]:
        """From the start of each round to the start of the next."""
        return [gap.total_seconds() for gap in self.jobs["started_at"].sort_values().diff().dropna()]


Part = Sequence[Measured]
"""One side of a comparison."""


@dataclass(frozen=True)
class Matched:
    base: str
    new: str
    pairs: Sequence[tuple[Side, Side]]
    points: Sequence[Mapping[str, Any]]  # what each pair has in common: {"batch_size": 1, ...}
    unmatched: int  # settings that only one side has
    differences: Mapping[str, tuple[str, str]]  # what was chosen and what was around that is not the same on both sides
    one_sided: int  # settings that were sampled on one side and measured on the other
    mixed: int  # of these, how many are compared all the same
    interleaved: bool  # both sides met the same rounds
    round_s: float  # from one round to the next, on the side where that is shorter; 0 if there is but one


def read(folder: Path) -> Part:
    """The settings of a sweep that have a result. Raises NoRows."""
    jobs = read_jobs([folder], ("environment",))
    done = jobs[jobs["status"] == Status.ok]
    found = [_measured(rounds) for _, rounds in done.groupby(KEY, dropna=False, sort=False)]
    return sorted(found, key=lambda one: [one.chosen[key] for key in GRID])


def split(part: Part, by: str) -> dict[str, Part]:
    """The parts of a sweep that differ in `by`, in the order of their first settings. Raises InvalidSetting."""
    key = _key_for(part, by)
    parts: dict[str, list[Measured]] = defaultdict(list)
    for one in part:
        parts[one.value(key)].append(one)
    return dict(parts)


def match(
    base: tuple[str, Part], new: tuple[str, Part], environment: str | None = None, *, one_sweep: bool = False, mix: bool = False
) -> Matched:
    """Pair the settings that agree in the grid and in whatever varies within a side; the rest may differ.

    Where the same thing was measured in several environments, only those of one environment are compared with
    each other. `environment` (torch=2.13.0) chooses. Raises InvalidSetting where none is on both sides. Parts of
    `one_sweep` may have met the same rounds. What was sampled on one side and measured on the other is compared with `mix` only.
    """
    apart = sorted({key for _, part in (base, new) for key, values in _values(part).items() if len(values) > 1} | set(GRID))
    chosen = {name: _by_identity(part, apart) for name, part in (("base", base[1]), ("new", new[1]))}
    found: list[tuple[Measured, Measured]] = []
    for identity in chosen["base"].keys() & chosen["new"].keys():
        found += _alike(chosen["base"][identity], chosen["new"][identity], environment)
    mixed = [pair for pair in found if pair[0].source != pair[1].source]
    if not mix:
        found = [pair for pair in found if pair[0].source == pair[1].source]
    order = {id(one): place for place, one in enumerate(base[1])}
    found.sort(key=lambda pair: order[id(pair[0])])
    points = [{key: a.chosen.get(key) for key in apart} for a, _ in found]
    left_out = 0 if mix else len(mixed)
    unmatched = len(base[1]) + len(new[1]) - 2 * (len(found) + left_out)
    told = _differences([a for a, _ in found], [b for _, b in found], apart)
    return Matched(
        *(base[0], new[0], [(a.side, b.side) for a, b in found], points, unmatched, told),
        *(len(mixed), len(mixed) - left_out, one_sweep and _interleaved(found), _round_s(found)),
    )


def _measured(rounds: pd.DataFrame) -> Measured:
    latest = rounds.iloc[-1]
    config = json_object(latest["config"])
    chosen = leaves({**{key: config[key] for key in _POINT if key in config}, **{key: int(latest[key]) for key in GRID}})
    told = [json_value(latest["environment"], part) for part in ("details", "variables")]
    around = {**{name: latest[name] for name in _SURROUNDINGS}, **{key: value for each in told for key, value in _entries(each)}}
    return Measured(dict(chosen), {key: _plain(value) for key, value in around.items()}, rounds)


def _entries(value: object) -> Iterable[tuple[str, Any]]:
    return value.items() if isinstance(value, dict) else ()


def _alike(base: Part, new: Part, environment: str | None) -> list[tuple[Measured, Measured]]:
    """Each with its like of the same environment; of one environment on each side, these."""
    base, new = (_chosen(side, environment) for side in (base, new))
    if len(base) == len(new) == 1:
        return [(base[0], new[0])]
    same = [(a, b) for a in base for b in new if a.around.get("environment_id") == b.around.get("environment_id")]
    if not same:
        raise _ambiguous([one for side in (base, new) if len(side) > 1 for one in side], environment)
    return same


def _chosen(side: Part, environment: str | None) -> Part:
    if len(side) < 2 or environment is None:
        return side
    key, _, value = environment.partition("=")
    found = [one for one in side if one.value(key) == value]
    if not found:
        raise _ambiguous(side, environment)
    return found


def _ambiguous(settings: Part, environment: str | None) -> InvalidSetting:
    values = _values(settings, around=True)
    key = next((name for name in ("torch", "transformers", "framework_version") if len(values[name]) > 1), "environment_id")
    choices = " or ".join(f"--environment {key}={value}" for value in sorted(values[key]))
    problem = f"points were measured in several environments, none of them on both sides; say {choices}, or compare them: --by {key}"
    return InvalidSetting("--environment", environment or "", problem)


def _interleaved(found: Sequence[tuple[Measured, Measured]]) -> bool:
    """Whether the sides took turns: the same round of both started closer together than one round and the next."""
    between, gaps = [], []
    for a, b in found:
        starts = [one.jobs.set_index("round")["started_at"] for one in (a, b)]
        between += [abs(lag.total_seconds()) for lag in (starts[1] - starts[0]).dropna()]
        gaps += [*a.gaps_s, *b.gaps_s]
    return bool(between and gaps) and median(between) <= median(gaps)


def _round_s(found: Sequence[tuple[Measured, Measured]]) -> float:
    """The median gap, so that a pause of a night counts as one gap; as the median setting saw it."""
    sides = [[median(one.gaps_s) for one in side if one.gaps_s] for side in zip(*found, strict=True)]
    return min((median(side) if side else 0.0 for side in sides), default=0.0)


def _values(part: Part, *, around: bool = False) -> dict[str, set[str]]:
    found: dict[str, set[str]] = defaultdict(set)
    for one in part:
        for key, value in (one.around if around else one.chosen).items():
            found[key].add(_text(value))
    return found


def _differences(base: Part, new: Part, apart: Iterable[str]) -> dict[str, tuple[str, str]]:
    sides = [
        {**{key: values for key, values in _values(part).items() if key not in apart}, **_values(part, around=True)} for part in (base, new)
    ]
    both = {key: (_joined(sides[0].get(key)), _joined(sides[1].get(key))) for key in dict.fromkeys((*sides[0], *sides[1]))}
    return {key: values for key, values in both.items() if values[0] != values[1] and key != "environment_id"}


def _key_for(part: Part, by: str) -> str:
    """`framework` for framework.name, `dtype` for model.dtype, `torch` for its version; the whole key where that is not clear."""
    chosen, around = _values(part), _values(part, around=True)
    varying = sorted(key for values in (chosen, around) for key, found in values.items() if len(found) > 1)
    shortened = [key for key in chosen if key.rpartition(".")[2] == by]
    for known in (varying, {**chosen, **around}):  # `python` is the interpreter that was chosen, where all of them are one version
        for found in ([by], [f"{by}.name"], shortened):
            if len(found) == 1 and found[0] in known:
                return found[0]
    raise InvalidSetting("--by", by, f"is no setting of this sweep; those that vary in it are {', '.join(varying) or 'none'}")


def _by_identity(part: Part, keys: Sequence[str]) -> dict[tuple[str, ...], list[Measured]]:
    found: dict[tuple[str, ...], list[Measured]] = defaultdict(list)
    for one in part:
        found[tuple(_text(one.chosen.get(key)) for key in keys)].append(one)
    return found


def _text(value: Any) -> str:
    return value if isinstance(value, str) else canonical_json(value)


def _plain(value: Any) -> Any:
    """As JSON has it, of what pandas makes of it: 2.0 of a column with a null, and NaN."""
    if isinstance(value, dict | list):
        return value
    if pd.isna(value):
        return None
    return int(value) if isinstance(value, float) and value.is_integer() else getattr(value, "item", lambda: value)()


def _joined(values: set[str] | None) -> str:
    return ", ".join(sorted(values)) if values else "-"
