"""One self-contained page: cards, charts with filters, the best setting under a latency limit, and every number in a table."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from bench import units
from bench.analysis import published, sampling, style, terminal
from bench.analysis.columns import GRID, column_of, word
from bench.analysis.draw import line_names
from bench.analysis.settings import OUT_OF_MEMORY, facts, interval_in_words, telling_apart, varying
from bench.results import Status

_FOLDER = Path(__file__).parent
_SCRIPTS = ("chart.js", "page.js")
_MOST_COMMANDS = 5  # of a folder that many commands added to, the latest
_FIXED = ("sweep", "model", "framework", "hardware", "dtype")
_MEASURED = ("latency_s", "latency_s_low", "latency_s_high", "ttft_s", "tpot_s", "output_tok_s", "total_tok_s")
_PUBLISHED = ("model", "framework", "hardware", *GRID, "latency_s", "output_tok_s")
_PROVENANCE = ("host", "cpu", "gpu", "driver", "threads", "weights", "data", "torch", "transformers", "framework_version", "python")
_QUANTITIES = {"latency_s": (units.SECONDS, " "), "output_tok_s": (units.COUNTS, "")}  # on the axes of the charts, with their units
# Numbers that ticks stand at, and how round they are: the script takes the finest for which there is room.
_ROUND = {2: (1.2, 1.5, 2.5, 3, 4, 6, 8), 1: (2, 5), 0: (1,)}
_NOTHING_ELSE = "default-src 'none'; base-uri 'none'; form-action 'none'"
# Until the filters are known, no row is laid out; where the script fails, all are.
_EARLY = 'const root = document.documentElement.classList; root.add("waiting"); onerror = () => root.remove("waiting");'


def write_page(jobs: pd.DataFrame, settings: pd.DataFrame, file: Path) -> Path:
    """Write the page. The template escapes every value, and nothing in the page loads or runs anything from elsewhere."""
    script = '"use strict";\n' + "".join((_FOLDER / name).read_text() for name in _SCRIPTS)
    columns = _columns(settings)
    css = (_FOLDER / "page.css").read_text() + _alignment(settings, columns)
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
            interval=interval_in_words(settings),
            lost=settings["status"].isin(OUT_OF_MEMORY).any(),
            noisy=settings["noisy"].eq(True).any(),
            sampled=sampling.key_of_sampled(settings),
            heads=[(column, column_of(column).head) for column in columns],
            rows=list(zip(settings["status"], zip(*(_texts(settings[column]) for column in columns), strict=True), strict=True)),
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


def _columns(settings: pd.DataFrame) -> list[str]:
    measured = [column for column in _MEASURED if settings[column].notna().any()]
    return [*telling_apart(settings), *GRID, *measured, "status", "noise", *(["source"] if sampling.key_of_sampled(settings) else [])]


def _numeric(column: pd.Series) -> bool:
    return bool(pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column))


def _alignment(settings: pd.DataFrame, columns: Sequence[str]) -> str:
    numbers = ", ".join(f":nth-child({i})" for i, column in enumerate(columns, 1) if _numeric(settings[column]))
    return f"#results :is(th, td):is({numbers}) {{ text-align: right; white-space: nowrap; }}\n"


def _texts(values: pd.Series) -> list[str]:
    """As people read them; the script has the numbers themselves from `_data`."""
    show: Callable[[Any], str] = "; ".join if values.name == "noise" else column_of(str(values.name)).show
    shown = values.map(show, na_action="ignore").astype(object)
    return shown.fillna("–" if _numeric(values) else "").tolist()


def _data(settings: pd.DataFrame, columns: Sequence[str], repeated: Iterable[str]) -> dict[str, Any]:
    """What the script knows beside the table: numbers, what things are called, and their colours."""
    series = telling_apart(settings)
    fixed = {column: str(settings[column].iloc[0]) for column in _FIXED if column not in columns}
    points = pd.concat([settings.iloc[:0], *map(published.points_of, repeated)])[list(_PUBLISHED)]
    both = pd.concat([settings, points])
    words = {name: both[name] for name in (*series, *_PUBLISHED)} | {name: points[name] for name in _QUANTITIES}
    return {
        "columns": {
            name: {"head": column_of(name).head, "caption": column_of(name).caption, "word": word(name)}
            for name in dict.fromkeys([*fixed, *columns, *_QUANTITIES])
        },
        "values": {name: list(map(_number, settings[name])) for name in columns if _numeric(settings[name])},
        "words": {name: _words(values) for name, values in words.items()},
        "ticks": {name: _ticks(both[name], *steps) for name, steps in _QUANTITIES.items()},
        "series": series,
        "grid": GRID,
        "fixed": fixed,
        "published": [dict(zip(points, map(_number, point), strict=True)) for point in points.to_numpy().tolist()],
        "places": {framework: style.framework_place(framework) for framework in sorted(both["framework"].dropna().unique())},
        "colors": _on_paper(style.UNORDERED, style.UNORDERED_ON_DARK),
        "ordered": _on_paper((look.color for look in style.ordered_styles(len(style.ORDERED_ON_DARK))), style.ORDERED_ON_DARK),
    }


def _on_paper(light: Iterable[str], dark: Iterable[str]) -> list[str]:
    return [f"light-dark({color}, {on_dark})" for color, on_dark in zip(light, dark, strict=True)]


def _number(value: Any) -> Any:
    """As the script knows it; what is no number stays."""
    if isinstance(value, str):
        return value
    return None if pd.isna(value) else int(value) if value == int(value) else float(f"{value:.5g}")


def _words(values: pd.Series) -> list[tuple[Any, str, str]]:
    """Each value as the script knows it, as it is written, and as it is said in a line's name."""
    column, numeric = column_of(str(values.name)), _numeric(values)
    return [
        (_number(value) if numeric else column.show(value), column.show(value), column.say(value)) for value in values.dropna().unique()
    ]


def _ticks(values: pd.Series, steps: Iterable[tuple[float, float, str]], space: str) -> list[tuple[float, str, int]]:
    """Round values around these in the units that they are written in, and how round each is."""
    found: list[tuple[float, str, int]] = []
    low, high = values.min() / 4, values.max() * 4
    for most, unit, name in steps:
        for exponent, (roundness, numbers) in product(range(-3, 4), _ROUND.items()):
            exact = ((number * 10**exponent * unit, f"{number * 10**exponent:g}{space}{name}", roundness) for number in numbers)
            found += [tick for tick in exact if low <= tick[0] < min(high, most)]
        low = max(low, most)
    return sorted(found)


def _cards(settings: pd.DataFrame) -> list[tuple[str, str]]:
    ok = settings[settings["status"] == Status.ok]
    lost = settings.loc[settings["status"] != Status.ok, "status"].value_counts()
    measured = (f"{len(ok)} of {len(settings)}", "settings measured" + "".join(f", {count} {status}" for status, count in lost.items()))
    if ok.empty:
        return [measured]
    named = line_names(ok, varying(settings)).str.replace(" · ", ", ")
    fastest, widest = int(ok["latency_per_token_s"].argmin()), int(ok["output_tok_s"].argmax())
    noisy = int(ok["noisy"].sum())
    return [
        (units.format_rate(ok["output_tok_s"].iloc[widest]), f"highest throughput: {named.iloc[widest]}"),
        (units.format_seconds(ok["latency_per_token_s"].iloc[fastest]), f"lowest latency per output token: {named.iloc[fastest]}"),
        measured,
        (str(noisy) if noisy else "none", "noisy: shown with the reason, never dropped" if noisy else "of the results is noisy"),
    ]


def _provenance(jobs: pd.DataFrame) -> dict[str, str]:
    days = jobs["started_at"].dt.strftime("%Y-%m-%d %H:%M")
    known = {
        "sweeps": _distinct(jobs["sweep"]),
        "measured": f"{days.min()} to {days.max()} UTC",
        **{column.replace("_", " "): _distinct(jobs[column]) for column in _PROVENANCE},
        "this program": _distinct(jobs["bench_version"]),
        "its commit": _distinct(jobs["git_sha"]),
    }
    return {name: value for name, value in known.items() if value}


def _distinct(column: pd.Series) -> str:
    return ", ".join(dict.fromkeys(f"{value:.0f}" if isinstance(value, float) else str(value) for value in column.dropna()))
