"""Rows are written whole, read back as they were, and survive a change of the schema."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bench.errors import InvalidSetting, NoRows
from bench.results import COLUMNS, SCHEMA, Row, Status, Store


def row(**values: object) -> Row:
    return {"point_id": "abc", "round": 0, "started_at": datetime(2026, 1, 2, tzinfo=UTC), "status": "ok", **values}


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
    assert back["system"] == [{"t_s": 1.0, "cpu_percent": 5.0, "ram_bytes": 7}]
    assert back["latency_s"] is None  # not known is null, never 0


def test_half_written_files_are_invisible(store: Store) -> None:
    store.write(row())
    (store.rows_folder / ".20260102-abc-0.parquet.123").write_bytes(b"PAR1 half")
    assert len(list(store.rows())) == 1


def test_rows_of_an_older_schema_are_read_with_nulls(store: Store) -> None:
    store.write(row())
    pq.write_table(pa.table({"point_id": ["old"], "round": pa.array([0], pa.int64()), "status": ["ok"]}), store.rows_folder / "0.parquet")
    assert [(r["point_id"], r["latency_s"]) for r in store.rows()] == [("old", None), ("abc", None)]
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


def test_what_counts_as_a_result() -> None:
    assert {status for status in Status if status.is_result} == {Status.ok, Status.oom, Status.pruned, Status.unsupported}


def test_every_column_stands_once() -> None:
    names = [name for name, _, _ in COLUMNS]
    assert len(names) == len(set(names)) == len(SCHEMA)
