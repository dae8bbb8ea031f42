"""The rows that join the half that measures to the half that reads: one versioned schema, one writer, one reader."""

from __future__ import annotations

import os
import platform
import stat
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
from bench.status import Status as Status  # whoever reads rows asks for it here

SCHEMA_VERSION = 1


_DISTURBANCE = pa.struct(
    [
        *((name, pa.float64()) for name in ("seconds", "other_cpu_s", "stolen_s", "limited_s")),
        *((name, pa.int64()) for name in ("switches", "heat_events", "cpus", "needed_cpus", "gpu_others")),
        *((name, pa.float64()) for name in ("clock_mhz", "celsius", "gpu_clock_mhz", "gpu_celsius", "energy_j", "load")),
        ("gpu_throttles", pa.list_(pa.string())),
    ]
)
_SAMPLE = pa.struct(
    [
        *(("t_s", pa.float64()), ("cpu_percent", pa.float64()), ("ram_bytes", pa.int64())),
        *(("gpu_percent", pa.float64()), ("gpu_memory_bytes", pa.int64())),
        *(("gpu_power_w", pa.float64()), ("gpu_clock_mhz", pa.float64())),
    ]
)

_WINDOW = pa.struct(
    [
        *(("turn", pa.int32()), ("prompt_tokens", pa.int32()), ("context_tokens", pa.float64())),
        *(("arrived_s", pa.list_(pa.float64())), ("total_s", pa.float64())),
    ]
)

# name, type, meaning; docs and charts read the meanings from here.
COLUMNS: tuple[tuple[str, pa.DataType, str], ...] = (
    ("schema_version", pa.int32(), "version of this schema"),
    ("bench_version", pa.string(), "version of this program"),
    ("name", pa.string(), "the sweep's name"),
    ("point_id", pa.string(), "hash of what was measured"),
    ("config_id", pa.string(), "hash of what was measured and how (repeats, warm-ups, token times)"),
    ("round", pa.int32(), "pass over the grid, from 0"),
    ("started_at", pa.timestamp("us", tz="UTC"), "when the job started"),
    ("status", pa.string(), " · ".join(Status)),
    ("error", pa.string(), "the message, where status is not ok"),
    ("source", pa.string(), "where the times come from: measured (null in older rows), or sampled, from windows of steps"),
    ("model", pa.string(), "as configured"),
    ("model_family", pa.string(), "transformers model_type"),
    ("n_params", pa.int64(), "parameters, counted in the loaded model"),
    ("dtype", pa.string(), "of weights, activations and KV cache"),
    ("weights", pa.string(), "random or pretrained"),
    ("framework", pa.string(), "as configured"),
    ("framework_version", pa.string(), ""),
    ("framework_args", pa.string(), "JSON: its settings, and what it really used"),
    ("tp", pa.int32(), "tensor-parallel ranks"),
    ("hardware", pa.string(), "the hardware's name as people write it"),
    ("device", pa.string(), "cpu, or the GPU's name"),
    ("n_devices", pa.int32(), "devices used"),
    ("gpu_uuids", pa.list_(pa.string()), "of the GPUs used, rank by rank"),
    ("batch_size", pa.int32(), "sequences generated at once"),
    ("input_tokens", pa.int32(), "length of every prompt"),
    ("output_tokens", pa.int32(), "generated per sequence"),
    ("num_beams", pa.int32(), "1: no beam search"),
    ("do_sample", pa.bool_(), ""),
    ("seed", pa.int64(), ""),
    ("data", pa.string(), "source of the prompts"),
    ("latencies_s", pa.list_(pa.float64()), "each repeat's wall time of the whole batch's generation"),
    ("latency_s", pa.float64(), "their median"),
    ("latency_low_s", pa.float64(), "lower end of a 95 % interval for the median; null under six repeats"),
    ("latency_high_s", pa.float64(), "upper end of it"),
    ("token_times_s", pa.list_(pa.list_(pa.float64())), "per repeat: when each step's tokens were on the host, from the request"),
    ("ttft_s", pa.float64(), "median time to first token"),
    ("tpot_s", pa.float64(), "median over repeats of (last - first) / (output_tokens - 1)"),
    ("itl_p50_s", pa.float64(), "inter-token latency: median gap between two steps, over all repeats"),
    ("itl_p90_s", pa.float64(), "90 % of the gaps are shorter"),
    ("itl_p99_s", pa.float64(), "99 % of the gaps are shorter"),
    (
        "windows",
        pa.list_(_WINDOW),
        "of a sampled row: per turn and prompt length, when each step's tokens were on the host, and the context of the steps that count",
    ),
    ("saved_s", pa.float64(), "of a sampled row: what its repeats would have taken, less its share of the windows"),
    ("marks", pa.list_(pa.string()), "what limits the trust: few or short repeats, lopsided experts, a draft for random weights"),
    ("output_tok_s", pa.float64(), "batch_size × output_tokens / latency_s"),
    ("total_tok_s", pa.float64(), "batch_size × (input_tokens + output_tokens) / latency_s"),
    ("prefill_mfu", pa.float64(), "prefill FLOPs / ttft_s / ceiling_flops_per_s"),
    ("decode_mbu", pa.float64(), "bytes that a decoding step must bring from memory / tpot_s / ceiling_bytes_per_s"),
    ("ceiling_flops_per_s", pa.float64(), "best rate of matrix products in this dtype, measured on the devices used"),
    ("ceiling_bytes_per_s", pa.float64(), "best memory bandwidth measured on the devices used"),
    ("floor_s", pa.float64(), "least latency_s that the ceilings allow"),
    ("suspect", pa.list_(pa.string()), "why this row may be a measuring error: faster than its hardware"),
    ("busiest_expert", pa.float64(), "part of a layer's work that the busiest of its experts got, mean of the layers"),
    ("limits_unknown", pa.string(), "why prefill_mfu, decode_mbu and floor_s are null although the model ran"),
    ("predicted_bytes", pa.int64(), "memory that the model's shape needs at least, engine not counted"),
    ("peak_device_bytes", pa.int64(), "of this job, allocated by torch on the fullest GPU"),
    ("peak_allocated_bytes", pa.list_(pa.int64()), "the same of each rank's GPU"),
    ("peak_reserved_bytes", pa.list_(pa.int64()), "what torch's allocator held for it on each: with what is lost to fragments"),
    ("peak_host_bytes", pa.int64(), "of this job, resident memory of the worker"),
    ("energy_j", pa.float64(), "mean of a repeat, of GPUs and CPU packages where they tell"),
    ("tokens_digest", pa.string(), "hash of the first repeat's tokens: do two frameworks agree?"),
    ("noisy", pa.bool_(), "whether something disturbed the repeats"),
    ("noise", pa.list_(pa.string()), "by what"),
    ("disturbance", pa.list_(_DISTURBANCE), "per repeat: other processes' CPU time, stolen time, clocks, temperatures, throttling"),
    ("system", pa.list_(_SAMPLE), "the host during the repeats, when measure.system_metrics is on"),
    ("load_s", pa.float64(), "time to load the model that this job used"),
    ("spent_s", pa.float64(), "time inside warm-ups and repeats"),
    ("host", pa.string(), "host name"),
    ("cpu", pa.string(), ""),
    ("gpu", pa.string(), ""),
    ("driver", pa.string(), "of the GPU"),
    ("torch", pa.string(), "version"),
    ("transformers", pa.string(), "version"),
    ("python", pa.string(), "version"),
    ("git_sha", pa.string(), "commit of this program, + where it was changed"),
    ("threads", pa.int32(), "CPU threads of the engine"),
    ("environment_id", pa.string(), "hash of hardware and versions of the engine's packages: a job is done only where it is the same"),
    ("environment", pa.string(), "JSON: the host, versions of the engine's packages, variables that change timings"),
    ("command", pa.string(), "what was typed"),
    ("config", pa.string(), "JSON: the whole resolved config; the job can be rerun from it"),
)
SCHEMA = pa.schema([pa.field(name, kind) for name, kind, _ in COLUMNS])
Row = dict[str, Any]


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
        schema = _schema_of(SCHEMA.names if columns is None else columns)
        rows, skipped = self._read_whole(_schema_of([*schema.names, *_IDENTITY, *CHECKED]))
        return sound(rows).select(schema.names), skipped

    def table(self, columns: list[str] | None = None, tell: Callable[[str], None] | None = None) -> pa.Table:
        """All rows; `tell` gets a line for each file that was passed over. Raises NoRows."""
        rows, skipped = self.read(columns)
        if not len(rows):
            raise NoRows(self.folder, [str(file) for file in skipped])
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


# What tells one row from all others.
_IDENTITY = ("started_at", "point_id", "config_id", "round", "host")


def read_file(file: Path, columns: list[str]) -> pa.Table:
    """The rows in one file. Raises ValueError and OSError where it holds none of ours."""
    return _read_file(file, _schema_of(columns))


def _schema_of(columns: Iterable[str]) -> pa.Schema:
    return pa.schema([SCHEMA.field(name) for name in dict.fromkeys(columns)])


def _unique(rows: pa.Table) -> pa.Table:
    """The rows in the order of their start, each once."""
    ordered = rows.sort_by([(name, "ascending") for name in _IDENTITY])
    # A timestamp as a number: pyarrow imports pandas to tell one as a datetime.
    columns = [ordered[name].cast(pa.int64()) if name == "started_at" else ordered[name] for name in _IDENTITY]
    identity = zip(*(column.to_pylist() for column in columns), strict=True)
    seen: set[tuple[Any, ...]] = set()
    first = [key not in seen and not seen.add(key) for key in identity]  # type: ignore[func-returns-value]
    return ordered.filter(pa.array(first, pa.bool_()))


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
            tables.append(_read_file(file, schema))
        except FileNotFoundError:
            raise
        except (pa.ArrowException, OSError, ValueError) as error:
            skipped.append(Skipped(file.name, str(error).partition("\n")[0]))
    return tables, skipped


def _read_file(file: Path, schema: pa.Schema) -> pa.Table:
    """The file's rows in this schema, what it lacks as nulls. Raises ValueError for a table that is not ours."""
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
