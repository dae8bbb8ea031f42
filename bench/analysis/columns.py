"""What each column is called and how its values read: one table, used by charts, tables, file names and the report page."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.units import format_bytes, format_count, format_seconds

# What a sweep varies, from the slowest changing to the fastest.
GRID = ("input_tokens", "output_tokens", "batch_size")

# How a kind of column is shown; the page's script knows them by the same names.
SHOW: Mapping[str, Callable[[Any], str]] = {
    "seconds": format_seconds,
    "bytes": format_bytes,
    "count": format_count,
    "share": "{:.0%}".format,
    "joules": lambda value: re.sub("([kMB]?)$", r" \1J", format_count(value), count=1),
    "whole": "{:,.0f}".format,
    "text": str,
}
# The unit at the end of a column's name says its kind, and that it is a measured quantity; the first that fits counts.
_KINDS = {"_tok_s": "count", "_per_s": "count", "_s": "seconds", "_bytes": "bytes", "_mfu": "share", "_mbu": "share", "_j": "joules"}


def kind_of(column: str) -> str | None:
    """The kind of a quantity; None for what is set or told."""
    unit = re.sub("_(low|high|min|max)$", "", column)
    return next((kind for suffix, kind in _KINDS.items() if unit.endswith(suffix)), None) if "." not in column else None


@dataclass(frozen=True)
class Column:
    """A column as people read it: those of `columns.csv`, where how a quantity is shown follows from its suffix, and any other."""

    name: str
    caption: str  # along an axis: Output tokens per sequence
    head: str  # over a table's column: out
    kind: str = "text"
    phrase: str = "{}"  # in a subtitle or a line's name: {} prompt tokens
    mark: str = ""  # before the value in a file name: in128
    usual: str | None = None  # what goes without saying
    word: str = ""  # within a sentence, where that is not the beginning of the caption
    words: Callable[[Any], str] | None = None  # for values that read badly as they are

    def show(self, value: Any) -> str:
        return (self.words or SHOW[self.kind])(value)

    def say(self, value: Any) -> str:
        said = self.phrase.format(self.show(value))
        return said.removesuffix("s") if value == 1 and self.phrase.startswith("{} ") else said

    def slug(self, value: Any) -> str:
        if isinstance(value, float) and value.is_integer():
            value = int(value)  # a column with a null holds its numbers as floats
        return self.mark + re.sub(r"[^A-Za-z0-9.]+", "-", str(value)).strip("-.")


# Values that read badly as they are.
_WORDS: Mapping[str, Callable[[Any], str]] = {
    "do_sample": lambda value: "sampled" if value else "greedy",
    "framework.python": lambda value: re.sub(r"/bin/python[\d.]*$", "", str(value)),  # /envs/new for /envs/new/bin/python
}


def _described() -> Iterator[tuple[str, Column]]:
    with Path(__file__).with_name("columns.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            told = {key: value for key, value in row.items() if value}
            yield row["name"], Column(**{"kind": kind_of(row["name"]) or "text", **told}, words=_WORDS.get(row["name"]))


_COLUMNS = dict(_described())


def column_of(name: str) -> Column:
    """One that nobody described (framework.kv_cache) is called by its own name."""
    if name in _COLUMNS:
        return _COLUMNS[name]
    last, kind = name.rpartition(".")[2], kind_of(name)
    if kind:
        return Column(name, last.replace("_", " ")[:1].upper() + last.replace("_", " ")[1:], last, kind)
    return Column(name, name, last, phrase=f"{last} {{}}", mark=f"{last}-")


def is_described(name: str) -> bool:
    """Whether a column is one that people ask for, and not bookkeeping."""
    return name in _COLUMNS or "." in name


def is_quantity(name: str) -> bool:
    return kind_of(name) is not None


def names(columns: Sequence[str], *, start: bool = False) -> str:
    """Columns within a sentence, or at its start: model, hardware and batch size."""
    words = [word(column) for column in columns]
    text = " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
    return text[:1].upper() + text[1:] if start else text


def word(name: str) -> str:
    """A column within a sentence: batch size."""
    caption = column_of(name).word or column_of(name).caption.partition(" of ")[0].partition(" (")[0]
    return caption if caption[:2].isupper() or "." in caption else caption[:1].lower() + caption[1:]
