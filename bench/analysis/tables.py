"""From rows to tables: one line per job, and one per setting with its rounds pooled."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from bench.analysis.fields import GRID, field_of
from bench.config import canonical_json
from bench.measure import stats
from bench.results import COLUMNS, Status, Store

# Long lists that few readers want: 10,000 rows with a time per token are gigabytes.
_HEAVY = ("token_times_s", "system", "environment")
_LIGHT = [name for name, _, _ in COLUMNS if name not in _HEAVY]
OUT_OF_MEMORY = (str(Status.oom), str(Status.pruned))

_SETTING = ["point_id", "environment_id"]
_SPREAD = {
    **dict.fromkeys(("latency_s", "latency_s_min", "latency_s_max", "repeats", "latency_s_low", "latency_s_high"), "float64"),
    "interval": "object",
}
OVER_ROUNDS, OVER_REPEATS, RANGE = "95 % interval over rounds", "95 % interval", "min to max"
_ENOUGH_ROUNDS = 3  # two say next to nothing of how far rounds differ
# Always told when they vary; the rest only where these leave two settings with the same name.
_IDENTITY = ("model", "framework", "hardware", "dtype")
_FURTHER = ("tp", "attention", "num_beams", "do_sample", "data", "weights", "n_params", "threads", "seed")
_LAST_RESORT = ("torch", "transformers", "framework_version", "framework.python", "environment_id")
# Told by the engine once the model is loaded, so null in the row of a point that never got there.
_TOLD_BY_ENGINE = ["hardware", "attention", "threads", "framework_version", "device", "n_devices", "n_params"]


def jobs(folders: Sequence[Path], extra_columns: Sequence[str] = (), tell: Callable[[str], None] | None = None) -> pd.DataFrame:
    """A line per job of these sweeps: the latest one of each (point, environment, round). Raises NoRows.

    Settings that have no column of their own stand in columns like `framework.attention`. `tell` gets a
    line for each file in these folders that should hold rows and does not.
    """
    tables = [Store(folder).table([*_LIGHT, *extra_columns], tell) for folder in folders]
    frame = pa.concat_tables(tables).to_pandas().sort_values("started_at", kind="stable")
    frame = frame.drop_duplicates([*_SETTING, "round"], keep="last").reset_index(drop=True)
    return _with_engine_columns(_with_config_columns(_with_warnings(frame)))


def settings(job_table: pd.DataFrame) -> pd.DataFrame:
    """A line per (point, environment), its repeats of all rounds pooled; `X_min` and `X_max` span the repeats of X.

    `X_low` to `X_high` is the interval that charts show for X, and `interval` says which one that is.
    A setting is ok when one of its rounds is.
    """
    frame = job_table.assign(_ok=job_table["status"] == Status.ok).sort_values(["_ok", "started_at"], kind="stable")
    latest = frame.drop_duplicates(_SETTING, keep="last").set_index(_SETTING).drop(columns=["_ok", "latencies_s"])
    done = frame[frame["_ok"]]
    grouped = done.groupby(_SETTING, dropna=False)
    for column in ("ttft_s", "tpot_s", "prefill_mfu", "decode_mbu", "energy_j"):
        latest[column] = grouped[column].median().reindex(latest.index)
    latest["noisy"] = done.assign(noisy=done["noisy"].eq(True)).groupby(_SETTING)["noisy"].any().reindex(latest.index, fill_value=False)
    latest["noise"] = grouped["noise"].agg(_union).reindex(latest.index) if len(done) else None
    rounds = grouped["latencies_s"].agg(list)
    spread = pd.DataFrame(list(map(_spread, rounds)), index=rounds.index, columns=list(_SPREAD)).astype(_SPREAD)
    latest[list(_SPREAD)] = spread.reindex(latest.index)
    return _with_rates(latest.reset_index()).sort_values([*_IDENTITY, "tp", *GRID], kind="stable", ignore_index=True)


def telling_apart(frame: pd.DataFrame) -> list[str]:
    """The columns, beside the grid's own, whose values tell one series of settings from the other."""
    chosen = [column for column in _IDENTITY if frame[column].nunique() > 1]
    for column in (*_FURTHER, *_config_columns(frame), *_LAST_RESORT):
        if column in frame and frame[column].nunique() > 1 and _splits(frame, chosen, column):
            chosen.append(column)
    return chosen


def facts(frame: pd.DataFrame, told: Sequence[str] = ()) -> list[str]:
    """What all lines of a table have in common, in words, without the columns told elsewhere and what goes without saying."""
    columns = (*_IDENTITY, "tp", *GRID, *_FURTHER[2:5], *_config_columns(frame))
    fields = [field_of(column) for column in columns if column not in told and column in frame]
    common = [(field, frame[field.column].iloc[0]) for field in fields if frame[field.column].nunique(dropna=False) == 1]
    own = set(_config_columns(frame))  # a setting of one framework is only worth a word where it tells series apart
    return [field.say(value) for field, value in common if field.column not in own and not pd.isna(value) and value not in field.usual]


def repeats_in_words(frame: pd.DataFrame) -> str:
    counts = frame["repeats"].dropna()
    low, high = (int(counts.min()), int(counts.max())) if len(counts) else (0, 0)
    return "one repeat" if high == 1 else f"median of {low} repeats" if low == high else f"median of {low} to {high} repeats"


def _spread(rounds: Iterable[Sequence[float]]) -> tuple[float | str, ...]:
    """Median, minimum, maximum, number, and the best interval for the median that these repeats of each round allow.

    Rounds show what holds between runs; of a single one its repeats have to do, and of fewer than six the whole range.
    """
    per_round = [list(latencies_s) for latencies_s in rounds]
    pooled = sorted(latency_s for latencies_s in per_round for latency_s in latencies_s)
    middle, low, high, kind = stats.median(pooled), pooled[0], pooled[-1], RANGE
    if len(per_round) >= _ENOUGH_ROUNDS and (found := stats.geometric_interval([stats.median(each) for each in per_round])):
        low, high, kind = min(middle, found[1]), max(middle, found[2]), OVER_ROUNDS
    elif len(per_round) == 1 and (interval := stats.median_interval(pooled)):
        low, high, kind = *interval, OVER_REPEATS
    return middle, pooled[0], pooled[-1], len(pooled), low, high, kind


def interval_in_words(frame: pd.DataFrame) -> str:
    """Which interval the charts of these settings show."""
    kinds = [kind for kind in (OVER_ROUNDS, OVER_REPEATS, RANGE) if frame["interval"].eq(kind).any()]
    return " or ".join(kinds)


def _union(lists: pd.Series) -> list[str]:
    return list(dict.fromkeys(reason for reasons in lists if reasons is not None for reason in reasons))


def _with_rates(frame: pd.DataFrame) -> pd.DataFrame:
    output = frame["batch_size"] * frame["output_tokens"]
    total = frame["batch_size"] * (frame["input_tokens"] + frame["output_tokens"])
    for rate, tokens in (("output_tok_s", output), ("total_tok_s", total)):
        frame[rate] = tokens / frame["latency_s"]
        for end, other in (("_min", "_max"), ("_max", "_min"), ("_low", "_high"), ("_high", "_low")):
            frame[f"{rate}{end}"] = tokens / frame[f"latency_s{other}"]
    for end in ("", "_min", "_max", "_low", "_high"):
        frame[f"latency_per_token_s{end}"] = frame[f"latency_s{end}"] / frame["output_tokens"]
    return frame


def _splits(frame: pd.DataFrame, chosen: list[str], column: str) -> bool:
    return not chosen or bool(frame.groupby(chosen, dropna=False, observed=True)[column].nunique().max() > 1)


def _config_columns(frame: pd.DataFrame) -> list[str]:
    return [column for column in frame.columns if "." in column and column not in _LAST_RESORT]


# These have columns of their own.
_COVERED = {
    *("model.name", "model.dtype", "model.weights", "framework.name", "framework.tp", "framework.attention", "hardware.name"),
    *("hardware.device", "hardware.threads", "generation.num_beams", "generation.do_sample", "data.source", "data.path"),
}


def _with_warnings(frame: pd.DataFrame) -> pd.DataFrame:
    """What makes a row a measuring error is shown like what makes it noisy."""
    told = zip(frame["noise"], frame["suspect"], strict=True)
    words = pd.Series([[word for words in both if words is not None for word in words] for both in told], frame.index, dtype=object)
    return frame.assign(noise=words, noisy=frame["noisy"].eq(True) | words.map(bool))


def _with_config_columns(frame: pd.DataFrame) -> pd.DataFrame:
    configs = [json.loads(config) if isinstance(config, str) else {} for config in frame["config"]]
    flat = pd.DataFrame([_flatten(config) for config in configs], index=frame.index)
    varying = flat[[column for column in flat if flat[column].nunique() > 1]]
    loaded = [canonical_json({group: config.get(group) for group in ("model", "framework", "hardware")}) for config in configs]
    attention: list[str | None] = [
        json.loads(args).get("used", {}).get("attention") if isinstance(args, str) else None for args in frame["framework_args"]
    ]
    told = pd.DataFrame({"loaded": loaded, "attention": attention}, index=frame.index)
    return pd.concat([frame, told, varying], axis="columns")


def _flatten(config: dict[str, Any]) -> dict[str, Any]:
    groups = ("model", "framework", "hardware", "generation", "data")
    pairs = [(f"{group}.{key}", value) for group in groups for key, value in config.get(group, {}).items()]
    return {key: _scalar(value) for key, value in pairs if key not in _COVERED and not key.startswith("model.architecture")}


def _scalar(value: Any) -> Any:
    return json.dumps(value, sort_keys=True) if isinstance(value, dict | list) else value


def _with_engine_columns(frame: pd.DataFrame) -> pd.DataFrame:
    """Fill in what the engine tells from another job that loaded the same thing: a curve and its out-of-memory belong together."""
    known = frame["n_devices"].notna()
    told = frame[_TOLD_BY_ENGINE].where(known)
    siblings = told.groupby([frame["loaded"], frame["environment_id"]], dropna=False).transform("first")
    frame[_TOLD_BY_ENGINE] = told.fillna(siblings).fillna(frame[_TOLD_BY_ENGINE])
    return frame.drop(columns=["loaded"])
