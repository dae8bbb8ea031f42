"""The published curves: the seven charts redrawn from their data, and a measured sweep laid over the one it repeats."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from bench.analysis.charts import Picture, provenance
from bench.analysis.columns import column_of
from bench.analysis.draw import Chart
from bench.analysis.scales import Scale
from bench.analysis.settings import facts, pooled_in_words, telling_apart
from bench.analysis.style import DASHES, LineStyle, ordered_styles, unordered_styles
from bench.results import Status

FOLDER = Path(__file__).parents[1] / "data" / "published"
SOURCE = "llm-foundry's benchmarking README, July 2023 (Apache-2.0)"
_SMALL = "-small"

# The sweeps that repeat a published chart, in the order of the README: (figure, model, prompt length) tell which.
SWEEPS = {
    "mpt-7b-latency-short": "Latency for MPT-7B, n_input_tok=128",
    "mpt-7b-latency-long": "Latency for MPT-7B, n_input_tok=2048",
    "mpt-30b-latency-short": "Latency for MPT-30B, n_input_tok=128",
    "mpt-30b-latency-long": "Latency for MPT-30B, n_input_tok=2048",
    "mpt-7b-hardware": "Latency vs. Throughput, MPT-7B (n_input_tok=512, n_output_tok=64)",
    "mpt-30b-hardware": "Latency vs. Throughput, MPT-30B (n_input_tok=512, n_output_tok=64)",
    "open-models": "Latency vs. Throughput (n_input_tok=512, n_output_tok=64)",
}


@cache
def published() -> pd.DataFrame:
    """Every published point, in the columns of a table of settings; `chart` is the title it was published under."""
    points = pd.read_csv(FOLDER / "published.csv").rename(columns={"throughput_tok_s": "output_tok_s"})
    family = points["model"].str.partition("-")[0].str.lower()
    rate = points["output_tok_s"].fillna(points["batch_size"] * points["output_tokens"] / points["latency_s"])  # latency charts have none
    return points.assign(output_tok_s=rate, status=str(Status.ok), noisy=False, dtype="bf16", model_family=family)


def points_of(sweep: str) -> pd.DataFrame:
    """What the chart that this sweep repeats shows."""
    points = published()
    return points[points["chart"] == SWEEPS[sweep]].reset_index(drop=True)


def published_pictures() -> Iterator[Picture]:
    """The seven charts with the axes, series and order that they were published with."""
    for sweep, title in SWEEPS.items():
        series = _series().loc[[title]]
        points = points_of(sweep)
        line = _line_column(points)
        chart = Chart(
            name=sweep,
            title=_title(series),
            subtitle=" · ".join(facts(points, [line, *_axes(series)])),
            footer=f"{SOURCE}, read from its SVG files",
            x=_axes(series)[0],
            y=_axes(series)[1],
            line=(line,),
            x_scale=_scale(series.iloc[0], "x"),
            y_scale=_scale(series.iloc[0], "y"),
            styles=_styles(series, points, line),
            source="published: means of 5 repeats",
        )
        yield Picture(chart, points)


def overlays(settings: pd.DataFrame) -> Iterator[Picture]:
    """For each sweep that repeats a published chart: what was measured, with the published curves hollow beside it."""
    for sweep, measured in repeated(settings):
        series, points = _series().loc[[SWEEPS[sweep]]], points_of(sweep)
        x, y = _axes(series)
        own = [column for column in telling_apart(measured) if column != _line_column(points)]
        told = [_line_column(points), *own, x, y]
        chart = Chart(
            name=f"{sweep}-over-published",
            title=f"{_title(series)}, measured and published",
            subtitle=" · ".join(facts(measured, [*told, "batch_size"])),
            footer=f"published: {SOURCE}\nmeasured: {provenance(measured)}",
            x=x,
            y=y,
            line=(_line_column(points), *own),
            along="batch_size" if x == "latency_s" else None,
            reference=f"published: {' · '.join(facts(points, [*told, 'input_tokens', 'output_tokens', 'batch_size']))}",
        )
        yield Picture(chart, measured, points.reindex(columns=[*points.columns, *(c for c in own if c not in points)]))


def repeated(settings: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """The sweeps that repeat a published chart, at full size or small, with what they measured."""
    names = settings["name"].str.removesuffix(_SMALL)
    for sweep in SWEEPS:
        measured = settings[names == sweep]
        if (measured["status"] == Status.ok).any():
            yield sweep, measured.reset_index(drop=True)


def ratios(measured: pd.DataFrame, sweep: str) -> pd.DataFrame:
    """Point by point, what was measured over what was published for it: same model where there is one, else the same family."""
    ok = measured[measured["status"] == Status.ok].reset_index(names="measured")
    pairs = ok.merge(points_of(sweep), on=["input_tokens", "output_tokens", "batch_size", "tp"], suffixes=("", "_published"))
    same_model = pairs["model"] == pairs["model_published"]
    same_family = pairs["model_family"] == pairs["model_family_published"]
    same_hardware = pairs["hardware"] == pairs["hardware_published"]
    likeness = 4 * same_model + 2 * same_family + same_hardware
    nearest = pairs.assign(likeness=likeness).sort_values(["measured", "likeness"], ascending=[True, False], kind="stable")
    nearest = nearest[nearest["likeness"] > 1].drop_duplicates("measured").reset_index(drop=True)
    return nearest.assign(ratio=nearest["latency_s"] / nearest["latency_s_published"])


class Choice(NamedTuple):
    """One choice of the published runs beside the same choice here."""

    subject: str
    published: str
    certainty: str  # drawn, computed, stated, inferred, unknown
    here: str


def fidelity(measured: pd.DataFrame, sweep: str) -> list[Choice]:
    """What is known of the published runs: a ratio compares like with like only where both columns agree."""
    points = points_of(sweep)
    latency_chart = points["figure"].eq("latency").any()

    def here(column: str) -> str:
        return ", ".join(sorted({column_of(column).show(value) for value in measured[column].dropna()})) or "unknown"

    def there(column: str) -> str:
        return ", ".join(dict.fromkeys(column_of(column).show(value) for value in points[column]))

    return [
        Choice("model", there("model"), "drawn", here("model")),
        Choice("weights", "unknown", "unknown", here("weights")),
        Choice("hardware", there("hardware"), "drawn", here("hardware")),
        Choice("data type", "bf16", "stated", here("dtype")),
        Choice("attention", "torch", "stated" if latency_chart else "inferred", here("attention")),
        Choice("framework", there("framework"), "inferred", here("framework")),
        Choice("versions", "mid-2023", "unknown", f"torch {here('torch')}, transformers {here('transformers')}"),
        Choice(
            "batch size", "as drawn" if latency_chart else "throughput × latency / 64", "drawn" if latency_chart else "computed", "as set"
        ),
        Choice("figure", "mean of 5 after 3 warm-ups", "stated", pooled_in_words(measured)),
    ]


@cache
def _series() -> pd.DataFrame:
    return pd.read_csv(FOLDER / "charts.csv").set_index("chart").sort_values("series_order", kind="stable")


def _line_column(points: pd.DataFrame) -> str:
    """What the series of a chart differ in."""
    candidates = ("model", "hardware", "batch_size")
    return next(
        column for column in candidates if points.groupby("series_label")[column].nunique().eq(1).all() and points[column].nunique() > 1
    )


def _axes(series: pd.DataFrame) -> tuple[str, str]:
    return ("output_tokens", "latency_s") if series["figure"].iloc[0] == "latency" else ("latency_s", "output_tok_s")


def _title(series: pd.DataFrame) -> str:
    return "Latency against output length" if series["figure"].iloc[0] == "latency" else "Latency against throughput"


def _scale(series: pd.Series, axis: str) -> Scale:
    """The published axis, its milliseconds as seconds."""
    unit = 1e-3 if "[ms]" in series[f"{axis}_label"] else 1.0
    ticks = tuple(float(tick.replace(",", "")) * unit for tick in series[f"{axis}_ticks"].split())
    return Scale(series[f"{axis}_scale"], series[f"{axis}_min"] * unit, series[f"{axis}_max"] * unit, ticks)


def _styles(series: pd.DataFrame, points: pd.DataFrame, line: str) -> dict[str, LineStyle]:
    """The house's colours in the published grouping: what shared a colour shares one, and dashes stay."""
    value_of = points.groupby("series_label")[line].first()
    names = [column_of(line).say(value_of[label]) for label in series["series_label"]]
    if line == "batch_size":
        by_size = sorted(series["series_label"], key=lambda label: value_of[label])
        colors = dict(zip(by_size, ordered_styles(len(by_size)), strict=True))
        return {name: colors[label] for name, label in zip(names, series["series_label"], strict=True)}
    palette = dict(zip(dict.fromkeys(series["color"]), unordered_styles([None] * series["color"].nunique()), strict=True))
    looks = [(palette[color], DASHES[dash]) for color, dash in zip(series["color"], series["dash"], strict=True)]
    return {name: LineStyle(look.color, look.marker, dash) for name, (look, dash) in zip(names, looks, strict=True)}
