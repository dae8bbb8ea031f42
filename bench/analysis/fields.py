"""What each column is called and how its values read: one table, used by charts, tables, file names and the report page."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from bench.units import format_bytes, format_count, format_seconds

Show = Callable[[Any], str]


def whole(value: Any) -> str:
    return f"{value:,.0f}"


@dataclass(frozen=True)
class Field:
    """A column as people read it."""

    column: str
    caption: str  # along an axis: Output tokens per sequence
    head: str  # over a table's column: out
    show: Show = str
    phrase: str = "{}"  # in a subtitle or a line's name: {} prompt tokens
    mark: str = ""  # before the value in a file name: in128
    usual: tuple[Any, ...] = ()  # values that go without saying
    linear: bool = False  # on an axis: from zero, and not logarithmic

    def say(self, value: Any) -> str:
        said = self.phrase.format(self.show(value))
        return said.removesuffix("s") if value == 1 and self.phrase.startswith("{} ") else said

    def slug(self, value: Any) -> str:
        if isinstance(value, float) and value.is_integer():
            value = int(value)  # a column with a null holds its numbers as floats
        return self.mark + re.sub(r"[^A-Za-z0-9.]+", "-", str(value)).strip("-.")


def _sampling(value: Any) -> str:
    return "sampled" if value else "greedy"


def _environment(python: Any) -> str:
    """/envs/new for /envs/new/bin/python."""
    return re.sub(r"/bin/python[\d.]*$", "", str(python))


# What a sweep varies, from the slowest changing to the fastest.
GRID = ("input_tokens", "output_tokens", "batch_size")

_SETTINGS = (
    Field("model", "Model", "model"),
    Field("framework", "Framework", "framework"),
    Field("dtype", "Data type", "dtype"),
    Field("hardware", "Hardware", "hardware"),
    Field("tp", "Tensor-parallel ranks", "TP", whole, "TP {}", "tp", usual=(1,)),
    Field("input_tokens", "Prompt tokens per sequence", "in", whole, "{} prompt tokens", "in"),
    Field("output_tokens", "Output tokens per sequence", "out", whole, "{} output tokens", "out"),
    Field("batch_size", "Batch size (sequences)", "batch", whole, "batch {}", "batch"),
    Field("attention", "Attention", "attention", phrase="{} attention"),
    Field("num_beams", "Beams", "beams", whole, "{} beams", "beams", usual=(1,)),
    Field("do_sample", "Decoding", "decoding", _sampling, mark="sample", usual=(False,)),
    Field("data", "Prompts", "prompts", phrase="{} prompts", usual=("random",)),
    Field("weights", "Weights", "weights", phrase="{} weights"),
    Field("n_params", "Parameters", "params", format_count, "{} parameters"),
    Field("threads", "CPU threads", "threads", whole, "{} threads", "threads"),
    Field("seed", "Seed", "seed", whole, phrase="seed {}", mark="seed", usual=(0,)),
    Field("torch", "torch", "torch", phrase="torch {}", mark="torch"),
    Field("transformers", "transformers", "transformers", phrase="transformers {}", mark="transformers"),
    Field("framework_version", "Framework version", "version", phrase="version {}", mark="v"),
    Field("framework.python", "Python environment", "python", _environment, "{}", "python"),
    Field("environment_id", "Environment", "environment", phrase="environment {}", mark="env"),
    Field("name", "Sweep", "sweep", phrase="sweep {}"),
)
_QUANTITIES = (
    Field("latency_s", "Latency of the whole batch", "latency", format_seconds),
    Field("latency_s_low", "Latency of the whole batch, lower end of its interval", "low", format_seconds),
    Field("latency_s_high", "Latency of the whole batch, upper end of its interval", "high", format_seconds),
    Field("ttft_s", "Time to first token", "TTFT", format_seconds),
    Field("tpot_s", "Time per output token after the first", "TPOT", format_seconds),
    Field("latency_per_token_s", "Latency per output token", "per token", format_seconds),
    Field("output_tok_s", "Throughput, output tokens per second", "tok/s", format_count),
    Field("total_tok_s", "Throughput, prompt and output tokens per second", "total tok/s", format_count),
    Field("prefill_mfu", "Prefill: share of the measured FLOP/s (MFU)", "MFU", "{:.0%}".format, linear=True),
    Field("decode_mbu", "Decode: share of the measured bytes/s (MBU)", "MBU", "{:.0%}".format, linear=True),
    Field("peak_device_bytes", "Peak device memory", "device mem", format_bytes),
    Field("peak_host_bytes", "Peak host memory", "host mem", format_bytes),
    Field("predicted_bytes", "Memory that the model's shape needs at least", "predicted", format_bytes),
    Field("energy_j", "Energy (J)", "energy", format_count),
    Field("load_s", "Time to load the model", "load", format_seconds),
)
_FIELDS = {field.column: field for field in (*_SETTINGS, *_QUANTITIES)}


def field_of(column: str) -> Field:
    """The field of a column; one that nobody described (framework.kv_cache) is called by its own name."""
    name = column.rpartition(".")[2]
    return _FIELDS.get(column) or Field(column, column, name, phrase=f"{name} {{}}", mark=f"{name}-")


def is_described(column: str) -> bool:
    """Whether a column is one that people ask for, and not bookkeeping."""
    return column in _FIELDS or "." in column


def is_quantity(column: str) -> bool:
    return any(field.column == column for field in _QUANTITIES)


def names(columns: Sequence[str]) -> str:
    """Columns within a sentence: model, hardware and batch size."""
    words = [_word(column) for column in columns]
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _word(column: str) -> str:
    words = {"batch_size": "batch size", "input_tokens": "prompt length", "output_tokens": "output length", "output_tok_s": "throughput"}
    caption = words.get(column) or field_of(column).caption.partition(",")[0].partition(" of ")[0].partition(" (")[0]
    return caption if caption[:2].isupper() or "." in caption else caption[:1].lower() + caption[1:]
