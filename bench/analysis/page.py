"""One self-contained page: cards, charts with filters, the best setting under a latency limit, and every number in a table."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import pandas as pd

from bench.analysis import published, sampling, terminal
from bench.analysis.columns import GRID, column_of
from bench.analysis.settings import facts, interval_in_words, telling_apart
from bench.results import Status
from bench.units import format_count, format_seconds

_MOST_COMMANDS = 5  # of a folder that many commands added to, the latest
_FOLDER = Path(__file__).parent
_MEASURED = ("latency_s", "latency_s_low", "latency_s_high", "ttft_s", "tpot_s", "output_tok_s", "total_tok_s")
_PUBLISHED = ("model", "framework", "hardware", *GRID, "latency_s", "output_tok_s")
_NOTHING_ELSE = "default-src 'none'; base-uri 'none'; form-action 'none'"
# Until the filters are known, no row is laid out; where the script fails, all are.
_EARLY = 'const root = document.documentElement.classList; root.add("waiting"); onerror = () => root.remove("waiting");'


def write_page(jobs: pd.DataFrame, settings: pd.DataFrame, file: Path) -> Path:
    """Write the page. Every value in it is escaped, and nothing in it loads or runs anything from elsewhere."""
    script = (_FOLDER / "page.js").read_text()
    columns = _columns(settings)
    style = (_FOLDER / "page.css").read_text() + _alignment(columns)
    names = ", ".join(dict.fromkeys(settings["name"].dropna().astype(str)))
    parts = {
        "policy": f"{_NOTHING_ELSE}; script-src {_digest(_EARLY, script)}; style-src {_digest(style)}",
        "title": escape(f"Inference benchmark: {names}"),
        "subtitle": escape(" · ".join(facts(settings))),
        "style": style,
        "early": _EARLY,
        "script": script,
        "cards": _cards(settings),
        "published": "".join(_published(measured, sweep) for sweep, measured in published.repeated(settings)),
        "count": f"{len(settings)} settings. Times in seconds; low to high: {interval_in_words(settings)}.",
        "results": _results(settings, columns),
        "failures": _list(terminal.failures(jobs)),
        "provenance": _provenance(jobs),
    }
    # In one pass, so that a value that looks like a placeholder stays a value.
    file.write_text(re.sub(r"@(\w+)@", lambda match: parts[match[1]], (_FOLDER / "page.html").read_text()))
    return file


def _digest(*texts: str) -> str:
    return " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in texts)


def _columns(settings: pd.DataFrame) -> list[str]:
    """Names first, numbers in the middle, words at the end, so that three rules align them all."""
    series = telling_apart(settings)
    texts = [column for column in series if not pd.api.types.is_numeric_dtype(settings[column])]
    numbers = [column for column in series if column not in texts]
    measured = [column for column in _MEASURED if settings[column].notna().any()]
    return [*texts, *numbers, *GRID, *measured, "status", "noise", *(["source"] if sampling.key_of_sampled(settings) else [])]


def _alignment(columns: Sequence[str]) -> str:
    first = next(i for i, column in enumerate(columns, 1) if _kind(column) != "text" or column in GRID)
    last = list(columns).index("status")
    return f"#results :is(th, td):nth-child(n+{first}):nth-child(-n+{last}) {{ text-align: right; white-space: nowrap; }}\n"


def _kind(column: str) -> str:
    kind = column_of(column).kind
    return kind if kind in ("seconds", "count", "whole") else "text"


def _results(settings: pd.DataFrame, columns: Sequence[str]) -> str:
    """All settings, as plain as numbers get: the script reads them from here, and without a script so does the reader."""
    fixed = {column: settings[column].iloc[0] for column in ("sweep", "model", "framework", "hardware", "dtype") if column not in columns}
    meta = {"values": {key: str(value) for key, value in fixed.items()}, "heads": {key: column_of(key).head for key in fixed}}
    names = {column: escape(column_of(column).head) for column in columns}
    heads = "".join(f'<th scope="col" data-k="{escape(key)}" data-t="{_kind(key)}" data-h="{name}">{name}' for key, name in names.items())
    texts = [[_plain(value) for value in settings[column]] for column in columns]
    body = "\n".join("<tr><td>" + "<td>".join(cells) for cells in zip(*texts, strict=True))
    theirs = [published.points_of(sweep)[list(_PUBLISHED)].round(4).to_dict("records") for sweep, _ in published.repeated(settings)]
    given = {
        "series": telling_apart(settings),
        "fixed": meta,
        "published": [point for points in theirs for point in points],
        "interval": interval_in_words(settings),
        "sampled": f" Hollow: {key}." if (key := sampling.key_of_sampled(settings)) else "",
    }
    data = " ".join(f'data-{name}="{_attribute(value)}"' for name, value in given.items())
    return f'<table id="results" {data}><thead><tr>{heads}</thead><tbody>\n{body}\n</tbody></table>'


def _plain(value: Any) -> str:
    if isinstance(value, str):
        return escape(value)
    if isinstance(value, Iterable):
        return escape(", ".join(map(str, value)))
    if pd.isna(value):
        return ""
    return f"{value:.5g}" if isinstance(value, float) and value != int(value) else escape(str(value).removesuffix(".0"))


def _attribute(value: object) -> str:
    return escape(json.dumps(value, ensure_ascii=False, separators=(",", ":")))


def _cards(settings: pd.DataFrame) -> str:
    ok = settings[settings["status"] == Status.ok]
    cards = [(f"{len(ok)} of {len(settings)}", "settings measured" + _lost(settings))]
    if len(ok):
        fastest, widest = (ok.nsmallest(1, "latency_per_token_s").iloc[0], ok.nlargest(1, "output_tok_s").iloc[0])
        told = [*telling_apart(settings), *(column for column in GRID if settings[column].nunique() > 1)]
        cards.insert(0, (f"{format_count(widest['output_tok_s'])} tok/s", f"highest throughput: {_said(widest, told)}"))
        cards.insert(1, (format_seconds(fastest["latency_per_token_s"]), f"lowest latency per output token: {_said(fastest, told)}"))
        noisy = int(ok["noisy"].sum())
        cards.append(
            (str(noisy) if noisy else "none", "noisy: shown with the reason, never dropped" if noisy else "of the results is noisy")
        )
    return "".join(f"<div><b>{escape(big)}</b><span>{escape(small)}</span></div>" for big, small in cards)


def _lost(settings: pd.DataFrame) -> str:
    counts = settings.loc[settings["status"] != Status.ok, "status"].value_counts()
    return "".join(f", {count} {status}" for status, count in counts.items())


def _said(setting: pd.Series, columns: Sequence[str]) -> str:
    return ", ".join(column_of(column).say(setting[column]) for column in columns if not pd.isna(setting[column]))


def _published(measured: pd.DataFrame, sweep: str) -> str:
    ratios, choices = _table(terminal.ratios_table(measured, sweep)), _table(terminal.fidelity_table(measured, sweep))
    return (
        f"<section><h2>Measured over published: {escape(sweep)}</h2>"
        '<p class="muted">A ratio of 0.5 is half the published latency. It compares like with like only where the choices below agree.</p>'
        f'<div class="scroll short" tabindex="0" role="region" aria-label="Ratios">{ratios}</div>'
        f'<div class="scroll short" tabindex="0" role="region" aria-label="Choices">{choices}</div></section>'
    )


def _table(frame: pd.DataFrame) -> str:
    heads = "".join(f'<th scope="col">{escape(str(column))}' for column in frame)
    rows = "".join("<tr>" + "".join(f"<td>{escape(str(value))}" for value in row) for row in frame.itertuples(index=False))
    return f"<table><thead><tr>{heads}</thead><tbody>{rows}</tbody></table>"


def _list(lines: Sequence[str]) -> str:
    return f'<ul class="bad">{"".join(f"<li>{escape(line)}</li>" for line in lines)}</ul>' if lines else ""


def _provenance(jobs: pd.DataFrame) -> str:
    days = jobs["started_at"].dt.strftime("%Y-%m-%d %H:%M")
    known: Mapping[str, str] = {
        "sweeps": _distinct(jobs["name"]),
        "measured": f"{days.min()} to {days.max()} UTC",
        **{column.replace("_", " "): _distinct(jobs[column]) for column in ("host", "cpu", "gpu", "driver", "threads", "weights", "data")},
        **{column.replace("_", " "): _distinct(jobs[column]) for column in ("torch", "transformers", "framework_version", "python")},
        "this program": f"{_distinct(jobs['bench_version'])}, commit {_distinct(jobs['git_sha']) or 'unknown'}",
    }
    facts = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in known.items() if value)
    typed = jobs["command"].dropna().drop_duplicates().tail(_MOST_COMMANDS)  # every row holds its whole config, too
    again = "".join(f"<dt>again</dt><dd><code>{escape(str(command))}</code></dd>" for command in typed)
    return f'<dl class="facts">{facts}{again}</dl>'


def _distinct(column: pd.Series) -> str:
    return ", ".join(dict.fromkeys(f"{value:.0f}" if isinstance(value, float) else str(value) for value in column.dropna()))
