"""A comparison as people and machines read it: a table for the terminal, JSON, and a chart of ratios with their intervals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from bench.analysis.columns import column_of
from bench.analysis.compare.pairs import Matched
from bench.analysis.compare.statistics import APART_S, LOPSIDED, NOISY, ONE_ROUND, Change, Comparison, Verdict
from bench.units import format_seconds

_COLOURS = {Verdict.faster: "green", Verdict.slower: "red", Verdict.same: "default", Verdict.undecided: "yellow"}
_GRID = ("batch_size", "input_tokens", "output_tokens")  # as the eye looks for it
_MARKS = {NOISY: " ~", LOPSIDED: " !"}  # in the table, where words would not fit
_MOST_DIFFERENCES = 12


def print_comparison(matched: Matched, found: Comparison, console: Console) -> None:
    title = f"{matched.new} against {matched.base}: latency of the whole batch"
    table = Table(title=Text(title), title_justify="left", title_style="bold", box=None, padding=(0, 2, 0, 0))
    table.add_column("point")
    for name in ("base", "new", "change", "interval"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for label, change, pair in zip(labels(matched.points), found.points, matched.pairs, strict=True):
        table.add_row(Text(label), *(format_seconds(side.latency_s) for side in pair), *_cells(change))
    table.add_section()
    table.add_row("geometric mean", "", "", *_cells(found.overall))
    console.print(table)
    for line in _remarks(matched, found):
        console.print(line, highlight=False, markup=False)


def labels(points: Sequence[Mapping[str, Any]]) -> list[str]:
    """What tells the points from each other: batch 1 · in 32 · out 11."""
    varying = [key for key in (points[0] if points else ()) if len({str(point[key]) for point in points}) > 1]
    shown = sorted(varying, key=lambda key: _GRID.index(key) if key in _GRID else -1) or list(_GRID)
    return [" · ".join(_said(key, point.get(key)) for key in shown) for point in points]


def as_json(matched: Matched, found: Comparison) -> dict[str, Any]:
    return {
        "base": matched.base,
        "new": matched.new,
        "min_effect": found.min_effect,
        "overall": _change_as_json(found.overall),
        "points": [
            {"point": dict(point), **_change_as_json(change), "base_s": base.latency_s, "new_s": new.latency_s}
            for point, change, (base, new) in zip(matched.points, found.points, matched.pairs, strict=True)
        ],
        "unmatched": matched.unmatched,
        "left_out": dict(zip(("base", "new"), found.left_out, strict=True)),
        "differences": {key: {"base": base, "new": new} for key, (base, new) in matched.differences.items()},
    }


def draw(matched: Matched, found: Comparison, stem: Path) -> list[Path]:
    """A ratio with its interval for each point, as PNG and SVG."""
    from bench.analysis import style

    colours = {Verdict.faster: "#009E73", Verdict.slower: style.BAD, Verdict.same: style.INK, Verdict.undecided: style.AXIS}
    rows = [*zip(labels(matched.points), found.points, strict=True), ("geometric mean", found.overall)]
    with style.house_style():
        figure = style.new_figure(7.6, 1.9 + 0.3 * len(rows))
        ax = figure.subplots()
        for place, (_, change) in enumerate(rows):
            colour = colours[change.verdict]
            low, high = (max(-0.99, value - 1) if isfinite(value) else 1e3 for value in (change.low, change.high))
            ax.plot([100 * low, 100 * high], [place, place], color=colour, linewidth=2, zorder=3)
            marker = "D" if place == len(rows) - 1 else "o"
            ax.plot(100 * (change.ratio - 1), place, marker, color=colour, markeredgecolor="white", zorder=4)
        width = 100 * found.min_effect
        ax.axvspan(-width, width, color=style.PANEL, zorder=0)
        ax.axvline(0, color=style.AXIS, linewidth=1, zorder=1)
        ax.axhline(len(rows) - 1.5, color=style.FAINT, linewidth=1, zorder=1)
        ax.set_yticks(range(len(rows)), [label for label, _ in rows])
        ax.set_ylim(len(rows) - 0.4, -0.6)
        ax.set_xlim(*_limits(found, width))
        ax.xaxis.set_major_formatter(lambda value, _: f"{value:+.0f} %" if round(value, 6) else "0")
        ax.grid(axis="y", visible=False)
        ax.set_xlabel(f"change of latency, {matched.new} against {matched.base}: right is slower")
        subtitle = f"intervals hold for all points together with 95 %; grey: under {found.min_effect:.0%}, too small to matter"
        style.put_texts(figure, headline(found), subtitle, "")
        stem.parent.mkdir(parents=True, exist_ok=True)
        return style.save(figure, stem)


def headline(found: Comparison) -> str:
    words = {Verdict.same: "the same", Verdict.undecided: "can't tell"}
    change = f"{100 * (found.overall.ratio - 1):+.1f} %"
    counts = Counter(change.verdict for change in found.points)
    each = ", ".join(f"{counts[verdict]} {verdict}" for verdict in Verdict if counts[verdict])
    return f"Overall {words.get(found.overall.verdict, found.overall.verdict)} ({change}); of the points {each}"


def _limits(found: Comparison, width: float) -> tuple[float, float]:
    """Wide enough for most intervals; one that nothing is known of must not squeeze the others."""
    ends = sorted(100 * abs(end - 1) for change in (*found.points, found.overall) for end in (change.low, change.high) if isfinite(end))
    typical = ends[int(0.9 * (len(ends) - 1))] if ends else 0
    largest = max(100 * abs(change.ratio - 1) for change in (*found.points, found.overall))
    reach = 1.15 * max(1.5 * width, typical, largest)
    return -reach, reach


def _cells(change: Change) -> tuple[str | Text, ...]:
    interval = f"{100 * (change.low - 1):+.1f} to {_percent(change.high)}" if isfinite(change.high) else "unknown"
    notes = "".join(_MARKS.get(note, f", {note}") for note in change.notes)
    return (_percent(change.ratio), interval, Text(str(change.verdict), _COLOURS[change.verdict]).append(notes, "dim"))


def _remarks(matched: Matched, found: Comparison) -> list[str]:
    lines = ["", headline(found)]
    notes = {note for change in found.points for note in change.notes}
    if ONE_ROUND in notes:
        lines.append("One round does not show how much runs differ: only large changes count. Measure with rounds=5 for small ones.")
    if NOISY in notes:
        lines.append(
            "~: the host was noisy there, so that no difference counts; measure with noise=wait or more rounds, or pass --trust-noisy."
        )
    if not matched.interleaved and ONE_ROUND not in notes and matched.round_s < APART_S:
        lines.append(
            f"The rounds follow each other within {matched.round_s:.0f} s, and a host has good and bad minutes: the intervals allow "
            f"for it. They get narrower with more repeats, until a round takes {APART_S:.0f} s, and in one sweep with both sides, "
            "compared with --by."
        )
    if sum(found.left_out):
        base, new = found.left_out
        lines.append(
            f"Left out of the points' rounds: {base} of {matched.base}, {new} of {matched.new}. The host was noisy then, or they took "
            "far longer than the others."
        )
    if LOPSIDED in {note for change in (*found.points, found.overall) for note in change.notes}:
        lines.append(
            "!: most of what is left out is on one side. A slow program and a disturbed host look alike there, so that nothing is decided; "
            "measure again with more rounds, or with both sides in one sweep (--by)."
        )
    if matched.mixed:
        lines.append(f"{matched.mixed} points were sampled on one side and measured on the other: sampling's error is among the changes.")
    elif matched.one_sided:
        lines.append(
            f"{matched.one_sided} points were sampled on one side and measured on the other, and are left out; --mixed compares them."
        )
    if matched.unmatched:
        lines.append(f"{matched.unmatched} points have a result on one side only, and are left out.")
    shown = list(matched.differences.items())[:_MOST_DIFFERENCES]
    if shown:
        lines.append("What else differs:")
        lines += [f"  {key}: {_cut(base)} -> {_cut(new)}" for key, (base, new) in shown]
    if len(matched.differences) > len(shown):
        lines.append(f"  and {len(matched.differences) - len(shown)} more; --json lists them")
    return lines


def _change_as_json(change: Change) -> dict[str, Any]:
    numbers = {"ratio": change.ratio, "low": change.low, "high": change.high}
    known = {key: value if isfinite(value) else None for key, value in numbers.items()}
    return {"verdict": str(change.verdict), "notes": list(change.notes), **known}


def _said(key: str, value: Any) -> str:
    name = column_of(key).head if key in _GRID else key.removesuffix(".name").rpartition(".")[2]
    return str(value) if key.endswith(".name") else f"{name} {value}"


def _percent(ratio: float) -> str:
    return f"{100 * (ratio - 1):+.1f}%"


def _cut(text: str, length: int = 60) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
