"""One self-contained page: cards, charts with filters, the best setting under a latency limit, and every number in a table."""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from bench import units
from bench.analysis import published, sampling, scales, style, terminal
from bench.analysis.columns import GRID, column_of, word
from bench.analysis.settings import facts, interval_in_words, telling_apart, varying
from bench.results import Status

_FOLDER = Path(__file__).parent
_SCRIPTS = ("chart.js", "page.js")
_MOST_COMMANDS = 5  # of a folder that many commands added to, the latest
_FIXED = ("sweep", "model", "framework", "hardware", "dtype")
_MEASURED = ("latency_s", "latency_s_low", "latency_s_high", "ttft_s", "tpot_s", "output_tok_s", "total_tok_s")
_PUBLISHED = ("model", "framework", "hardware", *GRID, "latency_s", "output_tok_s")
_PROVENANCE = ("host", "cpu", "gpu", "driver", "threads", "weights", "data", "torch", "transformers", "framework_version", "python")
_NOTHING_ELSE = "default-src 'none'; base-uri 'none'; form-action 'none'"
# Until the filters are known, no row is laid out; where the script fails, all are.
_EARLY = 'const root = document.documentElement.classList; root.add("waiting"); onerror = () => root.remove("waiting");'


def write_page(jobs: pd.DataFrame, settings: pd.DataFrame, file: Path) -> Path:
    """Write the page. The template escapes every value, and nothing in the page loads or runs anything from elsewhere."""
    script = '"use strict";\n' + "".join((_FOLDER / name).read_text() for name in _SCRIPTS)
    columns = _columns(settings)
    css = _palette() + (_FOLDER / "page.css").read_text() + _alignment(settings, columns)
    repeated = list(published.repeated(settings))
    file.write_text(
        _template().render(
            policy=f"{_NOTHING_ELSE}; script-src {_digest(_EARLY, script)}; style-src {_digest(css)}",
            css=Markup(css),  # these three are ours, every other value is escaped
            early=Markup(_EARLY),
            script=Markup(script),
            title=f"Inference benchmark: {_distinct(settings['sweep'])}",
            subtitle=" · ".join(facts(settings)),
            cards=_cards(settings),
            count=f"{len(settings)} settings. Times in seconds; low to high: {interval_in_words(settings)}.",
            heads=[(column, column_of(column).head) for column in columns],
            rows=zip(*([_plain(column, value) for value in settings[column]] for column in columns), strict=True),
            data=_data(settings, columns, [sweep for sweep, _ in repeated]),
            published=[
                (sweep, (terminal.ratios_table(measured, sweep), published.fidelity(measured, sweep))) for sweep, measured in repeated
            ],
            failures=terminal.failures(jobs),
            provenance=_provenance(jobs),
            commands=jobs["command"].dropna().drop_duplicates().tail(_MOST_COMMANDS).tolist(),
        )
    )
    return file


@cache
def _template() -> Template:
    loader = Environment(loader=FileSystemLoader(_FOLDER), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    loader.policies["json.dumps_kwargs"] = {"sort_keys": False, "ensure_ascii": False, "separators": (",", ":")}
    return loader.get_template("page.html")


def _digest(*texts: str) -> str:
    return " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in texts)


def _palette() -> str:
    """The colours of the pictures, lighter on dark paper."""
    ordered = [look.color for look in style.ordered_styles(6)]
    names = [*(f"c{i}" for i in range(len(style.UNORDERED))), *(f"o{i}" for i in range(6))]
    light, dark = (
        "".join(f"--{name}:{color};" for name, color in zip(names, colors, strict=True))
        for colors in ([*style.UNORDERED, *ordered], [*style.UNORDERED_ON_DARK, *style.ORDERED_ON_DARK])
    )
    return f":root{{{light}}}\n@media screen and (prefers-color-scheme: dark) {{:root{{{dark}}}}}\n"


def _columns(settings: pd.DataFrame) -> list[str]:
    """Names first, numbers in the middle, words at the end, so that three rules align them all."""
    series = telling_apart(settings)
    texts = [column for column in series if not _numeric(settings[column])]
    numbers = [column for column in series if column not in texts]
    measured = [column for column in _MEASURED if settings[column].notna().any()]
    return [*texts, *numbers, *GRID, *measured, "status", "noise", *(["source"] if sampling.key_of_sampled(settings) else [])]


def _numeric(column: pd.Series) -> bool:
    return bool(pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column))


def _alignment(settings: pd.DataFrame, columns: Sequence[str]) -> str:
    first = next(i for i, column in enumerate(columns, 1) if _numeric(settings[column]))
    cells = f":is(th, td):nth-child(n+{first}):nth-child(-n+{list(columns).index('status')})"
    return f"#results {cells} {{ text-align: right; white-space: nowrap; }}\n"


def _plain(column: str, value: Any) -> str:
    """As plain as numbers get: the script reads them from the table, and without a script so does the reader."""
    if not isinstance(value, str) and isinstance(value, Iterable):
        return ", ".join(map(str, value))
    if pd.isna(value):
        return ""
    if isinstance(value, str | bool) or type(value).__name__ == "bool":
        return column_of(column).show(value)
    return f"{value:.5g}" if isinstance(value, float) and value != int(value) else str(value).removesuffix(".0")


def _data(settings: pd.DataFrame, columns: Sequence[str], repeated: Sequence[str]) -> dict[str, Any]:
    """What the script knows beside the table: what things are called, how they are shown, and their colours."""
    fixed = {column: str(settings[column].iloc[0]) for column in _FIXED if column not in columns}
    points = [point for sweep in repeated for point in published.points_of(sweep)[list(_PUBLISHED)].round(4).to_dict("records")]
    frameworks = {*settings["framework"].dropna(), *(point["framework"] for point in points)}
    return {
        "columns": [
            {"key": name, "numeric": name in settings and _numeric(settings[name]), "word": word(name)}
            | {key: getattr(column_of(name), key) for key in ("head", "caption", "kind", "phrase")}
            for name in dict.fromkeys([*fixed, *columns, "latency_s", "output_tok_s"])
        ],
        "series": telling_apart(settings),
        "grid": GRID,
        "fixed": fixed,
        "published": points,
        "interval": interval_in_words(settings),
        "sampled": f" Hollow: {key}." if (key := sampling.key_of_sampled(settings)) else "",
        "places": {framework: style.framework_place(framework) for framework in sorted(frameworks)},
        "colors": len(style.UNORDERED),
        "ladders": {kind: scales.LADDERS.get(kind, scales.DECIMAL) for kind in ("seconds", "count")},
        "units": {"seconds": _steps(units.SECONDS, " "), "count": _steps(units.COUNTS, "")},
    }


def _steps(steps: Sequence[tuple[float, float, str]], space: str) -> dict[str, Any]:
    return {"steps": [(limit if math.isfinite(limit) else None, divisor, unit) for limit, divisor, unit in steps], "space": space}


def _cards(settings: pd.DataFrame) -> list[tuple[str, str]]:
    ok = settings[settings["status"] == Status.ok]
    lost = settings.loc[settings["status"] != Status.ok, "status"].value_counts()
    measured = (f"{len(ok)} of {len(settings)}", "settings measured" + "".join(f", {count} {status}" for status, count in lost.items()))
    if ok.empty:
        return [measured]
    fastest, widest = (ok.nsmallest(1, "latency_per_token_s").iloc[0], ok.nlargest(1, "output_tok_s").iloc[0])
    told, noisy = varying(settings), int(ok["noisy"].sum())
    return [
        (units.format_rate(widest["output_tok_s"]), f"highest throughput: {_said(widest, told)}"),
        (units.format_seconds(fastest["latency_per_token_s"]), f"lowest latency per output token: {_said(fastest, told)}"),
        measured,
        (str(noisy) if noisy else "none", "noisy: shown with the reason, never dropped" if noisy else "of the results is noisy"),
    ]


def _said(setting: pd.Series, columns: Sequence[str]) -> str:
    return ", ".join(column_of(column).say(setting[column]) for column in columns if not pd.isna(setting[column]))


def _provenance(jobs: pd.DataFrame) -> dict[str, str]:
    days = jobs["started_at"].dt.strftime("%Y-%m-%d %H:%M")
    known: Mapping[str, str] = {
        "sweeps": _distinct(jobs["sweep"]),
        "measured": f"{days.min()} to {days.max()} UTC",
        **{column.replace("_", " "): _distinct(jobs[column]) for column in _PROVENANCE},
        "this program": f"{_distinct(jobs['bench_version'])}, commit {_distinct(jobs['git_sha']) or 'unknown'}",
    }
    return {name: value for name, value in known.items() if value}


def _distinct(column: pd.Series) -> str:
    return ", ".join(dict.fromkeys(f"{value:.0f}" if isinstance(value, float) else str(value) for value in column.dropna()))
