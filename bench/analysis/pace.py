"""Frameworks side by side: bars of averages, and lines over tokens and time, under the names that AMD's benchmark gave them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from bench.analysis import scales, style
from bench.analysis.charts import provenance
from bench.analysis.columns import GRID
from bench.analysis.draw import line_names
from bench.analysis.settings import facts, telling_apart
from bench.results import Status
from bench.units import format_count, format_seconds

HEAVY_COLUMNS = ("token_times_s", "system")
"""What create_comparison_line_graph needs beside the usual columns: `read_jobs(folders, HEAVY_COLUMNS)`."""
Points = tuple[NDArray[np.float64], NDArray[np.float64]]


@dataclass(frozen=True)
class Bar:
    """One number per job, averaged over the repeats."""

    title: str
    definition: str
    value: Callable[[pd.DataFrame], pd.Series]
    show: Callable[[float], str] = format_seconds


@dataclass(frozen=True)
class Line:
    """A series per job: where along the x axis, and how much."""

    title: str
    definition: str
    x: str
    points: Callable[[pd.Series], Points]
    needs: str = "token_times_s"  # the column without which a job has no such line
    show: Callable[[float], str] = format_seconds

    def is_in(self, job: pd.Series) -> bool:
        """Whether it was recorded."""
        return job[self.needs] is not None and len(job[self.needs]) > 0


def _mean_s(jobs: pd.DataFrame) -> pd.Series:
    return jobs["latencies_s"].map(np.mean)


def _total_tps(jobs: pd.DataFrame) -> pd.Series:
    return jobs["batch_size"] * (jobs["input_tokens"] + jobs["output_tokens"]) / _mean_s(jobs)


BARS: dict[str, Bar] = {
    "average_gen_time": Bar("Average generation time", "mean over the repeats, whole batch", _mean_s),
    "average_latency_per_token": Bar(
        "Average latency per token",
        "average generation time / (batch × (prompt + output tokens)): 1 / total_tps, not the time between tokens",
        lambda jobs: 1 / _total_tps(jobs),
    ),
    "total_tps": Bar("Total tokens per second", "batch × (prompt + output tokens) / average generation time", _total_tps, format_count),
    "output_tps": Bar(
        "Output tokens per second",
        "batch × output tokens / average generation time",
        lambda jobs: jobs["batch_size"] * jobs["output_tokens"] / _mean_s(jobs),
        format_count,
    ),
    "average_ttft": Bar("Average time to first token", "median over the repeats", lambda jobs: jobs["ttft_s"]),
}


def _token_gaps(job: pd.Series) -> Points:
    times = np.array([list(repeat) for repeat in job["token_times_s"]])
    gaps = np.median(np.diff(times, axis=1, prepend=0.0), axis=0)
    return np.arange(1.0, len(gaps) + 1), gaps


def _samples(key: str, scale: float = 1.0, *, from_start: bool = False) -> Callable[[pd.Series], Points]:
    def points(job: pd.Series) -> Points:
        values = np.array([sample[key] for sample in job["system"]], dtype=float) * scale
        return np.array([sample["t_s"] for sample in job["system"]]), values - (values[0] if from_start else 0.0)

    return points


LINES: dict[str, Line] = {
    "time_per_tokens": Line("Time per token", "median over the repeats; the first from the request", "Output token", _token_gaps),
    "cpu_usage": Line("CPU usage", "of the whole host", "Time (s)", _samples("cpu_percent"), "system", "{:.0f} %".format),
    "ram_usage": Line(
        "RAM usage",
        "of the whole host, from the start on",
        "Time (s)",
        _samples("ram_bytes", 2**-20, from_start=True),
        "system",
        "{:.0f} MiB".format,
    ),
}


def create_comparison_bar_graph(jobs: pd.DataFrame, folder: Path, metrics: Mapping[str, Bar] = BARS) -> list[Path]:
    """A picture per metric, a bar per framework (or whatever else varies), grouped by batch and lengths.

    Extend or replace `metrics` for others: {**BARS, "mine": Bar(...)}.
    """
    ok = _named(jobs)
    frame = ok.assign(setting=line_names(ok, [column for column in GRID if ok[column].nunique() > 1]).replace("", " "))
    measured = ((name, metric, frame.assign(value=metric.value(frame)).dropna(subset=["value"])) for name, metric in metrics.items())
    return style.save_all(((name, _bars(found, metric)) for name, metric, found in measured if len(found)), folder)


def create_comparison_line_graph(jobs: pd.DataFrame, folder: Path, metrics: Mapping[str, Line] = LINES) -> list[Path]:
    """A picture per metric at the largest point that most of them reached, a line per framework (or whatever else varies).

    `jobs` must hold HEAVY_COLUMNS; what was not recorded is left out.
    """
    ok = _named(jobs)
    ok = ok.assign(reached=ok.groupby(list(GRID))["line"].transform("nunique"), tokens=ok["batch_size"] * ok["output_tokens"])
    largest = ok.sort_values(["reached", "tokens"], kind="stable").iloc[-1]
    frame = ok[(ok[list(GRID)] == largest[list(GRID)]).all(axis="columns")]
    recorded = ((name, metric, frame[frame.apply(metric.is_in, axis="columns")]) for name, metric in metrics.items())
    return style.save_all(((name, _lines(found, metric)) for name, metric, found in recorded if len(found)), folder)


def save(jobs: pd.DataFrame, folder: Path) -> list[Path]:
    """All of both kinds."""
    return [*create_comparison_bar_graph(jobs, folder), *create_comparison_line_graph(jobs, folder)]


def _named(jobs: pd.DataFrame) -> pd.DataFrame:
    ok = jobs[jobs["status"] == Status.ok]
    return ok.assign(line=line_names(ok, telling_apart(ok) or ["framework"]))


def _palette(frame: pd.DataFrame) -> dict[str, str]:
    lines = frame.drop_duplicates("line").sort_values("line")
    looks = style.unordered_styles(lines["framework"].tolist())
    return {line: look.color for line, look in zip(lines["line"], looks, strict=True)}


def _bars(frame: pd.DataFrame, metric: Bar) -> Figure:
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
    subtitle = " · ".join([metric.definition, *facts(frame)])
    style.put_texts(figure, metric.title, subtitle, provenance(frame), style.swatches(palette))
    return figure


def _lines(frame: pd.DataFrame, metric: Line) -> Figure:
    figure = style.new_figure(7.6, 4.8)
    ax, palette = figure.add_subplot(), _palette(frame)
    ends: dict[str, style.EndLabel] = {}
    for _, job in frame.iterrows():
        x, y = metric.points(job)
        ax.plot(x, y, color=palette[job["line"]], lw=1.6)
        ends[job["line"]] = style.EndLabel(x[-1], y[-1], job["line"], palette[job["line"]])
    _scale_lines(ax, metric)
    style.put_texts(figure, metric.title, " · ".join([metric.definition, *facts(frame)]), provenance(frame))
    style.put_end_labels(ax, list(ends.values()))
    return figure


def _scale_lines(ax: Axes, metric: Line) -> None:
    values = pd.Series(np.concatenate([line.get_ydata() for line in ax.lines]), dtype=float)
    if metric.show is format_seconds:
        scale = scales.scale_for("latency_s", values, headroom=0.1)
    else:
        ticks = MaxNLocator(5).tick_values(min(values.min(), 0), max(values.max() * 1.05, 1e-9))
        scale = scales.Scale("linear", ticks[0], ticks[-1], tuple(ticks))
    scales.apply(ax.yaxis, scale, metric.show)
    ax.set_xlabel(metric.x)
