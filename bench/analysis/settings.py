"""The one reading of rows: a line per job, and a line per setting (sweep, point, environment) with its rounds pooled."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from bench.analysis import sampling
from bench.analysis.columns import GRID, column_of, is_quantity
from bench.cells import json_object, json_value
from bench.identity import canonical_json
from bench.intervals import geometric_interval, median_interval
from bench.results import Status, Store
from bench.row import COLUMNS

KEY = ["sweep", "point_id", "environment_id"]
"""What tells settings apart. A sweep is called by its name; where several folders hold one of the same name, by the folder."""
OUT_OF_MEMORY = (str(Status.oom), str(Status.pruned))

# Long lists that few readers want: 10,000 rows with a time per token are gigabytes.
_HEAVY = ("token_times_s", "windows", "system", "environment")
_LIGHT = [name for name, _, _ in COLUMNS if name not in _HEAVY]
_SPREAD = {
    **dict.fromkeys(("latency_s", "latency_s_min", "latency_s_max", "repeats", "rounds", "latency_s_low", "latency_s_high"), "float64"),
    "interval": "object",
}
_OVER_ROUNDS, _OVER_REPEATS, _RANGE = "95 % interval over rounds", "95 % interval", "min to max"
_ENOUGH_ROUNDS = 3  # two say next to nothing of how far rounds differ
# Always told when they vary; the rest only where these leave two settings with the same name.
_IDENTITY = ("model", "framework", "hardware", "dtype")
_DECODING = ("num_beams", "do_sample", "data")
_FURTHER = ("tp", "attention", *_DECODING, "weights", "n_params", "threads", "seed")
_LAST_RESORT = ("sweep", "torch", "transformers", "framework_version", "framework.python", "environment_id")
# Told by the engine once the model is loaded, so null in the row of a point that never got there.
_TOLD_BY_ENGINE = ["hardware", "attention", "threads", "framework_version", "device", "n_devices", "n_params"]
# Pooled over all repeats of all rounds; the other quantities have one value a round.
_OF_REPEATS = ("latency_s", "latency_per_token_s", "output_tok_s", "total_tok_s")


def read_jobs(
    folders: Sequence[Path], extra_columns: Sequence[str] = (), tell: Callable[[str], None] | None = None, *, settle: bool = True
) -> pd.DataFrame:
    """A line per job of these sweeps: of each (sweep, point, environment, round) the latest result, else the latest row. Raises NoRows.

    Settings that have no column of their own stand in columns like `framework.kv_cache`. `tell` gets a
    line for each file in these folders that should hold rows and does not. Of points that were sampled and
    measured in full, what was measured counts; without `settle` both are there.
    """
    folders = list(dict.fromkeys(folder.resolve() for folder in folders)) if len(folders) > 1 else folders
    tables = [Store(folder).table([*_LIGHT, *extra_columns], tell) for folder in folders]
    frame = pa.concat_tables(tables).to_pandas()
    frame["sweep"] = _sweeps(np.repeat([str(folder) for folder in folders], list(map(len, tables))), frame["name"])
    frame["source"] = frame["source"].fillna(sampling.MEASURED)
    frame = _results_last(frame).drop_duplicates([*KEY, "round", "source"], keep="last")
    if settle:
        frame = sampling.settled(frame).drop_duplicates([*KEY, "round"], keep="last")
    frame = frame.sort_values("started_at", kind="stable", ignore_index=True)
    return _with_engine_columns(_with_config_columns(_with_warnings(frame)))


def pool_rounds(jobs: pd.DataFrame) -> pd.DataFrame:
    """A line per setting, its repeats of all rounds pooled; `X_min` and `X_max` span the repeats of X.

    `X_low` to `X_high` is the interval that charts show for X, and `interval` says which one that is.
    A quantity with one value a round is the median of its rounds. A setting is ok when one of its rounds is.
    """
    frame = _results_last(jobs)
    latest = frame.drop_duplicates(KEY, keep="last").set_index(KEY).drop(columns="latencies_s")
    done = frame[frame["status"] == Status.ok]
    grouped = done.groupby(KEY, dropna=False)
    measured = [column for column in map(str, done) if is_quantity(column) and pd.api.types.is_numeric_dtype(done[column])]
    latest[measured] = grouped[measured].median().reindex(latest.index)
    latest["noisy"] = done.assign(noisy=done["noisy"].eq(True)).groupby(KEY)["noisy"].any().reindex(latest.index, fill_value=False)
    latest["noise"] = grouped["noise"].agg(_union).reindex(latest.index) if len(done) else None
    rounds = grouped["latencies_s"].agg(list)
    spread = pd.DataFrame(list(map(_spread, rounds)), index=rounds.index, columns=list(_SPREAD)).astype(_SPREAD)
    latest[list(_SPREAD)] = spread.reindex(latest.index)
    off = latest["sampling_error"].fillna(0.0)
    latest["latency_s_low"], latest["latency_s_high"] = latest["latency_s_low"] * (1 - off), latest["latency_s_high"] * (1 + off)
    return _with_rates(latest.reset_index()).sort_values([*_IDENTITY, "tp", *GRID], kind="stable", ignore_index=True)


def telling_apart(frame: pd.DataFrame) -> list[str]:
    """The columns, beside the grid's own, whose values tell one series of settings from the other."""
    chosen = [column for column in _IDENTITY if frame[column].nunique() > 1]
    config = [column for column in map(str, frame) if "." in column and column not in _LAST_RESORT]
    for column in (*_FURTHER, *config, *_LAST_RESORT):
        varies = column in frame and frame[column].nunique() > 1
        if varies and (not chosen or frame.groupby(chosen, dropna=False, observed=True)[column].nunique().max() > 1):
            chosen.append(column)
    return chosen


def varying(frame: pd.DataFrame) -> list[str]:
    """The same, with what varies of the grid."""
    return [*telling_apart(frame), *(column for column in GRID if frame[column].nunique() > 1)]


def facts(frame: pd.DataFrame, told: Sequence[str] = ()) -> list[str]:
    """What all lines of a table have in common, in words, without the columns told elsewhere and what goes without saying."""
    columns = [column_of(name) for name in (*_IDENTITY, "tp", *GRID, *_DECODING) if name not in told and name in frame]
    common = [(column, frame[column.name].iloc[0]) for column in columns if frame[column.name].nunique(dropna=False) == 1]
    return [column.say(value) for column, value in common if not pd.isna(value) and column.show(value) != column.usual]


def pooled_in_words(frame: pd.DataFrame, column: str = "latency_s") -> str:
    """What a number in this column of these settings is: the median of how many repeats or rounds, or a single value."""
    if not is_quantity(column):
        return "latest value"
    what = "repeat" if column in _OF_REPEATS else "round"
    counts = frame[f"{what}s"].dropna()
    low, high = (int(counts.min()), int(counts.max())) if len(counts) else (0, 0)
    return f"one {what}" if high == 1 else f"median of {low} {what}s" if low == high else f"median of {low} to {high} {what}s"


def interval_in_words(frame: pd.DataFrame) -> str:
    """Which interval the charts of these settings show."""
    kinds = [kind for kind in (_OVER_ROUNDS, _OVER_REPEATS, _RANGE) if frame["interval"].eq(kind).any()]
    return " or ".join(kinds)


def provenance(frame: pd.DataFrame) -> str:
    """Where the numbers come from: the sweep, its day, the weights, the versions, the host."""
    days = frame["started_at"].dt.strftime("%Y-%m-%d")
    known = {column: sorted(map(str, frame[column].dropna().unique())) for column in ("sweep", "weights", "torch", "transformers", "host")}
    sweep, *others = [column_of(column).phrase.format(", ".join(values)) for column, values in known.items() if values]
    return " · ".join([sweep, " to ".join(dict.fromkeys([days.min(), days.max()])), *others])


def leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """A config, flat: ("framework.kv_cache", "BMC")."""
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _sweeps(folders: Iterable[str], names: pd.Series) -> pd.Series:
    known = pd.DataFrame({"folder": list(folders), "name": names.fillna("?").to_numpy()})
    pairs = known.drop_duplicates()
    if pairs["name"].is_unique:
        return known["name"]
    ends = pd.Series({folder: Path(folder).name for folder in pairs["folder"]})
    called = known["folder"].map(ends if ends.is_unique else str)
    return called.where(known["folder"].map(pairs["folder"].value_counts()) == 1, called + ": " + known["name"])


def _results_last(frame: pd.DataFrame) -> pd.DataFrame:
    """In the order of their start, but what was measured after what was not: a later failure hides no earlier result."""
    return frame.assign(_ok=frame["status"] == Status.ok).sort_values(["_ok", "started_at"], kind="stable").drop(columns="_ok")


def _spread(rounds: Iterable[Sequence[float]]) -> tuple[float | str, ...]:
    """What _SPREAD names: beside the median, the best interval for it that these repeats of each round allow.

    Rounds show what holds between runs; of a single one its repeats have to do, and of fewer than six the whole range.
    """
    per_round = [list(latencies_s) for latencies_s in rounds]
    pooled = sorted(latency_s for latencies_s in per_round for latency_s in latencies_s)
    middle, low, high, kind = median(pooled), pooled[0], pooled[-1], _RANGE
    if len(per_round) >= _ENOUGH_ROUNDS and (found := geometric_interval([median(each) for each in per_round])):
        low, high, kind = min(middle, found[1]), max(middle, found[2]), _OVER_ROUNDS
    elif len(per_round) == 1 and (interval := median_interval(pooled)):
        low, high, kind = *interval, _OVER_REPEATS
    return middle, pooled[0], pooled[-1], len(pooled), len(per_round), low, high, kind


def _union(lists: pd.Series) -> list[str]:
    return list(dict.fromkeys(reason for reasons in lists if reasons is not None for reason in reasons))


def _with_rates(frame: pd.DataFrame) -> pd.DataFrame:
    output = frame["batch_size"] * frame["output_tokens"]
    total = frame["batch_size"] * (frame["input_tokens"] + frame["output_tokens"])
    for end, other in (("", ""), ("_min", "_max"), ("_max", "_min"), ("_low", "_high"), ("_high", "_low")):
        frame[f"output_tok_s{end}"], frame[f"total_tok_s{end}"] = (tokens / frame[f"latency_s{other}"] for tokens in (output, total))
        frame[f"latency_per_token_s{end}"] = frame[f"latency_s{end}"] / frame["output_tokens"]
    return frame


# These have columns of their own.
_COVERED = {
    *("model.name", "model.dtype", "model.weights", "framework.name", "framework.tp", "framework.attention", "hardware.name"),
    *("hardware.device", "hardware.threads", "generation.num_beams", "generation.do_sample", "data.source", "data.path"),
}
_GROUPS = ("model.", "framework.", "hardware.", "generation.", "data.")


def _with_warnings(frame: pd.DataFrame) -> pd.DataFrame:
    """What makes a row a measuring error is shown like what makes it noisy."""
    told = zip(frame["noise"], frame["suspect"], strict=True)
    words = pd.Series([[word for words in both if words is not None for word in words] for both in told], frame.index, dtype=object)
    return frame.assign(noise=words, noisy=frame["noisy"].eq(True) | words.map(bool))


def _with_config_columns(frame: pd.DataFrame) -> pd.DataFrame:
    configs = [json_object(config) for config in frame["config"]]
    flat = pd.DataFrame([dict(leaves(config)) for config in configs], index=frame.index)
    told = [key for key in map(str, flat) if key.startswith(_GROUPS) and key not in _COVERED and not key.startswith("model.architecture")]
    flat = flat[told].map(lambda value: json.dumps(value) if isinstance(value, dict | list) else value)
    for key in (key for key in told if any(isinstance(value, str) for value in flat[key])):
        flat[key] = flat[key].map(str, na_action="ignore")  # auto beside 512: one kind, since numbers and words cannot be sorted
    loaded = [canonical_json({group: config.get(group) for group in ("model", "framework", "hardware")}) for config in configs]
    attention = [json_value(args, "used", "attention") for args in frame["framework_args"]]
    own = pd.DataFrame({"loaded": loaded, "attention": [each if isinstance(each, str) else None for each in attention]}, index=frame.index)
    return pd.concat([frame, own, flat[[key for key in told if flat[key].nunique() > 1]]], axis="columns")


def _with_engine_columns(frame: pd.DataFrame) -> pd.DataFrame:
    """Fill in what the engine tells from another job that loaded the same thing: a curve and its out-of-memory belong together."""
    known = frame["n_devices"].notna()
    told = frame[_TOLD_BY_ENGINE].where(known)
    siblings = told.groupby([frame["loaded"], frame["environment_id"]], dropna=False).transform("first")
    frame[_TOLD_BY_ENGINE] = told.fillna(siblings).fillna(frame[_TOLD_BY_ENGINE])
    return frame.drop(columns=["loaded"])
