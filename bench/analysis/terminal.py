"""Results in words: a table for the terminal, the same as Markdown, and why some points have no result."""

from __future__ import annotations

import re

import pandas as pd
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from bench.analysis import published
from bench.analysis.columns import GRID, column_of
from bench.analysis.settings import facts, telling_apart, varying
from bench.results import Status
from bench.units import format_seconds

_MOST_LINES = 40
_MOST_REASONS = 8
_NUMERIC = ("in", "out", "batch", "measured", "published", "ratio")
# What a narrow terminal can do without, the first first.
_DROPPED_FIRST = ("predicted_bytes", "peak_host_bytes", "peak_device_bytes", "tpot_s", "latency_range", "ttft_s")


def results_table(settings: pd.DataFrame, most: int | None = None) -> pd.DataFrame:
    """What was measured, as text: what tells the settings apart, then the figures. The first `most` lines of it."""
    ok = settings[settings["status"] == Status.ok]
    keys = varying(settings)
    memory = ["peak_device_bytes" if ok["peak_device_bytes"].notna().any() else "peak_host_bytes", "predicted_bytes"]
    known = [column for column in ("ttft_s", "tpot_s", "output_tok_s", *memory) if ok[column].notna().any()]
    shown, several = [*keys, "latency_s", *known], (ok["repeats"] > 1).any()
    ok = ok.head(most or len(ok))
    text = pd.DataFrame({column: ok[column].map(column_of(column).show, na_action="ignore") for column in shown}).astype(object).fillna("–")
    text["latency_s"] = [f"{latency} ~" if noisy else latency for latency, noisy in zip(text["latency_s"], ok["noisy"], strict=True)]
    if several:
        ends = (ok[f"latency_s_{end}"].map(format_seconds) for end in ("min", "max"))
        text.insert(len(keys) + 1, "latency_range", [" to ".join(pair) for pair in zip(*ends, strict=True)])
    return text


def print_results(settings: pd.DataFrame, console: Console) -> None:
    """The table of results, at most 40 lines of it, as wide as the terminal allows."""
    text = results_table(settings, _MOST_LINES)
    if text.empty:
        return
    console.print(_fitting(text, " · ".join(facts(settings)), console))
    if hidden := (settings["status"] == Status.ok).sum() - len(text):
        say(console, f"... and {hidden} more settings")
    say(console, *_noise(settings))


def print_ratios(measured: pd.DataFrame, sweep: str, console: Console) -> None:
    """Point by point the measured latency over the published one, and which choices of the published runs are known."""
    console.print()
    console.print(_as_rich(ratios_table(measured, sweep).head(_MOST_LINES), f"measured over published: {sweep}"))
    console.print(_as_rich(published.fidelity(measured, sweep), "like for like only where these agree"))


def ratios_table(measured: pd.DataFrame, sweep: str) -> pd.DataFrame:
    pairs = published.ratios(measured, sweep)
    own = [column for column in telling_apart(measured) if column in pairs]
    keys = [*own, *(column for column in GRID if pairs[column].nunique() > 1)]
    text = pd.DataFrame({column_of(column).head: pairs[column].map(column_of(column).show, na_action="ignore") for column in keys})
    text["published for"] = pairs["model_published"] + " " + pairs["hardware_published"]
    for head, column in (("measured", "latency_s"), ("published", "latency_s_published")):
        text[head] = pairs[column].map(format_seconds)
    return text.assign(ratio=pairs["ratio"].map("{:.3g}".format))


def say(console: Console, *lines: str) -> None:
    """As they are: no name is markup, and the terminal breaks what is too long."""
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def failures(jobs: pd.DataFrame) -> list[str]:
    """Each reason why jobs have no result, with their number and the first of them."""
    bad = jobs[jobs["status"] != Status.ok]
    reasons = bad["error"].fillna("").astype(str).str.split("\n").str[0]
    groups = bad.groupby(["status", reasons], sort=False)
    lines = [f"{len(group)} {status}: {_where(group)}{f' ({reason})' if reason else ''}" for (status, reason), group in groups]
    hidden = len(lines) - _MOST_REASONS
    return [*lines[:_MOST_REASONS], *([f"... and {hidden} more reasons"] if hidden > 0 else [])]


def markdown(jobs: pd.DataFrame, settings: pd.DataFrame) -> str:
    """For a pull request or a chat: what was held fixed, the table, what has no result."""
    text = results_table(settings)
    parts = [f"**{_escaped(' · '.join(facts(settings)))}**"]
    if len(text):
        parts.append(_as_markdown(text.rename(columns=lambda name: column_of(name).head)))
    for sweep, measured in published.repeated(settings):
        parts += [f"**measured over published: {sweep}**", _as_markdown(ratios_table(measured, sweep))]
        parts += ["like for like only where these agree:", _as_markdown(published.fidelity(measured, sweep))]
    parts += ["\n".join(f"- {_escaped(line)}" for line in lines) for lines in (_noise(settings), failures(jobs)) if lines]
    return "\n\n".join(parts) + "\n"


def _as_markdown(text: pd.DataFrame) -> str:
    rows = [list(map(str, text)), ["---"] * len(text.columns), *text.astype(str).to_numpy().tolist()]
    return "\n".join(f"| {' | '.join(map(_escaped, row))} |" for row in rows)


def _fitting(text: pd.DataFrame, title: str, console: Console) -> Table:
    drop = [column for column in _DROPPED_FIRST if column in text]
    for count in range(len(drop) + 1):
        table = _as_rich(text.drop(columns=drop[:count]), title)
        if Measurement.get(console, console.options.update(width=10_000), table).maximum <= console.width:
            break
    return table


def _as_rich(text: pd.DataFrame, title: str) -> Table:
    table = Table(title=Text(title), title_justify="left", title_style="bold", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in map(str, text):
        numeric = column in (*GRID, *_NUMERIC) or column.endswith(("_s", "_range", "_bytes"))
        table.add_column(Text(column_of(column).head), justify="right" if numeric else "left", header_style="bold", overflow="fold")
    for row in text.itertuples(index=False):
        table.add_row(*map(Text, row))  # no name is markup
    return table


def _noise(settings: pd.DataFrame) -> list[str]:
    """What disturbed the measurements, each kind of disturbance once: the numbers in it differ from setting to setting."""
    noisy = settings[settings["noisy"].eq(True)]
    kinds = {re.sub(r"\d[\d.,]*", "#", reason): reason for reasons in noisy["noise"] for reason in reasons}
    told = [f"  {reason}" for reason in list(kinds.values())[:_MOST_REASONS]]
    return [f"~ {len(noisy)} of {len(settings)} settings are noisy, for reasons like:", *told] if len(noisy) else []


def _where(group: pd.DataFrame) -> str:
    named = [column for column in ("model", "framework", "hardware") if group[column].nunique() > 1]
    group = group.drop_duplicates([*named, *GRID])  # each once, whatever its rounds
    settings = [
        " ".join(
            [
                *(str(row[column]) for column in named),
                *(f"{column_of(column).head} {row[column]}" for column in GRID if not pd.isna(row[column])),
            ]
        )
        for _, row in group.head(3).astype(dict.fromkeys(GRID, "Int64")).iterrows()  # with a null among them, they are 1.0
    ]
    return ", ".join(settings) + (", ..." if len(group) > 3 else "")


def _escaped(text: str) -> str:
    return re.sub(r"([\\|*_`\[])", r"\\\1", text).replace("<", "&lt;").replace("\n", " ")
