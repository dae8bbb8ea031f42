"""A comparison as people and machines read it: tables for the terminal, JSON, and a chart of ratios with their intervals."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from math import inf, isfinite
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from bench.analysis.columns import column_of
from bench.analysis.compare.pairs import Matching
from bench.analysis.compare.statistics import APART_S, LOPSIDED, NOISY, ONE_ROUND, Change, Comparison, Verdict
from bench.units import format_seconds

_COLOURS = {Verdict.faster: "green", Verdict.slower: "red", Verdict.same: "default", Verdict.undecided: "yellow"}
_GRID = ("batch_size", "input_tokens", "output_tokens")  # as the eye looks for it
_MARKS = {NOISY: " ~", LOPSIDED: " !"}  # in the table, where words would not fit
_MOST_DIFFERENCES = 12
# What differs of two hosts stands in a table of its own.
_HOSTS = {
    **{"host": "host", "cpu": "CPU", "gpu": "GPU", "driver": "driver", "threads": "threads", "python": "Python"},
    **{"torch": "torch", "transformers": "transformers", "framework_version": "engine", "cpus": "CPUs"},
}
# What a reader must know of {0}, the matching, and {1}, the comparison.
_REMARKS = {
    ONE_ROUND: "One round does not show how much runs differ: only large changes count. Measure with rounds=5 for small ones.",
    NOISY: "~: the host was noisy there, so that no difference counts; measure with noise=wait or more rounds, or pass --trust-noisy.",
    "close": "The rounds follow each other within {0.round_s:.0f} s, and a host has good and bad minutes: the intervals allow for it. They "
    f"get narrower with more repeats, until a round takes {APART_S:.0f} s, and in one sweep with both sides, compared with --by.",
    "left out": "Left out of the points' rounds: {1.left_out[0]} of {0.base}, {1.left_out[1]} of {0.new}. The host was noisy then, or they "
    "took far longer than the others.",
    LOPSIDED: "!: most of what is left out is on one side. A slow program and a disturbed host look alike there, so that nothing is "
    "decided; measure again with more rounds, or with both sides in one sweep (--by).",
    "mixed": "{0.mixed} points were sampled on one side and measured on the other: sampling's error is among the changes.",
    "one-sided": "{0.one_sided} points were sampled on one side and measured on the other, and are left out; --mixed compares them.",
    "unmatched": "{0.unmatched} points have a result on one side only, and are left out.",
}


def print_comparison(matching: Matching, found: Comparison, console: Console) -> None:
    if hosts := _hosts(matching):
        table = _table("hosts", "", Column(Text(matching.base)), Column(Text(matching.new)), "new / base")
        for name, told in hosts.items():
            table.add_row(name, *(Text(side[:60]) for side in told))
        for name, rates in matching.ceilings.items():
            unit = "GB/s" if name == "memory" else "GFLOP/s"
            shown = [f"{rate / 1e9:,.1f} {unit}" if rate else "not measured" for rate in rates]
            table.add_row(Text(f"{name}, ceiling"), *shown, f"{rates[1] / rates[0]:.2f}" if rates[0] and rates[1] else "")
        console.print(table, "")
    numbers = [Column(name, justify="right", no_wrap=True) for name in ("base", "new", "change", "interval")]
    title = f"{matching.new} against {matching.base}: latency of the whole batch"
    table = _table(title, "point", *numbers, Column("verdict", no_wrap=True))
    for label, change, pair in zip(labels(matching.points), found.points, matching.pairs, strict=True):
        table.add_row(Text(label), *(format_seconds(side.latency_s) for side in pair), *_cells(change))
    table.add_section()
    table.add_row("geometric mean", "", "", *_cells(found.overall))
    console.print(table)
    for line in _remarks(matching, found):
        console.print(line, highlight=False, markup=False)


def labels(points: Sequence[Mapping[str, Any]]) -> list[str]:
    """What tells the points from each other: batch 1 · in 32 · out 11."""
    varying = [key for key in (points[0] if points else ()) if len({str(point[key]) for point in points}) > 1]
    shown = sorted(varying, key=lambda key: _GRID.index(key) if key in _GRID else -1) or list(_GRID)
    return [" · ".join(_said(key, point.get(key)) for key in shown) for point in points]


def as_json(matching: Matching, found: Comparison) -> dict[str, Any]:
    def both(pairs: Mapping[str, tuple[Any, Any]]) -> dict[str, Any]:
        return {name: {"base": base, "new": new} for name, (base, new) in pairs.items()}

    def known(change: Change) -> dict[str, Any]:
        return {name: None if value == inf else value for name, value in asdict(change).items()}

    return {
        "base": matching.base,
        "new": matching.new,
        "min_effect": found.min_effect,
        "overall": known(found.overall),
        "points": [
            {"point": dict(point), **known(change), "base_s": base.latency_s, "new_s": new.latency_s}
            for point, change, (base, new) in zip(matching.points, found.points, matching.pairs, strict=True)
        ],
        "unmatched": matching.unmatched,
        "left_out": dict(zip(("base", "new"), found.left_out, strict=True)),
        "differences": both(matching.differences),
        "hosts": {"differences": both(_hosts(matching)), "ceilings": both(matching.ceilings)},
    }


def draw(matching: Matching, found: Comparison, folder: Path) -> list[Path]:
    """A ratio with its interval for each point, as PNG and SVG."""
    from bench.analysis import style

    colours = {Verdict.faster: "#009E73", Verdict.slower: style.BAD, Verdict.same: style.INK, Verdict.undecided: style.AXIS}
    names, changes = [*labels(matching.points), "geometric mean"], [*found.points, found.overall]
    smallest, last = 100 * found.min_effect, len(changes) - 1
    with style.house_style():
        figure = style.new_figure(7.6, 2.1 + 0.3 * len(changes))
        ax = figure.subplots()
        for place, change in enumerate(changes):
            colour = colours[change.verdict]
            ends = [100 * (max(-0.99, end - 1) if isfinite(end) else 1e3) for end in (change.low, change.high)]
            ax.plot(ends, [place, place], color=colour, linewidth=2, zorder=3)
            ax.plot(100 * (change.ratio - 1), place, "D" if place == last else "o", color=colour, markeredgecolor="white", zorder=4)
        ax.axvspan(-smallest, smallest, color=style.PANEL, zorder=0)
        ax.axvline(0, color=style.AXIS, linewidth=1, zorder=1)
        ax.axhline(last - 0.5, color=style.FAINT, linewidth=1, zorder=1)
        ax.set_yticks(range(len(names)), names)
        ax.set_ylim(last + 0.6, -0.6)
        reach = _reach(changes, smallest)
        ax.set_xlim(-reach, reach)
        ax.xaxis.set_major_formatter(lambda value, _: f"{value:+.0f} %" if round(value, 6) else "0")
        ax.grid(axis="y", visible=False)
        ax.set_xlabel(f"change of latency: right is slower\n{_cut(matching.new, 45)} against {_cut(matching.base, 45)}")
        subtitle = f"intervals hold for all points together with 95 %; grey: under {found.min_effect:.0%}, too small to matter"
        style.put_texts(figure, headline(found), subtitle, "")
        folder.mkdir(parents=True, exist_ok=True)
        sides = (re.sub(r"[^\w.=+]+", "-", name)[:60].strip("-") for name in (matching.base, matching.new))
        return style.save(figure, folder / "-".join(["compare", *sides]))


def headline(found: Comparison) -> str:
    words = {Verdict.same: "the same", Verdict.undecided: "can't tell"}
    counts = Counter(change.verdict for change in found.points)
    each = ", ".join(f"{counts[verdict]} {verdict}" for verdict in Verdict if counts[verdict])
    overall = found.overall
    return f"Overall {words.get(overall.verdict, overall.verdict)} ({100 * (overall.ratio - 1):+.1f} %); of the points {each}"


def _reach(changes: Sequence[Change], smallest: float) -> float:
    """In percent, wide enough for most intervals; one that nothing is known of must not squeeze the others."""
    ends = sorted(abs(end - 1) for change in changes for end in (change.low, change.high) if isfinite(end))
    typical, largest = ends[int(0.9 * (len(ends) - 1))], max(abs(change.ratio - 1) for change in changes)
    return 1.15 * max(1.5 * smallest, 100 * typical, 100 * largest)


def _table(title: str, *heads: str | Column) -> Table:
    return Table(*heads, title=Text(title), title_justify="left", title_style="bold", box=None, padding=(0, 2, 0, 0))


def _hosts(matching: Matching) -> dict[str, tuple[str, str]]:
    told = {name: matching.differences[key] for key, name in _HOSTS.items() if key in matching.differences}
    return {name: (base.replace("null", "-"), new.replace("null", "-")) for name, (base, new) in told.items()}


def _cells(change: Change) -> tuple[str | Text, ...]:
    interval = f"{100 * (change.low - 1):+.1f} to {_percent(change.high)}" if isfinite(change.high) else "unknown"
    notes = "".join(_MARKS.get(note, f", {note}") for note in change.notes)
    return (_percent(change.ratio), interval, Text(str(change.verdict), _COLOURS[change.verdict]).append(notes, "dim"))


def _remarks(matching: Matching, found: Comparison) -> list[str]:
    notes = {note for change in (*found.points, found.overall) for note in change.notes}
    holds = {
        **dict.fromkeys(notes, True),
        "close": not matching.interleaved and ONE_ROUND not in notes and matching.round_s < APART_S,
        "left out": any(found.left_out),
        "mixed": matching.mixed,
        "one-sided": matching.one_sided,
        "unmatched": matching.unmatched,
    }
    lines = ["", headline(found), *(text.format(matching, found) for name, text in _REMARKS.items() if holds.get(name))]
    rest = [f"  {key}: {_cut(base)} -> {_cut(new)}" for key, (base, new) in matching.differences.items() if key not in _HOSTS]
    if rest:
        lines += ["What else differs:", *rest[:_MOST_DIFFERENCES]]
    if len(rest) > _MOST_DIFFERENCES:
        lines.append(f"  and {len(rest) - _MOST_DIFFERENCES} more; --json lists them")
    return lines


def _said(key: str, value: Any) -> str:
    name = column_of(key).head if key in _GRID else key.removesuffix(".name").rpartition(".")[2]
    return str(value) if key.endswith(".name") else f"{name} {value}"


def _percent(ratio: float) -> str:
    return f"{100 * (ratio - 1):+.1f}%"


def _cut(text: str, length: int = 60) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
