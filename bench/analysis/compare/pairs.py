"""Which settings of two sweeps, or of two parts of one, are the same but for what is compared; and what else differs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bench.analysis.columns import GRID
from bench.analysis.compare.statistics import Side
from bench.analysis.settings import KEY, leaves, read_jobs
from bench.cells import json_object
from bench.errors import InvalidSetting
from bench.identity import canonical_json
from bench.results import Status

# Parts of the config that say what was measured, and not how often or where to.
_POINT = ("model", "framework", "hardware", "generation", "data", *GRID, "seed")
_VERSIONS = ("torch", "transformers", "framework_version")
_SURROUNDINGS = (
    *("host", "hardware", "device", "cpu", "gpu", "driver", "threads", "python", *_VERSIONS),
    *("bench_version", "git_sha", "environment_id"),
)
_MEASURED = ("point", "jobs", "source")  # all that was chosen, as it is; the jobs, one per round; measured or sampled
Both = tuple[str, str]


@dataclass(frozen=True)
class Matching:
    """What of two sweeps is compared with what."""

    base: str
    new: str
    pairs: Sequence[tuple[Side, Side]]
    points: Sequence[Mapping[str, Any]]  # what each pair has in common: {"batch_size": 1, ...}
    unmatched: int  # settings that only one side has
    one_sided: int  # settings that were sampled on one side and measured on the other, and are left out
    mixed: int  # such settings that are compared all the same
    differences: Mapping[str, Both]  # what was chosen and what was around that is not the same on both sides
    ceilings: Mapping[str, tuple[float | None, float | None]]  # of both hosts: memory's in bytes/s, a dtype's in FLOP/s
    interleaved: bool  # both sides met the same rounds
    round_s: float  # from one round to the next, on the side where that is shorter; 0 if there is but one


def read(folder: Path) -> pd.DataFrame:
    """A line per setting that has a result: what was chosen ("model.name") and what was around it, as text, and what was `_MEASURED`.

    Raises NoRows, and InvalidSetting where nothing has a result.
    """
    jobs = read_jobs([folder], ("environment",)).astype({"threads": "Int64"}).astype({"threads": "string"})
    settings = [rounds for _, rounds in jobs[jobs["status"] == Status.ok].groupby(KEY, dropna=False, sort=False)]
    if not settings:
        raise InvalidSetting("folders", folder, "has no result: none of its jobs is ok; bench-report tells why")
    settings.sort(key=lambda rounds: rounds[list(GRID)].iloc[-1].tolist())
    return pd.DataFrame([_line(rounds, rounds.iloc[-1]) for rounds in settings], dtype=object)


def split(settings: pd.DataFrame, by: str, base: str | None = None) -> list[tuple[str, pd.DataFrame]]:
    """The parts of a sweep that differ in `by`: `base`, or what was measured first, and the others. Raises InvalidSetting."""
    values = _told(settings, _key_for(settings, by))
    names = list(values.unique())
    if len(names) < 2:
        raise InvalidSetting("--by", by, f"only {names[0]} has results in this sweep; name what varies (bench-report tells what failed)")
    if base and base not in names:
        raise InvalidSetting("--base", base, f"is none of {', '.join(names)}")
    return [(name, settings[values == name]) for name in sorted(names, key=lambda name: name != (base or names[0]))]


def match(
    base: tuple[str, pd.DataFrame], new: tuple[str, pd.DataFrame], environment: str = "", *, one_sweep: bool = False, mix: bool = False
) -> Matching:
    """Pair the settings that agree in the grid and in whatever varies within a side; the rest may differ. At least one pair.

    Where the same thing was measured in several environments, only those of one environment are compared with
    each other. `environment` (torch=2.13.0) chooses. Raises InvalidSetting where nothing, or none of them, is on both sides. Parts of
    `one_sweep` may have met the same rounds. What was sampled on one side and measured on the other is compared with `mix` only.
    """
    sides = {"base": base[1], "new": new[1]}
    apart = sorted({*GRID, *(key for side in sides.values() for key in _varying(side, _chosen(side)))})
    lines = [side.reindex(columns=apart).fillna("null").reset_index(names=name) for name, side in sides.items()]
    met = _alike(lines[0].merge(lines[1], on=apart), apart, sides, environment)
    one_sided = sides["base"]["source"][met["base"]].to_numpy() != sides["new"]["source"][met["new"]].to_numpy()
    met = met[mix | ~one_sided]
    if met.empty:
        sampled = f"{one_sided.sum()} points were sampled on one side and measured on the other; --mixed compares them all the same"
        problem = sampled if one_sided.any() else "no point has a result on both sides; compare sweeps of one grid"
        raise InvalidSetting("folders", f"{base[0]}, {new[0]}", problem)
    found = [side.loc[met[name]] for name, side in sides.items()]
    turns, round_s = _timing(*(part["jobs"] for part in found))
    return Matching(
        base=base[0],
        new=new[0],
        pairs=list(zip(*(map(_side, part["jobs"]) for part in found), strict=True)),
        points=[{key: point.get(key) for key in apart} for point in found[0]["point"]],
        unmatched=len(base[1]) + len(new[1]) - 2 * len(one_sided),
        one_sided=0 if mix else int(one_sided.sum()),
        mixed=int(one_sided.sum()) if mix else 0,
        differences=_differences(*found, apart=apart),
        ceilings=_ceilings(*sides.values()),
        interleaved=one_sweep and turns,
        round_s=round_s,
    )


def _line(rounds: pd.DataFrame, latest: pd.Series) -> dict[str, Any]:
    config, told = json_object(latest["config"]), json_object(latest["environment"])
    chosen = dict(leaves({**{key: config[key] for key in _POINT if key in config}, **{key: int(latest[key]) for key in GRID}}))
    around = {name: None if pd.isna(latest[name]) else latest[name] for name in _SURROUNDINGS}
    around |= {"cpus": told.get("cpus")}
    for part in (told.get("details"), told.get("variables")):
        around |= part if isinstance(part, dict) else {}
    text = {key: value if isinstance(value, str) else canonical_json(value) for key, value in {**chosen, **around}.items()}
    return {**text, "point": chosen, "jobs": rounds, "source": latest["source"]}


def _chosen(settings: pd.DataFrame) -> list[str]:
    return list(dict.fromkeys(key for point in settings["point"] for key in point))


def _varying(settings: pd.DataFrame, keys: Iterable[str]) -> list[str]:
    return [key for key in keys if settings[key].nunique() > 1]


def _told(settings: pd.DataFrame, key: str) -> pd.Series:
    return settings.drop(columns=[*_MEASURED]).get(key, pd.Series("null", settings.index)).fillna("null")


def _side(jobs: pd.DataFrame) -> Side:
    rounds = dict(zip(jobs["round"], jobs["latency_s"], strict=True))
    repeats = [float(latency_s) for latencies_s in jobs["latencies_s"] for latency_s in latencies_s]
    return Side(rounds, frozenset(jobs["round"][jobs["noisy"]]), repeats)


def _alike(met: pd.DataFrame, apart: list[str], sides: Mapping[str, pd.DataFrame], environment: str) -> pd.DataFrame:
    """Of the pairs of the same thing those of the chosen environment, or of one; of one environment on each side, these."""
    key, _, value = environment.partition("=")
    point = met.groupby(apart, sort=False).ngroup()
    several = met.groupby(point)[[*sides]].transform("nunique") > 1
    asked = [~several[name] | (_told(side, key)[met[name]] == value).to_numpy() for name, side in sides.items()]
    kept: pd.DataFrame = met[asked[0] & asked[1]] if environment else met
    ids = [side["environment_id"][kept[name]].to_numpy() for name, side in sides.items()]
    kept = kept[~point[kept.index].duplicated(keep=False) | (ids[0] == ids[1])]
    lost = point[~point.isin(point[kept.index])]
    if lost.empty:
        return kept
    first = met[point == lost.iloc[0]]
    around = pd.concat([side.loc[first[name].unique()] for name, side in sides.items() if first[name].nunique() > 1])
    key = next((name for name in _VERSIONS if around[name].nunique() > 1), "environment_id")
    choices = " or ".join(f"--environment {key}={other}" for other in sorted({*around[key]} - {value}))
    problem = f"points were measured in several environments, none of them on both sides; say {choices}, or compare them: --by {key}"
    raise InvalidSetting("--environment", environment, problem)


def _timing(base: Iterable[pd.DataFrame], new: Iterable[pd.DataFrame]) -> tuple[bool, float]:
    """Whether the sides took turns: the same round of both started closer together than one round and the next. And the time between
    rounds: the median, so that a pause of a night counts as one gap, as the median setting saw it.
    """
    starts = [pd.DataFrame([jobs.set_index("round")["started_at"].map(pd.Timestamp.timestamp) for jobs in side]) for side in (base, new)]
    gaps = [pd.DataFrame(np.diff(np.sort(side, axis=1), axis=1)) for side in starts]
    between, gap = (pd.Series(table.to_numpy().ravel()).median() for table in ((starts[0] - starts[1]).abs(), pd.concat(gaps)))
    return bool(between <= gap), min(float(np.nan_to_num(side.median(axis=1).median())) for side in gaps)


def _differences(*sides: pd.DataFrame, apart: Sequence[str]) -> dict[str, Both]:
    keys = [key for side in sides for key in map(str, side) if key not in (*_MEASURED, *apart, "environment_id")]
    told = {key: [", ".join(sorted(side[key].dropna().unique())) or "-" if key in side else "-" for side in sides] for key in keys}
    return {key: (base, new) for key, (base, new) in told.items() if base != new}


def _ceilings(*sides: pd.DataFrame) -> dict[str, tuple[float | None, float | None]]:
    """The best of all jobs: a busy moment only makes a ceiling look lower."""
    found = []
    for side in sides:
        jobs = pd.concat(list(side["jobs"]))
        rates = {"memory": jobs["ceiling_bytes_per_s"].max(), **jobs.groupby("dtype")["ceiling_flops_per_s"].max()}
        found.append({name: rate for name, rate in rates.items() if not pd.isna(rate)})
    return {name: (found[0].get(name), found[1].get(name)) for name in {**found[0], **found[1]}}


def _key_for(settings: pd.DataFrame, by: str) -> str:
    """`framework` for framework.name, `dtype` for model.dtype, `torch` for its version; the whole key where that is not clear."""
    keys = [key for key in map(str, settings) if key not in _MEASURED]
    varying = sorted(_varying(settings, keys))
    shortened = [key for key in _chosen(settings) if key.rpartition(".")[2] == by]
    for known in (varying, keys):  # `python` is the interpreter that was chosen, where all of them are one version
        for found in ([by], [f"{by}.name"], shortened):
            if len(found) == 1 and found[0] in known:
                return found[0]
    raise InvalidSetting("--by", by, f"is no setting of this sweep; those that vary in it are {', '.join(varying) or 'none'}")
