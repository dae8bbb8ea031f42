"""The groups of settings as typed dataclasses: YAML only sets values, and a group that exists makes sense by itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Optional, TypeVar

from bench.errors import require

# OmegaConf's mark for "must be set"; spelled out so that workers need not import OmegaConf.
MISSING: Any = "???"
# num_runs=auto, warmup_runs=auto: measuring decides how many.
AUTO = "auto"

_T = TypeVar("_T")


def once(group: Any, name: str, make: Callable[[Any], _T]) -> _T:
    """What `make` tells of a group of settings, asked once for all points that share it: groups are not changed once they are made."""
    kept: dict[str, _T] = vars(group)
    if name not in kept:
        kept[name] = make(group)
    return kept[name]


class Dtype(StrEnum):
    fp32 = "fp32"
    bf16 = "bf16"
    fp16 = "fp16"

    @property
    def bytes(self) -> int:
        return 4 if self is Dtype.fp32 else 2


class Weights(StrEnum):
    random = "random"
    pretrained = "pretrained"


class Device(StrEnum):
    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


class PromptSource(StrEnum):
    random = "random"
    prose = "prose"
    dataset = "dataset"


class NoisePolicy(StrEnum):
    """What to do about other load on the host. The row tells of it in any case."""

    record = "record"  # nothing
    wait = "wait"  # start a job when the host is quiet, or after noise_wait_s


class Rerun(StrEnum):
    """Which jobs run again although they left a row from this config in this environment."""

    missing = "missing"  # those without a result: never started, interrupted, crashed, timed out, failed
    failed = "failed"  # and those whose result is not a measurement: oom, pruned, unsupported
    all = "all"  # every job


class Order(StrEnum):
    cost = "cost"  # cheap points first, model by model
    shuffle = "shuffle"  # at random (by the seed), so that drift does not look like an effect of the batch size
    given = "given"  # as the grid lists them


class Decode(StrEnum):
    full = "full"  # every step is measured
    sampled = "sampled"  # a few windows of steps, which add up to the whole; a tenth of the points also in full, to know the error


# The transformers families spell "how many positions" in different ways.
POSITION_KEYS = ("max_position_embeddings", "max_seq_len", "n_positions", "max_sequence_length")


@dataclass
class ModelConfig:
    name: str = MISSING  # as people write it: MPT-7B
    architecture: dict[str, Any] = field(default_factory=dict)  # keywords of its transformers config, with model_type
    dtype: Dtype = Dtype.fp32  # of weights, activations and KV cache
    weights: Weights = Weights.random  # random: right shape and speed, no download
    path: Optional[str] = None  # hub id or local folder, for weights=pretrained
    tokenizer: Optional[str] = None  # hub id or local folder; default: the model's own, or the embedded one
    trust_remote_code: bool = False  # run code that comes with a hub model

    @property
    def family(self) -> str | None:
        return self.architecture.get("model_type")

    @property
    def max_positions(self) -> int | None:
        """Longest prompt + output that the model has positions for; None where its architecture is not known yet."""
        return next((int(self.architecture[key]) for key in POSITION_KEYS if key in self.architecture), None)


@dataclass
class HardwareConfig:
    name: Optional[str] = None  # as people write it: 4xA100-80GB; with device=cuda it must be there; default: described from the host
    is_label: bool = False  # true: name is kept whatever is there
    ranks: int = 1  # over which a tensor-parallel framework spreads a model here, unless framework.tp says otherwise
    device: Device = Device.auto  # auto: cuda where there is a GPU, else cpu
    memory_limit_gb: Optional[float] = None  # host memory of a worker, in 10^9 bytes; default: what the host has left
    threads: Optional[int] = None  # CPU threads of one rank; default: the framework's own choice
    env: dict[str, str] = field(default_factory=dict)  # environment of the worker: OMP_WAIT_POLICY, ...

    def __post_init__(self) -> None:
        limit, threads = self.memory_limit_gb, self.threads
        require(limit is None or limit > 0, "hardware.memory_limit_gb", limit, "must be above 0; leave it out for what the host has left")
        require(threads is None or threads >= 1, "hardware.threads", threads, "must be at least 1; leave it out for the framework's choice")


@dataclass
class GenerationConfig:
    do_sample: bool = False  # false: greedy (or beam) search
    temperature: float = 1.0  # for do_sample
    top_k: int = 50  # for do_sample; 0: no limit
    top_p: float = 1.0  # for do_sample
    num_beams: int = 1  # 1: no beam search
    use_cache: bool = True  # false: every step recomputes the whole sequence

    def __post_init__(self) -> None:
        warm = self.temperature > 0 or not self.do_sample
        require(self.num_beams >= 1, "generation.num_beams", self.num_beams, "must be at least 1; 1 means no beam search")
        require(warm, "generation.temperature", self.temperature, "must be above 0 with do_sample; for greedy search set generation=greedy")
        require(0 < self.top_p <= 1, "generation.top_p", self.top_p, "must lie in (0, 1]; 1 keeps every token")
        require(self.top_k >= 0, "generation.top_k", self.top_k, "must be at least 0; 0 keeps every token")

    @property
    def drawn(self) -> dict[str, float]:
        """What says how tokens are drawn, by the names that most engines have for it; nothing for a greedy or beam search."""
        return {"temperature": self.temperature, "top_k": self.top_k, "top_p": self.top_p} if self.do_sample else {}


@dataclass(unsafe_hash=True)
class DataConfig:
    source: PromptSource = PromptSource.random  # random tokens, the embedded prose, or a dataset
    path: Optional[str] = None  # source=dataset: hub id, or a local .jsonl, .json, .csv, .parquet or .txt
    subset: Optional[str] = None  # the dataset's configuration name, where it has several
    split: str = "train"  # the part of the dataset
    column: str = "text"  # the column that holds the text

    def __post_init__(self) -> None:
        has_data = bool(self.path) or self.source is not PromptSource.dataset
        require(has_data, "data.path", self.path, "data=dataset needs one; set data.path to a hub id or a local file")


@dataclass
class MeasureConfig:
    token_times: bool = True  # time every token; false: only the whole generation
    system_metrics: bool = False  # sample CPU and memory of the host during the repeats
    interval_s: float = 1.0  # between two samples
    decode: Decode = Decode.full  # sampled: long generations from a few windows of steps, with an error that is measured
    window: int = 16  # decode=sampled: steps that are measured at a context

    def __post_init__(self) -> None:
        told = self.token_times or self.decode is Decode.full
        require(
            self.interval_s >= 0.05, "measure.interval_s", self.interval_s, "must be at least 0.05; faster sampling disturbs the repeats"
        )
        require(self.window >= 4, "measure.window", self.window, "must be at least 4 steps; fewer tell the clock's scatter")
        require(told, "measure.decode", self.decode, "needs the time of each step; leave measure.token_times true, or use decode=full")


@dataclass
class SweepConfig:
    """What Hydra's grid lacks."""

    zip: list[str] = field(default_factory=list)  # axes that advance together: ["batch_size,input_tokens"]
    exclude: list[str] = field(default_factory=list)  # combinations to leave out: ["model=mpt_30b,hardware=a100_40gb"]
    also: dict[str, list[str]] = field(default_factory=dict)  # settings of a part: {framework=pace: [framework.kv_cache_type=PAGED]}
