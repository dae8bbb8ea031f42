"""What may stand in a cell of a row, whoever wrote it: numbers that can be, text that can be shown, JSON that is an object."""

from __future__ import annotations

import json
import math
import re
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from bench.status import Status

_YEAR_2200_US = 7_258_118_400_000_000
# What a number can be, from and to; every other one is finite and not negative.
_RANGES = {
    **dict.fromkeys(("batch_size", "input_tokens", "output_tokens"), (1, math.inf)),
    **dict.fromkeys(("latency_s", "latencies_s"), (5e-324, math.inf)),  # more than nothing
    **dict.fromkeys(("seed", "saved_s"), (-math.inf, math.inf)),  # windows may cost more than the points that share them
    "started_at": (0, _YEAR_2200_US),
}
# What decides whether a row can be what it says.
CHECKED = ("status", "error", "latency_s", "latencies_s")
# What every result has; where a length or the batch size has no column, its config has it.
_LENGTHS = ("batch_size", "input_tokens", "output_tokens")
_OF_A_RESULT = ("point_id", "round", "started_at", *_LENGTHS, "latency_s")
_STATUSES = frozenset(map(str, Status))
JSON_COLUMNS = ("framework_args", "environment", "config")
# Characters: a longer name is cut, a longer message too, and JSON that holds more is not read.
_LONGEST, _LONGEST_MESSAGE, _LONGEST_IN_JSON, _LONGEST_JSON = 300, 10_000, 4_096, 1_000_000
_MESSAGES = ("error", "command", "limits_unknown")
_DEEPEST_JSON = 50
# They move a terminal's cursor, or turn the order of letters around.
_UNSHOWABLE = "\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069"
_ODD_IN_JSON = re.compile(rf'\\u(00[01789]|20[26]|d[89a-f])|[{_UNSHOWABLE}]|"[^"]{{{_LONGEST_IN_JSON},}}"', re.IGNORECASE)


def sound(rows: pa.Table) -> pa.Table:
    """What cannot be is no result, whoever wrote it: such a row counts as failed, and says why. A result without its repeats is one."""
    rows, wrong = _checked(_with_lengths(rows))
    needed = {name: rows[name].to_pylist() for name in _OF_A_RESULT if name in rows.column_names and rows[name].null_count}
    repeats = pc.fill_null(pc.list_value_length(rows["latencies_s"]), 0).to_pylist()
    cells = {name: rows[name].to_pylist() for name in CHECKED[: None if 0 in repeats else 2]}
    for row, status in enumerate(cells["status"]):
        lacks = next((name for name, values in needed.items() if values[row] is None), None)
        if status not in _STATUSES:
            wrong.setdefault(row, f"status={status}")
        elif status == Status.ok and lacks:
            wrong.setdefault(row, f"{lacks}=null")
        elif status == Status.ok and not repeats[row]:
            cells["latencies_s"][row] = [cells["latency_s"][row]]
    for row, cell in wrong.items():
        cells["error"][row] = f"the row says {cells['status'][row]}, and {cell} cannot be"
        cells["status"][row] = str(Status.failed)
    for name, values in cells.items() if wrong or 0 in repeats else ():
        rows = _with(rows, name, values)
    return rows


def json_object(text: object) -> dict[str, Any]:
    """The object that JSON spells; an empty one for null, and for what no row of this program holds."""
    if not isinstance(text, str) or len(text) > _LONGEST_JSON:
        return {}
    try:
        found = json.loads(text, parse_int=_integer, parse_float=_number, parse_constant=_number)
        is_ours = isinstance(found, dict) and _depth(found) <= _DEEPEST_JSON and not (_ODD_IN_JSON.search(text) and _is_odd(found))
    except (ValueError, RecursionError):
        return {}
    return found if is_ours else {}


def json_value(text: object, *keys: str) -> Any:
    """What stands in such an object under these keys, one inside of the other; None where nothing does."""
    value: Any = json_object(text)
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def showable(text: str) -> str:
    """Text from elsewhere, such as a file's name, so that it does nothing to a terminal."""
    return _cut(_plain(text), _LONGEST)


def _with_lengths(rows: pa.Table) -> pa.Table:
    """Where a length or the batch size has no column, the config has it."""
    known = set(rows.column_names)
    for name in _LENGTHS:
        if not {name, "config"} <= known or not rows[name].null_count:
            continue
        cells = rows[name].to_pylist()
        for row in [row for row, value in enumerate(cells) if value is None]:
            told = json_object(rows["config"][row].as_py()).get(name)
            cells[row] = told if type(told) is int and 0 < told < 2**31 else None
        rows = _with(rows, name, cells)
    return rows


def _with(rows: pa.Table, name: str, cells: list[Any]) -> pa.Table:
    """The table with these in place of a column's cells."""
    field = rows.schema.field(name)
    return rows.set_column(rows.column_names.index(name), field, pa.array(cells, field.type))


def _checked(table: pa.Table) -> tuple[pa.Table, dict[int, str]]:
    """The table with null for each number that cannot be and with texts that can be shown; and by row what could not be."""
    wrong: dict[int, str] = {}
    columns = []
    for name, chunks in zip(table.column_names, table.columns, strict=True):
        column = chunks.combine_chunks()
        if _holds(column.type, pa.types.is_string):
            column = _legible(name, column)
        elif _holds(column.type, pa.types.is_integer, pa.types.is_floating, pa.types.is_timestamp):
            numbers = _as_numbers(column)
            bad = _impossible(numbers, *_RANGES.get(name, (0, math.inf)))
            for row in bad:
                wrong.setdefault(row, f"{name}={_cut(str(numbers[row]), 40)}")
            column = _without(column if pa.types.is_timestamp(column.type) else numbers, bad)
        columns.append(column)
    return pa.table(columns, schema=table.schema), wrong


def _holds(kind: pa.DataType, *kinds: Any) -> bool:
    """Whether that is what this column, or each element of its lists, is."""
    return _holds(kind.value_type, *kinds) if pa.types.is_list(kind) else any(each(kind) for each in kinds)


def _legible(name: str, column: pa.Array) -> pa.Array:
    if pa.types.is_list(column.type):
        return pa.array(
            [[showable(text) for text in texts if text] if texts is not None else None for texts in column.to_pylist()], column.type
        )
    column = pc.replace_substring_regex(column, f"[{_UNSHOWABLE}]", "\ufffd")
    longest = _LONGEST_MESSAGE if name in _MESSAGES else _LONGEST
    is_long = pc.greater(pc.utf8_length(column), longest)
    if name in JSON_COLUMNS or not pc.any(is_long).as_py():
        return column
    return pc.if_else(is_long, pc.binary_join_element_wise(pc.utf8_slice_codeunits(column, 0, longest), "…", ""), column)


def _as_numbers(column: pa.Array) -> pa.Array:
    """A NaN that stands alone is how pandas writes null."""
    if pa.types.is_timestamp(column.type):
        return column.cast(pa.int64())
    return pc.if_else(pc.is_nan(column), None, column) if pa.types.is_floating(column.type) else column


def _impossible(numbers: pa.Array, low: float, high: float) -> list[int]:
    """The rows whose number is out of its range, or whose list holds such a number or none."""
    flat = numbers
    while pa.types.is_list(flat.type):
        flat = flat.flatten()
    if pa.types.is_integer(flat.type):
        flat = flat.cast(pa.float64(), safe=False)  # pyarrow compares no integer beyond 2**53 with a float
    fit = pc.and_(pc.and_(pc.greater_equal(flat, low), pc.less_equal(flat, high)), pc.is_finite(flat))
    if not pa.types.is_list(numbers.type):
        return list(pc.indices_nonzero(pc.invert(fit)).to_pylist())
    if flat.null_count == 0 and pc.all(fit, min_count=0).as_py():
        return []

    def fits(value: Any) -> bool:
        return all(map(fits, value)) if isinstance(value, list) else value is not None and low <= value <= high and math.isfinite(value)

    return [row for row, values in enumerate(numbers.to_pylist()) if values is not None and not fits(values)]


def _without(column: pa.Array, rows: list[int]) -> pa.Array:
    if not rows:
        return column
    left_out = set(rows)
    return column.take(pa.array([None if row in left_out else row for row in range(len(column))], pa.int64()))


def _integer(digits: str) -> int:
    if len(digits) > 19:
        raise ValueError(digits)
    return int(digits)


def _number(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError(digits)
    return number


def _depth(value: Any) -> int:
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + max(map(_depth, inside), default=0)


def _is_odd(value: Any) -> bool:
    """Whether a text in it is endless, or cannot be shown."""
    if isinstance(value, dict | list):
        return any(map(_is_odd, (*value, *value.values()) if isinstance(value, dict) else value))
    return isinstance(value, str) and (len(value) > _LONGEST_IN_JSON or _plain(value) != value)


def _plain(text: str) -> str:
    return re.sub(f"[{_UNSHOWABLE}]", "\ufffd", text).encode(errors="replace").decode()


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[:longest] + "…"
