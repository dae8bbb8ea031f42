"""Rows are written whole, read back as they were, and survive a change of the schema."""

from __future__ import annotations

import os
import platform
import resource
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bench.errors import InvalidSetting, NoRows, RowNotWritten
from bench.results import Row, Status, Store
from bench.row import COLUMNS, SCHEMA


def row(**values: object) -> Row:
    return {"point_id": "abc", "config_id": "abc", "round": 0, "started_at": datetime(2026, 1, 2, tzinfo=UTC), "status": "ok", **values}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path / "sweep")
    made.prepare()
    return made


def test_a_row_comes_back_as_it_was_written(store: Store) -> None:
    times = [[0.1, 0.2], [0.15, 0.25]]
    store.write(
        row(latencies_s=[0.2, 0.25], token_times_s=times, noise=["load"], system=[{"t_s": 1.0, "cpu_percent": 5.0, "ram_bytes": 7}])
    )
    [back] = store.rows()
    assert back["latencies_s"] == [0.2, 0.25]
    assert back["token_times_s"] == times
    assert back["started_at"] == datetime(2026, 1, 2, tzinfo=UTC)
    [sample] = back["system"]
    assert (sample["t_s"], sample["cpu_percent"], sample["ram_bytes"]) == (1.0, 5.0, 7)
    assert back["latency_s"] is None  # not known is null, never 0


def test_half_written_files_are_invisible(store: Store) -> None:
    store.write(row())
    (store.rows_folder / ".20260102-abc-0.parquet.123").write_bytes(b"PAR1 half")
    assert len(list(store.rows())) == 1


def test_rows_of_an_older_schema_are_read_with_nulls(store: Store) -> None:
    store.write(row())
    pq.write_table(pa.table({"point_id": ["old"], "round": pa.array([0], pa.int64()), "status": ["ok"]}), store.rows_folder / "0.parquet")
    assert {(r["point_id"], r["latency_s"]) for r in store.rows()} == {("old", None), ("abc", None)}
    assert store.table().schema == SCHEMA


def test_every_row_of_a_job_is_kept(store: Store) -> None:
    for second in range(3):
        store.write(row(started_at=datetime(2026, 1, 2, 0, 0, second, tzinfo=UTC)))
    assert len(list(store.rows())) == 3


def test_an_empty_folder_has_no_rows(tmp_path: Path) -> None:
    assert list(Store(tmp_path).rows()) == []
    with pytest.raises(NoRows, match="Run a sweep first"):
        Store(tmp_path).table()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InvalidSetting, match=r"output_dir=.*file/sub: cannot be written"):
        Store(tmp_path / "file" / "sub").prepare()


def test_a_truncated_or_foreign_file_is_named_and_skipped(store: Store) -> None:
    written = store.write(row())
    (store.rows_folder / "half.parquet").write_bytes(written.read_bytes()[:100])
    pq.write_table(pa.table({"colour": ["red"]}), store.rows_folder / "other.parquet")
    rows, skipped = store.read()
    assert len(rows) == 1
    assert [file.name for file in skipped] == ["half.parquet", "other.parquet"]
    assert "something else" in skipped[1].reason


def bad_text() -> pa.Array:
    """Bytes that are no text, where a text should be."""
    return pa.Array.from_buffers(pa.string(), 1, [None, pa.py_buffer(b"\0\0\0\0\2\0\0\0"), pa.py_buffer(b"\xff\xfe")])


def write(file: Path, **columns: pa.Array) -> None:
    pq.write_table(pa.table({"point_id": ["x"], "status": ["ok"], **columns}), file)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (Path.mkdir, "a link, a folder or a device"),
        (os.mkfifo, "a link, a folder or a device"),
        (lambda file: file.symlink_to("/etc/passwd"), "a link, a folder or a device"),
        (lambda file: file.symlink_to("/nowhere"), "a link, a folder or a device"),
        (lambda file: file.write_bytes(b""), "Parquet"),
        (lambda file: write(file, batch_size=pa.array(["many"])), "its column batch_size holds string, and not int32"),
        (lambda file: write(file, batch_size=pa.array([2**40])), "its column batch_size holds int64, and not int32"),
        (lambda file: write(file, latencies_s=pa.array([0.1])), "its column latencies_s holds double, and not list"),
        (lambda file: write(file, model=bad_text()), "its column model holds string, and not string"),
    ],
)
def test_what_is_no_file_of_rows_is_told_and_costs_no_row(store: Store, make: Callable[[Path], object], reason: str) -> None:
    store.write(row())
    odd = store.rows_folder / "odd\x1b.parquet"
    make(odd)
    rows, [skipped] = store.read()
    assert (len(rows), skipped.name) == (1, odd.name)
    assert reason in skipped.reason
    store.compact()
    assert len(store.rows()) == 1
    assert os.path.lexists(odd)
    assert "\x1b" not in str(skipped)


def test_a_figure_that_its_column_cannot_hold_costs_no_row(store: Store) -> None:
    store.write(row(model="x", batch_size=2**40, seed=10**30, predicted_bytes=2**70))
    [back] = store.rows(["model", "batch_size", "seed", "predicted_bytes"])
    assert back == {"model": "x", "batch_size": None, "seed": None, "predicted_bytes": None}


@pytest.mark.parametrize("number", [2**63 - 1, -(2**63), 2**53 + 1])
@pytest.mark.parametrize("name", ["seed", "predicted_bytes", "peak_host_bytes"])
def test_an_integer_that_no_float_holds_is_read_like_any_other(store: Store, name: str, number: int) -> None:
    store.prepare()
    pq.write_table(
        pa.table({**{key: [value] for key, value in row().items()}, name: pa.array([number])}), store.rows_folder / "odd.parquet"
    )
    [back] = store.rows([name, "error"])
    assert back[name] == (number if name == "seed" or number > 0 else None)


def test_texts_are_cut_and_cannot_move_a_cursor(store: Store) -> None:
    store.write(row(model="\x1b[2J" + "x" * 10**6, noise=["\x1b[2J"], error="e" * 10**6))
    [back] = store.rows(["model", "noise"])
    assert (back["model"][:6], len(back["model"])) == ("\ufffd[2Jxx", 301)
    assert back["noise"] == ["\ufffd[2J"]


def many(store: Store, count: int) -> None:
    for i in range(count):
        store.write(row(config_id=f"{i:012x}", started_at=datetime(2026, 1, 2, microsecond=i, tzinfo=UTC), latency_s=float(i)))


def test_merged_rows_are_the_same_rows_in_one_file_and_newer_ones_join_them(store: Store) -> None:
    many(store, 20)
    before = store.table()
    store.compact()
    assert len(store.names()) == 1
    assert store.table().equals(before)
    store.write(row(latency_s=99.0))
    assert len(store.table()) == 21
    store.compact()
    assert len(store.names()) == 1
    assert len(store.table()) == 21


def test_a_crash_while_merging_neither_loses_nor_doubles_a_row(store: Store) -> None:
    many(store, 5)
    loose = {file.name: file.read_bytes() for file in store.rows_folder.iterdir()}
    store.compact()
    for name, content in loose.items():  # as if it had died before it removed them
        (store.rows_folder / name).write_bytes(content)
    assert len(store.table()) == 5


@pytest.mark.parametrize("number", ["0", "9"])
@pytest.mark.parametrize("damage", [{"input_tokens": -1912602496}, {"environment_id": "another"}], ids=str)
def test_a_damaged_copy_hides_no_row_and_takes_no_place_when_rows_are_merged(store: Store, number: str, damage: Row) -> None:
    store.write(row(batch_size=1, input_tokens=128, output_tokens=3, latency_s=0.1, latencies_s=[0.1], environment_id="ours"))
    [written] = store.rows()
    assert written["status"] == Status.ok
    pq.write_table(pa.Table.from_pylist([{**written, **damage}], SCHEMA), store.rows_folder / f"{number}.parquet")
    assert written in store.rows()
    store.compact()
    assert len(store.names()) == 1
    assert written in store.rows()


def test_what_a_killed_process_left_half_written_is_swept_out_and_what_a_living_one_writes_is_not(store: Store) -> None:
    here = platform.node()
    dead, living = (store.rows_folder / f".x-abc-0.parquet.{here}.{pid}" for pid in (2**22 + 1, os.getpid()))
    elsewhere = store.rows_folder / f".x-abc-0.parquet.not-{here}.{2**22 + 1}"  # on a cluster's shared disk
    for file in (dead, living, elsewhere):
        file.touch()
    store.prepare()
    assert not dead.exists()
    assert living.exists()
    assert elsewhere.exists()


def test_a_row_that_cannot_be_written_leaves_nothing_half_done(store: Store) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        with pytest.raises(RowNotWritten, match="Make room, then run the same command again"):
            store.write(row())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(store.rows_folder.iterdir()) == []


def test_what_counts_as_a_result() -> None:
    assert {status for status in Status if status.is_result} == {Status.ok, Status.oom, Status.pruned, Status.unsupported}


def test_every_column_stands_once() -> None:
    names = [name for name, _, _ in COLUMNS]
    assert len(names) == len(set(names)) == len(SCHEMA)
