"""Whatever lies in a folder of rows: report, compare, convert, +from= and a resumed sweep end well, and no sound row is lost."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

pytest.importorskip("hypothesis")
from hypothesis import given
from hypothesis import strategies as st

from bench import compare, convert, report, sweep
from bench.config import RunConfig
from bench.errors import BenchError
from bench.identity import canonical_json
from bench.importers import with_sweep_from_file
from bench.results import Store
from bench.row import SCHEMA
from bench.sweep.conductor import run_sweep
from bench.sweep.outcome import host_of
from bench.units import format_seconds
from tests.fuzzing import ends_well, fuzz, in_time, message_of
from tests.test_compare import row
from tests.test_fuzz import mutated, odd_trees

TYPED = ["framework=fake", "model=llama_5m", "batch_size=1,2", "output_tokens=3", "ceilings=false"]
LATENCIES_S = (0.1234, 0.2345)


def _text_of_bytes(content: bytes) -> pa.Array:
    """What pyarrow does not look at before somebody asks for the text."""
    return pa.Array.from_buffers(
        pa.string(), 1, [None, pa.py_buffer(b"\0\0\0\0" + len(content).to_bytes(4, "little")), pa.py_buffer(content)]
    )


NUMBERS = [-1, 0, 1, 2**31 - 1, 2**31, 2**63 - 1, -(2**63), -3.5, 1e308, 5e-324, float("nan"), float("inf"), -float("inf")]
TEXTS = [
    *("", "x" * 10**6, "\x1b[2J\x1b]0;x\x07", "\u202egnp.exe", "é\n|`*", "<script>alert(1)</script>", '"><img src=x onerror=alert(1)>'),
    *(
        "../../x",
        "/etc/passwd",
        "ok",
        "oom",
        "sampled",
        "NaN",
        "1e400",
        "-1",
        "null",
        "{{7*7}}",
        "$x^2$",
        "${oc.env:HOME}",
        "=cmd()",
        "%s{0}",
        "[/b]",
        "[red]:smile:",
    ),
    *("{", "[]", "[" * 10**5, '{"a":' * 900 + "1" + "}" * 900, '{"packages": 3}', '{"packages": {}, "cpu": 1, "cpus": [], "gpus": 4}'),
    *('{"details": [1], "variables": 7}', '{"used": 5}', '{"used": {"attention": [1], "accepted_tokens": {}}}', '{"a": NaN, "b": 1e999}'),
    *('{"a": "\\ud800"}', '{"batch_size": ' + "9" * 400 + "}", '{"framework": {"name": "\\u001b[2J"}}', '{"model": 3, "measure": null}'),
]
OTHERS = [True, [], [1.0], [None], [[0.1, 0.2], [0.1]], [[]], ["x", None], [{"t_s": None}], {"a": 1}, b"\xff\xfe"]
OTHERS += [datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC), None]
CELLS = [pa.array([value]) for value in (*NUMBERS, *TEXTS, *OTHERS)]
CELLS += [
    _text_of_bytes(b"\xff\xfe\x80"),
    pa.array([2**64 - 1], pa.uint64()),
    pa.array(["x"]).dictionary_encode(),
    pa.array(["x"], pa.large_string()),
]

cells = st.tuples(
    st.sampled_from([*SCHEMA.names, "nonsense"]), st.sampled_from(CELLS) | odd_trees.map(lambda tree: pa.array([json.dumps(tree)]))
)
broken_rows = st.lists(cells, min_size=1, max_size=4)
configs = st.lists(st.tuples(st.lists(st.integers(0, 40), min_size=1, max_size=3), odd_trees), min_size=1, max_size=3)


@pytest.fixture(scope="module")
def sound() -> Iterator[tuple[Path, list[RunConfig]]]:
    """The folder of a finished sweep, and its points."""
    folder = Path(tempfile.mkdtemp(), "theirs")
    points = sweep.points(*TYPED, f"output_dir={folder}")
    store = Store(folder)
    store.prepare()
    for run, latency_s in zip(points, LATENCIES_S, strict=True):
        steps = [[latency_s / 3, latency_s / 2, latency_s]] * 6
        samples = [{"t_s": float(i), "cpu_percent": 5.0, "ram_bytes": 10**9} for i in range(3)]
        host = {"environment": canonical_json(dataclasses.asdict(host_of(run))), "environment_id": host_of(run).fingerprint}
        store.write({**row(run, 0, latency_s / run.batch_size, noisy=False), "token_times_s": steps, "system": samples, **host})
    yield folder, points
    shutil.rmtree(folder.parent)


def put(folder: Path, number: int, kind: Any, sound: Path) -> None:
    """A file that nobody wants in a folder of rows."""
    file = folder / "rows" / f"{number}.parquet"
    original = sorted((sound / "rows").iterdir())[0]
    if isinstance(kind, bytes):
        file.write_bytes(kind)
    elif isinstance(kind, float):
        file.write_bytes(original.read_bytes()[: int(kind * original.stat().st_size)])
    elif isinstance(kind, list) and isinstance(kind[0], int):
        content = bytearray(original.read_bytes())
        for place in kind:
            content[place % len(content)] ^= 1 + place % 255
        file.write_bytes(bytes(content))
    elif isinstance(kind, list):
        pq.write_table(broken(pq.read_table(original), number, kind), file)
    else:
        kind(file, original)


def broken(table: pa.Table, number: int, changes: list[Any]) -> pa.Table:
    """A row of another point, with other cells or another config."""
    columns = {name: table[name].combine_chunks() for name in table.column_names}
    columns["point_id"] = pa.array([f"other{number}"])
    for where, value in changes:
        if isinstance(where, str):
            columns[where] = value
        else:
            config = json.loads(str(columns["config"][0])) if pa.types.is_string(columns["config"].type) else {"a": 1}
            columns["config"] = pa.array([json.dumps(mutated(config, where, value))])
    return pa.table(columns)


def not_a_file(make: Callable[[Path], None]) -> Callable[[Path, Path], None]:
    return lambda file, original: make(file)


files = st.one_of(
    *(broken_rows, broken_rows, broken_rows, configs),
    *(st.binary(max_size=20), st.floats(0, 1), st.lists(st.integers(0, 10**6), min_size=1, max_size=5)),
    st.sampled_from(
        [
            *(not_a_file(Path.mkdir), not_a_file(os.mkfifo), not_a_file(lambda file: file.symlink_to("/nowhere"))),
            *(not_a_file(lambda file: file.symlink_to("/etc/passwd")), lambda file, original: file.symlink_to(original)),
            not_a_file(lambda file: pq.write_table(pa.table({"point_id": [], "status": []}), file)),
            not_a_file(lambda file: pq.write_table(pa.table({"colour": ["red"]}), file)),
            lambda file, original: shutil.copy(original, file.with_name("\x1b[2J\udcff.parquet")),
        ]
    ),
)


def by_report(folder: Path, sound: Path, points: list[RunConfig]) -> str:
    return ends_well(report.main, folder, "--format", "markdown")[1]


def by_page(folder: Path, sound: Path, points: list[RunConfig]) -> str:
    code, printed = ends_well(report.main, folder)
    assert code == 0
    assert (folder / "report.html").is_file()
    return printed


def by_compare(folder: Path, sound: Path, points: list[RunConfig]) -> str:
    ends_well(compare.main, sound, folder, "--json", "--by", "batch_size")
    code, printed = ends_well(compare.main, folder, sound, "--json")
    return printed if code else ends_well(compare.main, sound, folder, "--json")[1]


def by_export(folder: Path, sound: Path, points: list[RunConfig]) -> str:
    for kind in ("csv", "pace-json", "llm-foundry"):
        assert ends_well(convert.main, folder, "--to", kind)[0] == 0
    return ends_well(convert.main, folder, "--to", "jsonl")[1]


def by_the_same_points_here(folder: Path, sound: Path, points: list[RunConfig]) -> None:
    try:
        with in_time(), tempfile.TemporaryDirectory() as made:
            assert sweep.points(*with_sweep_from_file([f"+from={folder}"], Path(made)))
    except BenchError as error:
        message_of(error)


def by_resume(folder: Path, sound: Path, points: list[RunConfig]) -> None:
    """Points with a sound row are done, whatever lies beside it."""
    with in_time():
        assert run_sweep([replaced(run, folder) for run in points], Console(file=io.StringIO())).ran == 0


def replaced(run: RunConfig, folder: Path) -> RunConfig:
    return dataclasses.replace(run, output_dir=str(folder))


# Drawing takes seconds.
READERS = [*[by_report] * 5, by_page, *[by_compare] * 2, by_export, by_export, *[by_the_same_points_here] * 4, *[by_resume] * 2]


@fuzz
@given(odd=st.lists(files, min_size=1, max_size=3), read=st.sampled_from(READERS))
def test_any_folder_of_rows_is_read_as_far_as_it_is_sound(sound: Any, odd: list[Any], read: Callable[..., str | None]) -> None:
    theirs, points = sound
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(shutil.copytree(theirs, Path(parent, "theirs")))
        for number, kind in enumerate(odd):
            put(folder, number, kind, theirs)
        printed = read(folder, theirs, points)
        if printed is not None:
            assert "\x1b" not in printed
            measured = [row["latency_s"] for row in Store(theirs).rows(["latency_s"])]
            assert all(str(latency_s) in printed or format_seconds(latency_s) in printed for latency_s in measured), printed
