"""One point: all its settings, and what makes no sense together.

The groups of settings are declared in groups.py, and everyone finds them here, too. What tells points apart is in identity.py.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from functools import cached_property
from math import isfinite
from typing import Any, ClassVar, Optional, cast

from bench import identity
from bench.errors import InvalidSetting, require
from bench.groups import AUTO as AUTO
from bench.groups import MISSING, once
from bench.groups import DataConfig as DataConfig
from bench.groups import Decode as Decode
from bench.groups import Device as Device
from bench.groups import Dtype as Dtype
from bench.groups import GenerationConfig as GenerationConfig
from bench.groups import HardwareConfig as HardwareConfig
from bench.groups import MeasureConfig as MeasureConfig
from bench.groups import ModelConfig as ModelConfig
from bench.groups import NoisePolicy as NoisePolicy
from bench.groups import Order as Order
from bench.groups import PromptSource as PromptSource
from bench.groups import Rerun as Rerun
from bench.groups import SweepConfig as SweepConfig
from bench.groups import Weights as Weights
from bench.identity import digest

# After a prefill, caches are cold and memory is new: so many steps were seen to take up to six times as long.
SETTLING_STEPS = 3
FAR_EVERY = 3  # passes over the windows of a line, one looks at those where no point starts
MAX_BATCH = "max"


@dataclass(frozen=True)
class Abilities:
    """What an engine can do here, for the table in docs/frameworks.md; every one takes whole batches and tells each step."""

    families: str
    beams: str = "no"
    sampling: str = "yes"
    tp: str = "no"
    quantization: str = "no"
    speculation: str = "no"
    devices: str = "CPU, CUDA"


@dataclass
class FrameworkConfig:
    """Base of the frameworks' own settings, which stand beside their adapters in bench/frameworks/."""

    name: str = MISSING  # its key in the table of bench/frameworks
    python: Optional[str] = None  # interpreter of its environment; default: the one that runs the sweep, or of `make engines`
    can: ClassVar[Optional[Abilities]] = None
    modules: ClassVar[tuple[str, ...]] = ()  # of its engine; where they are missing, `make engines` may have built an environment
    uses_gpus: ClassVar[bool] = True  # false: it runs on the CPU whatever is there
    pretends: ClassVar[bool] = False  # true: no model runs, so that no ceiling of the hardware holds

    @property
    def packages(self) -> tuple[str, ...]:
        """The distributions whose versions decide how fast it runs: a row made with another version does not stand for its point."""
        return ()

    @property
    def ranks(self) -> int:
        """Processes that share a model, each on a device of its own where it runs on GPUs."""
        return int(getattr(self, "tp", 1))

    @property
    def reads_every_weight(self) -> bool:
        """Whether each token costs a read of every weight in the model's dtype, as the roofline takes for granted."""
        return self.one_token_a_step and self.bytes_per_weight is None

    @property
    def bytes_per_weight(self) -> float | None:
        """Of quantised weights; None: the model's dtype's."""
        return None

    @property
    def has_draft(self) -> bool:
        """Whether a smaller model, or a guess, proposes tokens: how many are accepted depends on the weights."""
        return False

    @property
    def one_token_a_step(self) -> bool:
        """Whether on_step is called once for each token: with a draft, nobody knows beforehand how many a step brings."""
        return not self.has_draft

    def cache_segment(self, total_tokens: int) -> int:
        """Tokens by which the KV cache of a sequence of this final length grows at a time: all of them where it is allocated whole."""
        return 1

    def check(self, run: RunConfig) -> None:
        """Raise InvalidSetting for what this framework can never do, judged from the config alone."""


@dataclass
class RunConfig:
    """One point, and how to measure it."""

    model: ModelConfig = field(default_factory=ModelConfig)
    framework: FrameworkConfig = field(default_factory=FrameworkConfig)
    hardware: HardwareConfig = field(default_factory=HardwareConfig)
    generation: GenerationConfig = field(default_factory=GenerationConfig)
    data: DataConfig = field(default_factory=DataConfig)
    measure: MeasureConfig = field(default_factory=MeasureConfig)
    sweep: SweepConfig = field(default_factory=SweepConfig)

    batch_size: Any = 1  # sequences generated at once; max: the largest batch that completes, found by trying
    input_tokens: int = 128  # length of every prompt
    output_tokens: int = 101  # generated per sequence, exactly
    seed: int = 0  # of prompts, random weights and sampling

    num_runs: int | str = 7  # timed repeats, at least 6 for a 95 % interval; auto: until precision or max_seconds is reached
    warmup_runs: int | str = 2  # untimed repeats before them; auto: until they get no faster
    precision: float = 0.01  # num_runs=auto stops when the interval's half-width is this part of the median
    max_seconds: float = 60.0  # num_runs=auto and warmup_runs=auto stop when their repeats have taken this long
    rounds: int = 1  # visits of the whole grid, interleaved, so that drift hits every point alike
    noise: NoisePolicy = NoisePolicy.record  # what to do about other load on the host
    noise_wait_s: float = 60.0  # noise=wait: the longest wait before a job
    ceilings: bool = True  # measure the hardware's ceilings once, if they are not known yet; false: never
    timeout_s: float = 3600.0  # for loading, and for one job; a worker that takes longer is ended

    name: str = "sweep"  # of the sweep
    output_dir: str = "outputs/${name}"  # where rows and charts go
    rerun: Rerun = Rerun.missing  # which jobs run again: missing, failed or all
    order: Order = Order.cost  # of the jobs in a round: cost, shuffle or given
    prune: bool = True  # after an out-of-memory, leave out the points that need at least as much
    prune_predicted: bool = False  # leave out what cannot fit by prediction, too
    report: bool = True  # draw the charts at the end

    def __post_init__(self) -> None:
        _check_numbers(self.as_dict)
        _check_counts(self)
        _check_lengths(self)
        _check_hardware(self)
        self.framework.check(self)
        _check_windows(self)  # whose lengths the framework decides

    @cached_property
    def point_id(self) -> str:
        """Hash of what is measured. How often and where it is measured are not part of it."""
        return digest(self._measured)

    @cached_property
    def config_id(self) -> str:
        """Hash of what is measured and how: a row counts as this job's only if it has the same one."""
        return digest({**self._measured, **identity.way(self.as_dict)})

    @property
    def expected_runs(self) -> int:
        """Repeats and warm-ups, with a guess where the measuring decides."""
        return sum(guess if count == AUTO else int(count) for count, guess in ((self.num_runs, 12), (self.warmup_runs, 3)))

    @cached_property
    def load_key(self) -> str:
        """Hash of what decides what must be loaded: points that share it share one loaded model."""
        return digest(identity.loaded(self.as_dict))

    @property
    def is_search(self) -> bool:
        """Whether it stands for the search of the largest batch."""
        return bool(self.batch_size == MAX_BATCH)

    @property
    def total_tokens(self) -> int:
        return self.input_tokens + self.output_tokens

    @property
    def cache_is_whole(self) -> bool:
        """Whether the KV cache has its final length from the start, so that every step attends to all of it."""
        return self.framework.cache_segment(self.total_tokens) >= self.total_tokens

    @property
    def window_tokens(self) -> int:
        """Tokens that a window generates: the first, those that settle, and steps that make whole segments of the KV cache."""
        segment = 1 if self.cache_is_whole else self.framework.cache_segment(self.total_tokens)
        return 1 + SETTLING_STEPS + -(-self.measure.window // segment) * segment

    @cached_property
    def line_id(self) -> str:
        """Hash of what points have in common whose steps one set of windows shows: all but their lengths, of which a cache may know."""
        point = identity.without(self._measured, "input_tokens", "output_tokens")
        total = None if self.framework.cache_segment(self.total_tokens) == 1 else self.total_tokens
        return digest({**point, **identity.way(self.as_dict), "total_tokens": total})

    def in_full(self) -> RunConfig:
        return replace(self, measure=replace(self.measure, decode=Decode.full))

    @cached_property
    def as_dict(self) -> dict[str, Any]:
        return {each.name: _as_plain(getattr(self, each.name)) for each in fields(self)}

    @cached_property
    def _measured(self) -> dict[str, Any]:
        return identity.measured(self.as_dict)


GROUPS = {each.name: cast("type", each.default_factory) for each in fields(RunConfig) if is_dataclass(each.default_factory)}
OPTIONS = ("model", "framework", "hardware", "generation", "data")  # groups of which conf/ has files to choose from
OF_THE_SWEEP = ("output_dir", "rounds", "order", "rerun", "report")  # settings that all points of a sweep share


def _as_plain(value: Any) -> Any:
    return once(value, "_plain", asdict) if is_dataclass(value) else value


def _check_numbers(settings: Mapping[str, Any], group: str = "") -> None:
    """NaN compares with nothing, and JSON has neither it nor infinity. What a model's architecture holds is its family's affair."""
    for key, value in settings.items():
        name = f"{group}{key}"
        if isinstance(value, dict) and name != "model.architecture":
            _check_numbers(value, f"{name}.")
        is_finite = not isinstance(value, float) or isfinite(value)
        require(is_finite, name, value, "must be a finite number; leave it out for the default, or set a large one where nothing is to end")


def _check_counts(run: RunConfig) -> None:
    is_text = run.name.isprintable()
    is_folder = bool(run.name) and is_text and "/" not in run.name and not run.name.startswith(".")
    problem = "is no name for a folder; leave out /, a leading dot and what cannot be printed, and set output_dir for another place"
    require(is_folder, "name", run.name if is_text else repr(run.name), problem)
    problem = "holds what cannot be printed; name a folder without it"
    require(run.output_dir.isprintable(), "output_dir", repr(run.output_dir), problem)
    is_count = isinstance(run.batch_size, int) and not isinstance(run.batch_size, bool) and run.batch_size >= 1
    sweep = "; sweep several by batch_size=1,2,4, in a file by hydra.sweeper.params" if isinstance(run.batch_size, (list, str)) else ""
    problem = f"must be a whole number from 1, or {MAX_BATCH} for the largest that completes{sweep}"
    require(is_count or run.is_search, "batch_size", run.batch_size, problem)
    for key, least in (("input_tokens", 1), ("output_tokens", 1), ("num_runs", 1), ("warmup_runs", 0), ("rounds", 1)):
        value = getattr(run, key)
        is_text = isinstance(value, str)
        require(not is_text or value == AUTO, key, value, f"must be a number, or {AUTO}")
        require(is_text or value >= least, key, value, f"must be at least {least}")
    bits = dict.fromkeys(("batch_size", "input_tokens", "output_tokens", "num_runs", "warmup_runs", "rounds"), 31) | {"seed": 63}
    for key, most in bits.items():
        value = getattr(run, key)
        require(isinstance(value, str) or abs(value) < 2**most, key, value, f"must be below {2**most:,}: a row has no room for more")
    require(run.seed >= 0, "seed", run.seed, "must be at least 0: numpy's generator takes no other")
    require(0 < run.precision < 1, "precision", run.precision, "must lie between 0 and 1; 0.01 is one percent of the median")
    require(run.max_seconds > 0, "max_seconds", run.max_seconds, "must be above 0; the longest that num_runs=auto repeats, in seconds")
    require(run.noise_wait_s >= 0, "noise_wait_s", run.noise_wait_s, "must be at least 0; the longest wait for a quiet host, in seconds")
    require(run.timeout_s > 0, "timeout_s", run.timeout_s, "must be above 0; the longest that a job may take, in seconds")


def require_path(path: str | None) -> None:
    require(bool(path), "model.path", None, "model.weights=pretrained needs one; set model.path to a hub id or a local folder")


def _check_lengths(run: RunConfig) -> None:
    model = run.model
    if model.weights is Weights.pretrained:
        require_path(model.path)
    else:
        problem = "random weights need a model_type and its sizes; see conf/model/ for examples"
        require(bool(model.family), "model.architecture", model.architecture, problem)
    if model.max_positions is not None and run.total_tokens > model.max_positions:
        problem = f"{run.total_tokens} is more than the {model.max_positions} positions of {model.name}"
        remedy = "shorten input_tokens or output_tokens, or choose a model with more positions"
        raise InvalidSetting("input_tokens + output_tokens", f"{run.input_tokens} + {run.output_tokens}", f"{problem}; {remedy}")


def _check_windows(run: RunConfig) -> None:
    positions = run.model.max_positions
    if run.measure.decode is Decode.sampled and positions is not None and run.window_tokens >= positions:
        problem = f"windows of {run.window_tokens} tokens do not fit into the {positions} positions of {run.model.name}"
        raise InvalidSetting("measure.window", run.measure.window, f"{problem}; use fewer steps, or measure.decode=full")


def _check_hardware(run: RunConfig) -> None:
    name, tp = run.hardware.name or "", run.framework.ranks
    require(tp >= 1, "framework.tp", tp, "must be at least 1; 1 means no tensor parallelism")
    count = re.match(r"(\d+)x", name)
    on_gpus = run.hardware.device is Device.cuda and run.framework.uses_gpus
    if count and on_gpus and int(count[1]) != tp and not run.hardware.is_label:
        problem = f"names {count[1]} devices, and framework={run.framework.name} with framework.tp={tp} uses {tp}"
        remedy = "set framework.tp, choose framework=deepspeed_tp, or keep the name as a mere label by hardware.is_label=true"
        raise InvalidSetting("hardware.name", name, f"{problem}; {remedy}")
