"""What each column is called and how its values read: one table, used by charts, tables, file names and the report page."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
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
    """A column as people read it."""

    name: str
    caption: str  # along an axis: Output tokens per sequence
    head: str  # over a table's column: out
    kind: str = "text"
    phrase: str = "{}"  # in a subtitle or a line's name: {} prompt tokens
    mark: str = ""  # before the value in a file name: in128
    usual: tuple[Any, ...] = ()  # values that go without saying
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


def _sampling(value: Any) -> str:
    return "sampled" if value else "greedy"


def _environment(python: Any) -> str:
    """/envs/new for /envs/new/bin/python."""
    return re.sub(r"/bin/python[\d.]*$", "", str(python))


_SETTINGS = (
    Column("model", "Model", "model"),
    Column("framework", "Framework", "framework"),
    Column("dtype", "Data type", "dtype"),
    Column("hardware", "Hardware", "hardware"),
    Column("tp", "Tensor-parallel ranks", "TP", "whole", "TP {}", "tp", usual=(1,)),
    Column("input_tokens", "Prompt tokens per sequence", "in", "whole", "{} prompt tokens", "in"),
    Column("output_tokens", "Output tokens per sequence", "out", "whole", "{} output tokens", "out"),
    Column("batch_size", "Batch size (sequences)", "batch", "whole", "batch {}", "batch"),
    Column("attention", "Attention", "attention", phrase="{} attention"),
    Column("num_beams", "Beams", "beams", "whole", "{} beams", "beams", usual=(1,)),
    Column("do_sample", "Decoding", "decoding", mark="sample", usual=(False,), words=_sampling),
    Column("data", "Prompts", "prompts", phrase="{} prompts", usual=("random",)),
    Column("weights", "Weights", "weights", phrase="{} weights"),
    Column("n_params", "Parameters", "params", "count", "{} parameters"),
    Column("threads", "CPU threads", "threads", "whole", "{} threads", "threads"),
    Column("seed", "Seed", "seed", "whole", "seed {}", "seed", usual=(0,)),
    Column("sweep", "Sweep", "sweep", phrase="sweep {}"),
    Column("torch", "torch", "torch", phrase="torch {}", mark="torch"),
    Column("transformers", "transformers", "transformers", phrase="transformers {}", mark="transformers"),
    Column("framework_version", "Framework version", "version", phrase="version {}", mark="v"),
    Column("framework.python", "Python environment", "python", phrase="{}", mark="python", words=_environment),
    Column("environment_id", "Environment", "environment", phrase="environment {}", mark="env"),
)
# Within a sentence, where the caption is not the word.
_WORDS = {
    **{"batch_size": "batch size", "input_tokens": "prompt length", "output_tokens": "output length", "output_tok_s": "throughput"},
    **{"prefill_mfu": "prefill MFU", "decode_mbu": "decode MBU", "floor_s": "least latency"},
}
# Quantities: caption and head; how they are shown follows from the suffix.
_QUANTITIES = {
    "latency_s": ("Latency of the whole batch", "latency"),
    "latency_s_low": ("Latency of the whole batch, lower end of its interval", "low"),
    "latency_s_high": ("Latency of the whole batch, upper end of its interval", "high"),
    "latency_low_s": ("Latency of the whole batch, lower end within a round", "low"),
    "latency_high_s": ("Latency of the whole batch, upper end within a round", "high"),
    "ttft_s": ("Time to first token", "TTFT"),
    "tpot_s": ("Time per output token after the first", "TPOT"),
    "itl_p50_s": ("Time between tokens, median", "ITL p50"),
    "itl_p90_s": ("Time between tokens, 90th percentile", "ITL p90"),
    "itl_p99_s": ("Time between tokens, 99th percentile", "ITL p99"),
    "latency_per_token_s": ("Latency per output token", "per token"),
    "output_tok_s": ("Throughput, output tokens per second", "tok/s"),
    "total_tok_s": ("Throughput, prompt and output tokens per second", "total tok/s"),
    "prefill_mfu": ("Prefill: share of the measured FLOP/s (MFU)", "MFU"),
    "decode_mbu": ("Decode: share of the measured bytes/s (MBU)", "MBU"),
    "ceiling_flops_per_s": ("Measured ceiling, FLOP per second", "FLOP/s"),
    "ceiling_bytes_per_s": ("Measured ceiling, bytes per second", "bytes/s"),
    "floor_s": ("Least latency that the hardware allows", "floor"),
    "peak_device_bytes": ("Peak device memory", "device mem"),
    "peak_host_bytes": ("Peak host memory", "host mem"),
    "predicted_bytes": ("Memory that the model's shape needs at least", "predicted"),
    "energy_j": ("Energy of a generation", "energy"),
    "load_s": ("Time to load the model", "load"),
    "spent_s": ("Time inside warm-ups and repeats", "spent"),
}
_COLUMNS = {
    **{column.name: column for column in _SETTINGS},
    **{name: Column(name, caption, head, kind_of(name) or "text") for name, (caption, head) in _QUANTITIES.items()},
}


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
    caption = _WORDS.get(name) or column_of(name).caption.partition(" of ")[0].partition(" (")[0]
    return caption if caption[:2].isupper() or "." in caption else caption[:1].lower() + caption[1:]
