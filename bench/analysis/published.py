"""The published curves: the seven charts redrawn from their data, and a measured sweep laid over the one it repeats."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import pandas as pd

from bench.analysis.charts import Picture
from bench.analysis.columns import GRID, column_of
from bench.analysis.draw import Chart
from bench.analysis.scales import Scale
from bench.analysis.settings import facts, pooled_in_words, provenance, telling_apart
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
# What each kind of published figure is called here, and its axes.
_FIGURES = {
    "latency": ("Latency against output length", "output_tokens", "latency_s"),
    "latency_vs_throughput": ("Latency against throughput", "latency_s", "output_tok_s"),
}


@cache
def published() -> pd.DataFrame:
    """Every published point, in the columns of a table of settings; `chart` is the title it was published under."""
    points = pd.read_csv(FOLDER / "published.csv").rename(columns={"throughput_tok_s": "output_tok_s"})
    family = points["model"].str.partition("-")[0].str.lower()
    rate = points["output_tok_s"].fillna(points["batch_size"] * points["output_tokens"] / points["latency_s"])  # latency charts have none
    return points.assign(output_tok_s=rate, status=str(Status.ok), source="published", noisy=False, dtype="bf16", model_family=family)


def points_of(sweep: str) -> pd.DataFrame:
    """What the chart that this sweep repeats shows."""
    points = published()
    return points[points["chart"] == SWEEPS[sweep]].reset_index(drop=True)


def published_pictures() -> Iterator[Picture]:
    """The seven charts with the axes, series and order that they were published with."""
    for sweep, published_title in SWEEPS.items():
        points, series = points_of(sweep), _series().loc[[published_title]]
        chart = _chart(sweep, points)
        chart = replace(
            chart,
            footer=f"{SOURCE}, read from its SVG files",
            x_scale=_scale(series.iloc[0], "x"),
            y_scale=_scale(series.iloc[0], "y"),
            styles=_styles(series, points, chart.line[0]),
            source="published: means of 5 repeats",
        )
        yield Picture(chart, points)


def overlays(settings: pd.DataFrame) -> Iterator[Picture]:
    """For each sweep that repeats a published chart: what was measured, with the published curves hollow beside it."""
    for sweep, measured in repeated(settings):
        points = points_of(sweep)
        chart = _chart(f"{sweep}-over-published", points)
        line = tuple(dict.fromkeys([*chart.line, *telling_apart(measured)]))
        chart = replace(
            chart,
            title=f"{chart.title}, measured and published",
            footer=f"published: {SOURCE}\nmeasured: {provenance(measured)}",
            line=line,
            along="batch_size" if chart.x == "latency_s" else None,
            reference=f"published: {' · '.join(facts(points, [*line, *GRID]))}",
        )
        yield Picture(chart, measured, points.reindex(columns=[*points, *(column for column in line if column not in points)]))


def _chart(name: str, points: pd.DataFrame) -> Chart:
    """The question of a published chart."""
    return Chart(name, *_FIGURES[points["figure"].iloc[0]], line=(_line_column(points),))


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


def fidelity(measured: pd.DataFrame, sweep: str) -> pd.DataFrame:
    """What is known of the published runs: a ratio compares like with like only where they agree with what was chosen here."""
    points, choices = points_of(sweep), pd.read_csv(FOLDER / "fidelity.csv")
    choices = choices[choices["figure"].isin(["both", points["figure"].iloc[0]])].drop(columns="figure")
    here = {**_said(measured), "pooled": pooled_in_words(measured)}
    said = {"published runs": [text.format_map(_said(points)) for text in choices["published runs"]]}
    return choices.assign(**said, here=[text.format_map(here) for text in choices["here"]])


def _said(frame: pd.DataFrame) -> dict[str, str]:
    """All values of the columns that `fidelity.csv` names."""
    columns = ("model", "weights", "hardware", "dtype", "attention", "framework", "torch", "transformers")
    known = {column: frame[column].dropna().unique() for column in columns if column in frame}
    return {column: ", ".join(map(column_of(column).show, values)) or "unknown" for column, values in known.items()}


@cache
def _series() -> pd.DataFrame:
    return pd.read_csv(FOLDER / "charts.csv").set_index("chart").sort_values("series_order", kind="stable")


def _line_column(points: pd.DataFrame) -> str:
    """What the series of a chart differ in."""
    candidates = ("model", "hardware", "batch_size")
    return next(
        column for column in candidates if points.groupby("series_label")[column].nunique().eq(1).all() and points[column].nunique() > 1
    )


def _scale(series: pd.Series, axis: str) -> Scale:
    """The published axis, its milliseconds as seconds."""
    unit = 1e-3 if "[ms]" in series[f"{axis}_label"] else 1.0
    ticks = tuple(float(tick.replace(",", "")) * unit for tick in series[f"{axis}_ticks"].split())
    return Scale(series[f"{axis}_scale"], series[f"{axis}_min"] * unit, series[f"{axis}_max"] * unit, ticks)


def _styles(series: pd.DataFrame, points: pd.DataFrame, line: str) -> dict[str, LineStyle]:
    """The house's colours in the published grouping: what shared a colour shares one, and dashes stay."""
    values = points.groupby("series_label")[line].first().loc[series["series_label"]]
    names = map(column_of(line).say, values)
    if line == "batch_size":
        by_size = dict(zip(sorted(values), ordered_styles(len(values)), strict=True))
        return dict(zip(names, (by_size[value] for value in values), strict=True))
    palette = dict(zip(series["color"].unique(), unordered_styles([None] * series["color"].nunique()), strict=True))
    looks = zip(series["color"], series["dash"], strict=True)
    return {name: replace(palette[color], dash=DASHES[dash]) for name, (color, dash) in zip(names, looks, strict=True)}
