"""AMD's metrics under the names of its benchmark, each with its definition; and frameworks side by side in charts of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from bench.analysis import scales, style
from bench.analysis.columns import GRID
from bench.analysis.draw import line_names
from bench.analysis.settings import facts, provenance, telling_apart
from bench.cells import json_value
from bench.results import Status
from bench.units import format_count, format_seconds

HEAVY_COLUMNS = ("token_times_s", "system")
"""What create_comparison_line_graph needs beside the usual columns: `read_jobs(folders, HEAVY_COLUMNS)`."""


@dataclass(frozen=True)
class Metric:
    """A number per job, or a series of them along `x`; None where it was not recorded."""

    definition: str
    value: Callable[[pd.Series], Any]
    unit: str = ""
    title: str = ""  # of its chart; without, none is drawn
    show: Callable[[float], str] = format_seconds
    x: str = ""
    places: Callable[[pd.Series], Sequence[float] | None] | None = None  # where along x; default: 1, 2, 3, ...

    def __str__(self) -> str:
        return f"{self.unit}; {self.definition}" if self.unit else self.definition


def _mean_s(job: pd.Series) -> float:
    return float(np.mean(job["latencies_s"]))


def _tokens(job: pd.Series, *lengths: str) -> int:
    return int(job["batch_size"] * job[list(lengths)].sum())


def _total_tps(job: pd.Series) -> float:
    return _tokens(job, "input_tokens", "output_tokens") / _mean_s(job)


def _token_gaps(job: pd.Series) -> list[float] | None:
    times = job["token_times_s"]
    if times is None or not len(times):
        return None
    return list(np.median(np.diff(np.array(list(map(list, times))), axis=1, prepend=0.0), axis=0))


def _samples(job: pd.Series, key: str) -> list[float] | None:
    found = [sample[key] for sample in job["system"]] if job["system"] is not None else []
    return found if found and None not in found else None


def _ram_used(job: pd.Series) -> list[float] | None:
    found = _samples(job, "ram_bytes")
    return found and [(ram_bytes - found[0]) / 2**20 for ram_bytes in found]


METRICS: dict[str, Metric] = {
    "total_tokens": Metric(
        "batch × (prompt + output tokens), of all repeats together",
        lambda job: _tokens(job, "input_tokens", "output_tokens") * len(job["latencies_s"]),
    ),
    "total_gen_tokens": Metric(
        "batch × output tokens, of all repeats together", lambda job: _tokens(job, "output_tokens") * len(job["latencies_s"])
    ),
    "average_gen_time": Metric("mean over the repeats, whole batch", _mean_s, "s", "Average generation time"),
    "average_latency_per_token": Metric(
        "average generation time / (batch × (prompt + output tokens)): 1 / total_tps, not the time between tokens",
        lambda job: 1 / _total_tps(job),
        "s",
        "Average latency per token",
    ),
    "total_tps": Metric(
        "batch × (prompt + output tokens) / average generation time", _total_tps, "tokens/s", "Total tokens per second", format_count
    ),
    "output_tps": Metric(
        "batch × output tokens / average generation time",
        lambda job: _tokens(job, "output_tokens") / _mean_s(job),
        "tokens/s",
        "Output tokens per second",
        format_count,
    ),
    "average_ttft": Metric(
        "median over the repeats", lambda job: None if pd.isna(job["ttft_s"]) else job["ttft_s"], "s", "Average time to first token"
    ),
    "generation_times": Metric("each repeat, whole batch", lambda job: list(map(float, job["latencies_s"])), "s"),
    "time_per_tokens": Metric(
        "median over the repeats; the first from the request", _token_gaps, "s per output token", "Time per token", x="Output token"
    ),
    "mean_accepted_tokens": Metric(
        "tokens of the draft that the model accepted per step, in the last repeat",
        lambda job: json_value(job["framework_args"], "used", "accepted_tokens"),
    ),
}
_OVER_TIME: dict[str, Any] = {"x": "Time (s)", "places": partial(_samples, key="t_s")}
SYSTEM_METRICS: dict[str, Metric] = {
    "interval": Metric("between two samples of the host", lambda job: json_value(job["config"], "measure", "interval_s"), "s"),
    "cpu_usage": Metric(
        "of the whole host", partial(_samples, key="cpu_percent"), "percent of all CPUs", "CPU usage", "{:.0f} %".format, **_OVER_TIME
    ),
    "ram_usage": Metric(
        "of the whole host, from the start on", _ram_used, "MB of 2^20 bytes", "RAM usage", "{:.0f} MiB".format, **_OVER_TIME
    ),
    "peak_ram_usage": Metric("the largest ram_usage", lambda job: max(_ram_used(job) or [], default=None), "MB"),
}
BARS = {name: metric for name, metric in METRICS.items() if metric.title and not metric.x}
LINES = {name: metric for name, metric in (METRICS | SYSTEM_METRICS).items() if metric.x}


def create_comparison_bar_graph(jobs: pd.DataFrame, folder: Path, metrics: Mapping[str, Metric] = BARS) -> list[Path]:
    """A picture per metric, a bar per framework (or whatever else varies), grouped by batch and lengths.

    Extend or replace `metrics` for others: {**BARS, "mine": Metric(...)}.
    """
    ok = _named(jobs)
    frame = ok.assign(setting=line_names(ok, [column for column in GRID if ok[column].nunique() > 1]).replace("", " "))
    return _save(frame, folder, metrics, _bars)


def create_comparison_line_graph(jobs: pd.DataFrame, folder: Path, metrics: Mapping[str, Metric] = LINES) -> list[Path]:
    """A picture per metric at the largest point that most of them reached, a line per framework (or whatever else varies).

    `jobs` must hold HEAVY_COLUMNS; what was not recorded is left out.
    """
    ok = _named(jobs)
    ok = ok.assign(reached=ok.groupby(list(GRID))["line"].transform("nunique"), tokens=ok["batch_size"] * ok["output_tokens"])
    largest = ok.sort_values(["reached", "tokens"], kind="stable").iloc[-1]
    frame = ok[(ok[list(GRID)] == largest[list(GRID)]).all(axis="columns")]
    return _save(frame, folder, metrics, _lines)


def save(jobs: pd.DataFrame, folder: Path) -> list[Path]:
    """All of both kinds."""
    return [*create_comparison_bar_graph(jobs, folder), *create_comparison_line_graph(jobs, folder)]


def _named(jobs: pd.DataFrame) -> pd.DataFrame:
    ok = jobs[jobs["status"] == Status.ok]
    return ok.assign(line=line_names(ok, telling_apart(ok) or ["framework"]))


def _save(frame: pd.DataFrame, folder: Path, metrics: Mapping[str, Metric], draw: Callable[[pd.DataFrame, Metric], Figure]) -> list[Path]:
    """A picture of each metric, of the jobs that have it, in a column `value`."""
    found = {name: frame.assign(value=[metric.value(job) for _, job in frame.iterrows()]) for name, metric in metrics.items()}
    recorded = {name: jobs.dropna(subset="value") for name, jobs in found.items()}
    return style.save_all(((name, draw(jobs, metrics[name])) for name, jobs in recorded.items() if len(jobs)), folder)


def _palette(frame: pd.DataFrame) -> dict[str, str]:
    lines = frame.drop_duplicates("line").sort_values("line")
    looks = style.unordered_styles(lines["framework"].tolist())
    return {line: look.color for line, look in zip(lines["line"], looks, strict=True)}


def _bars(frame: pd.DataFrame, metric: Metric) -> Figure:
    import seaborn as sns

    palette, settings = _palette(frame), frame["setting"].unique()
    figure = style.new_figure(7.6, max(2.6, 1.5 + 0.34 * len(settings) * len(palette) + 0.12 * len(settings)))
    ax = figure.add_subplot()
    sns.barplot(
        frame, y="setting", x="value", hue="line", hue_order=palette, palette=palette, errorbar=None, saturation=1, legend=False, ax=ax
    )
    for bars, color in zip(ax.containers, palette.values(), strict=False):
        ax.bar_label(bars, fmt=metric.show, padding=4, fontsize=9.5, color=color, fontweight="bold")  # type: ignore[arg-type]
    ax.grid(False)
    ax.set(xlabel="", ylabel="", xticks=[])
    ax.tick_params(length=0)
    ax.spines["bottom"].set_visible(False)
    _put_texts(figure, frame, metric, style.swatches(palette))
    return figure


def _lines(frame: pd.DataFrame, metric: Metric) -> Figure:
    figure = style.new_figure(7.6, 4.8)
    ax, palette = figure.add_subplot(), _palette(frame)
    ends: dict[str, style.EndLabel] = {}
    for _, job in frame.iterrows():
        x = (metric.places and metric.places(job)) or range(1, len(job["value"]) + 1)
        ax.plot(x, job["value"], color=palette[job["line"]], lw=1.6)
        ends[job["line"]] = style.EndLabel(x[-1], job["value"][-1], job["line"], palette[job["line"]])
    _scale_lines(ax, metric)
    named = style.put_end_labels(ax, list(ends.values()))
    _put_texts(figure, frame, metric, [] if named else style.swatches(palette))
    return figure


def _put_texts(figure: Figure, frame: pd.DataFrame, metric: Metric, key: Sequence[Artist]) -> None:
    style.put_texts(figure, metric.title, " · ".join(facts(frame)), provenance(frame), key, metric.definition)


def _scale_lines(ax: Axes, metric: Metric) -> None:
    values = pd.Series(np.concatenate([line.get_ydata() for line in ax.lines]), dtype=float)
    if metric.show is format_seconds:
        scale = scales.scale_for("latency_s", values, headroom=0.1)
    else:
        ticks = MaxNLocator(5).tick_values(min(values.min(), 0), max(values.max() * 1.05, 1e-9))
        scale = scales.Scale("linear", ticks[0], ticks[-1], tuple(ticks))
    scales.apply(ax.yaxis, scale, metric.show)
    if not metric.places:
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))  # no token has the number 1.5
    ax.set_xlabel(metric.x)
