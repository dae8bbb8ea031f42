"""The rows that join the half that measures to the half that reads: one writer, one reader. What a row is stands in row.py."""

from __future__ import annotations

import os
import platform
import stat
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from glob import escape
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from bench.cells import CHECKED, showable, sound
from bench.errors import InvalidSetting, NoRows, RowNotWritten
from bench.files import refuse_links
from bench.row import IDENTITY, SCHEMA, schema_of
from bench.row import Row as Row
from bench.status import Status as Status


@dataclass(frozen=True)
class Skipped:
    """A file in the rows folder that holds no rows of ours."""

    name: str
    reason: str

    def __str__(self) -> str:
        return f"{showable(self.name)}: {showable(self.reason)}"


@dataclass(frozen=True)
class Store:
    """The rows of one sweep: a folder with a parquet file per job, and files into which many were merged."""

    folder: Path  # outputs/NAME

    @property
    def rows_folder(self) -> Path:
        return self.folder / "rows"

    def prepare(self) -> None:
        """Make the folder, and sweep out what a killed process left half-written. Raises InvalidSetting where nothing can be written."""
        try:
            refuse_links(self.folder)
            self.rows_folder.mkdir(parents=True, exist_ok=True)
            probe = self.rows_folder / f".writable.{os.getpid()}"
            probe.unlink(missing_ok=True)
            probe.touch(exist_ok=False)
            probe.unlink()
        except (OSError, ValueError) as error:  # ValueError: a name with a null byte
            problem = f"cannot be written ({getattr(error, 'strerror', error)}); set output_dir to a folder that you may write to"
            raise InvalidSetting("output_dir", self.folder, problem) from error
        for hidden in self.rows_folder.glob(f".*.parquet.{escape(platform.node())}.*"):  # other hosts see to theirs
            if not Path("/proc", hidden.suffix[1:]).exists():
                hidden.unlink(missing_ok=True)

    def write(self, row: Mapping[str, Any]) -> Path:
        """Write one row, whole or not at all: a reader never sees half a file, and a power cut leaves none. Raises RowNotWritten."""
        name = f"{row['started_at']:%Y%m%dT%H%M%S%f}-{row['config_id']}-{row['round']}.parquet"
        return self._write(name, _as_parquet(row))

    def read(self, columns: list[str] | None = None) -> tuple[pa.Table, list[Skipped]]:
        """All rows in the order of their start, older schemas filled up with nulls, and the files that were passed over.

        A row with a cell that cannot be counts as failed, and its error says why.
        """
        schema = schema_of(SCHEMA.names if columns is None else columns)
        rows, skipped = self._read_whole(schema_of([*schema.names, *IDENTITY, *CHECKED]))
        return sound(rows).select(schema.names), skipped

    def table(self, columns: list[str] | None = None, tell: Callable[[str], None] | None = None) -> pa.Table:
        """All rows; `tell` gets a line for each file that was passed over. Raises NoRows."""
        rows, skipped = self.read(columns)
        if not len(rows):
            inside = self.folder.glob("*/rows") if os.path.isdir(self.folder) else ()  # isdir takes any name
            raise NoRows(self.folder, map(str, skipped), sorted(rows.parent for rows in inside))
        if tell:
            for file in skipped:
                tell(f"skipped {self.rows_folder}/{file}")
        return rows

    def rows(self, columns: list[str] | None = None) -> list[Row]:
        """The rows as mappings; none where there are none yet."""
        return list(self.read(columns)[0].to_pylist())

    def names(self) -> frozenset[str]:
        """The files that hold rows."""
        return frozenset(file.name for file in self._files())

    def rows_in(self, names: Iterable[str]) -> list[Row]:
        """The rows of these files, in the order of their names."""
        tables, _ = _read_files([self.rows_folder / name for name in sorted(names)], SCHEMA)
        return list(sound(pa.concat_tables([SCHEMA.empty_table(), *tables])).to_pylist())

    def compact(self) -> None:
        """Merge all files into one: ten thousand small files take half a minute to read, one takes a moment.

        A crash in between leaves rows twice at worst, and a reader drops the second.
        """
        files = self._files()
        rows, skipped = self._read_whole(SCHEMA)
        passed_over = {file.name for file in skipped}
        buffer = pa.BufferOutputStream()
        pq.write_table(rows, buffer, compression="zstd")
        merged = self._write(f"merged-{datetime.now(UTC):%Y%m%dT%H%M%S%f}.parquet", buffer.getvalue())
        for file in files:
            if file.name not in passed_over and file != merged:
                file.unlink(missing_ok=True)

    def _files(self) -> list[Path]:
        if not os.path.isdir(self.rows_folder):  # which takes any name
            return []
        return sorted(self.rows_folder.glob("[!.]*.parquet"))

    def _read_whole(self, schema: pa.Schema) -> tuple[pa.Table, list[Skipped]]:
        """The rows as they are written, each once."""
        refuse_links(self.folder, ["rows"])
        while True:
            try:
                tables, skipped = _read_files(self._files(), schema)
                return _unique(pa.concat_tables([schema.empty_table(), *tables])), skipped
            except FileNotFoundError:  # merged by another process just now
                continue

    def _write(self, name: str, content: pa.Buffer) -> Path:
        hidden = self.rows_folder / f".{name}.{platform.node()}.{os.getpid()}"
        try:
            hidden.unlink(missing_ok=True)
            with hidden.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            return hidden.rename(self.rows_folder / name)
        except OSError as error:
            hidden.unlink(missing_ok=True)
            raise RowNotWritten(self.rows_folder, error.strerror or str(error)) from error


def _unique(rows: pa.Table) -> pa.Table:
    """The rows in the order of their start, each once. A copy that was damaged is another row: which of the two is right, nobody knows."""
    rows = rows.sort_by([(name, "ascending") for name in IDENTITY])
    # A timestamp as a number: pyarrow imports pandas to tell one as a datetime.
    columns = [rows[name].cast(pa.int64()) if name == "started_at" else rows[name] for name in IDENTITY]
    identity = list(zip(*(column.to_pylist() for column in columns), strict=True))
    times = Counter(identity)
    first: dict[object, int] = {}
    for place, key in enumerate(identity):
        first.setdefault((key, str(rows.slice(place, 1).to_pylist()) if times[key] > 1 else None), place)
    return rows.take(pa.array(first.values(), pa.int64()))


def _as_parquet(row: Mapping[str, Any]) -> pa.Buffer:
    known = {name: row[name] for name in SCHEMA.names if row.get(name) is not None}
    try:
        table = _as_table(known)
    except (pa.ArrowException, OverflowError):  # a figure that its column cannot hold costs a cell, and no row
        table = _as_table({name: value for name, value in known.items() if _fits(name, value)})
    buffer = pa.BufferOutputStream()
    # For a single row, compression, statistics, a second copy of the schema and columns of nulls only cost time and space.
    pq.write_table(table, buffer, compression="none", use_dictionary=False, write_statistics=False, store_schema=False)
    return buffer.getvalue()


def _as_table(known: Mapping[str, Any]) -> pa.Table:
    return pa.Table.from_struct_array(pa.array([known], _struct_of(tuple(known))))


def _fits(name: str, value: object) -> bool:
    try:
        pa.array([value], SCHEMA.field(name).type)
    except (pa.ArrowException, OverflowError):
        return False
    return True


@cache
def _struct_of(names: tuple[str, ...]) -> pa.StructType:
    return pa.struct([SCHEMA.field(name) for name in names])


def _read_files(files: Iterable[Path], schema: pa.Schema) -> tuple[list[pa.Table], list[Skipped]]:
    """The tables in them; FileNotFoundError where one has just gone."""
    tables, skipped = [], []
    for file in files:
        try:
            tables.append(read_file(file, schema))
        except FileNotFoundError:
            raise
        except (pa.ArrowException, OSError, ValueError) as error:
            skipped.append(Skipped(file.name, str(error).partition("\n")[0]))
    return tables, skipped


def read_file(file: Path, schema: pa.Schema) -> pa.Table:
    """The file's rows in this schema, what it lacks as nulls. Raises OSError, and ValueError for a table that is not ours."""
    if not stat.S_ISREG(file.lstat().st_mode):
        raise ValueError("a link, a folder or a device, which may lead elsewhere, and no file")
    with pq.ParquetFile(file) as parquet:
        present = set(parquet.schema_arrow.names)
        if not {"point_id", "status"} <= present:
            raise ValueError("a parquet file of something else: it has no columns point_id and status")
        # For a single row, handing columns to threads takes longer than reading them.
        many = parquet.metadata.num_rows > 1000
        table = parquet.read(columns=[name for name in schema.names if name in present], use_threads=many)
    columns = [_column(table, field) if field.name in present else pa.nulls(len(table), field.type) for field in schema]
    return pa.table(columns, schema=schema)


def _column(table: pa.Table, field: pa.Field) -> pa.ChunkedArray:
    column = table[field.name]
    try:
        column.validate(full=True)  # a text may hold what no text can
        return column.cast(field.type)
    except pa.ArrowException as error:
        raise ValueError(f"its column {field.name} holds {column.type}, and not {field.type}: {error}") from error
