"""AMD PACE: LLM inference on CPUs with AVX-512 bfloat16, with the operators, KV cache and draft model that are asked for."""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass, field
from enum import StrEnum
from importlib.metadata import version
from math import isqrt
from typing import Any, ClassVar, Optional

from bench.config import Abilities, Device, Dtype, FrameworkConfig, RunConfig
from bench.errors import MissingExtra, Unavailable, Unsupported, require
from bench.frameworks.base import OnStep, Tokens, refuse_beams
from bench.frameworks.transformers import models, saved
from bench.frameworks.transformers.generate import StepStreamer
from bench.frameworks.transformers.pretrained import TOKENIZER_FILES, lacks_tokenizer
from bench.host import machine
from bench.roofline import ModelShape

_BACKENDS = ("NATIVE", "JIT", "TPP", "IMBPS", "AOCLDLP")
_ATTENTION_BACKENDS = ("JIT", "NATIVE", "SLAB", "PAGED")
OPERATORS = ("Norm", "QKVProjection", "RoPE", "Attention", "OutProjection", "MLP", "LMHead")
# What its kernels execute without asking: on a CPU that lacks them, the process would die of an illegal instruction.
_CPU_FLAGS = ("avx512f", "avx512_bf16")


class KVCacheType(StrEnum):
    BMC = "BMC"
    DYNAMIC = "DYNAMIC"
    SLAB_POOL = "SLAB_POOL"
    PAGED = "PAGED"


@dataclass
class SpecConfig:
    """Speculative decoding by a PARD draft model; greedy search with batch_size=1 only."""

    model_name: Optional[str] = None  # hub id or local folder of the draft; default: no speculation
    num_speculated_tokens: int = 12  # that the draft proposes in each step
    pard_token: Optional[int] = None  # the draft's mask token, where its config.json does not name it


@dataclass
class Settings(FrameworkConfig):
    can: ClassVar[Optional[Abilities]] = Abilities("LLaMA, OPT, Qwen3, Phi-3", speculation="a PARD draft, batch 1", devices="CPU")
    uses_gpus: ClassVar[bool] = False
    kv_cache_type: KVCacheType = KVCacheType.BMC  # how keys and values are kept
    llm_operators: dict[str, str] = field(default_factory=dict)  # {Norm: NATIVE, MLP: TPP, ...}; default: PACE's own choice
    spec_config: SpecConfig = field(default_factory=SpecConfig)

    @property
    def packages(self) -> tuple[str, ...]:
        return "torch", "transformers", "amd-pace"

    @property
    def has_draft(self) -> bool:
        return bool(self.spec_config.model_name)

    def cache_segment(self, total_tokens: int) -> int:
        """BMC cuts the final length into about as many segments as each has tokens (pace/llm/attention/contiguous/cache.py)."""
        return total_tokens // isqrt(total_tokens) if self.kv_cache_type is KVCacheType.BMC else 1

    def check(self, run: RunConfig) -> None:
        for operator, backend in self.llm_operators.items():
            key = f"framework.llm_operators.{operator}"
            require(operator in OPERATORS, key, backend, f"PACE has no such operator; it has {', '.join(OPERATORS)}")
            known = _ATTENTION_BACKENDS if operator == "Attention" else _BACKENDS
            require(backend in known, key, backend, f"choose one of {', '.join(known)}")
        speculated = self.spec_config.num_speculated_tokens
        require(speculated >= 1, "framework.spec_config.num_speculated_tokens", speculated, "must be at least 1")


class Pace:
    def __init__(self, run: RunConfig) -> None:
        assert isinstance(run.framework, Settings)
        self._run = run
        self._settings = run.framework
        self._accepted: float | None = None

    def load(self) -> ModelShape | None:
        refuse_host(machine.cpu_flags(), self._run.hardware.device)
        refuse_dtype(self._run.model.dtype, self._settings.kv_cache_type)
        models.quiet()
        models.use_threads(self._run.hardware)
        config = models.config_of(self._run.model)
        shape = models.counted_shape(config)
        _refuse_model(models.class_name(config), config)
        self._llm = self._load(str(saved.folder_of(self._run.model, self._run.seed)))
        return shape

    def prepare(self, run: RunConfig) -> None:
        """Raises Unsupported for a search that PACE would silently replace by another one."""
        import torch

        refuse_beams(run)
        if self._settings.has_draft and (run.batch_size > 1 or run.generation.do_sample):
            raise Unsupported(
                "PACE speculates for batch_size=1 with greedy search only; set both, or unset framework.spec_config.model_name"
            )
        self._run = run
        torch.manual_seed(run.seed)  # its own seed setting has no effect

    def generate(self, prompts: Tokens, new_tokens: int, on_step: OnStep) -> Tokens:
        import torch
        from pace.llm import SamplingConfig
        from transformers import BatchEncoding

        search = self._run.generation
        ids = torch.from_numpy(prompts)
        self._cut_cache(prompts.shape[1] + new_tokens)
        out = self._llm.generate(
            BatchEncoding({"input_ids": ids, "attention_mask": torch.ones_like(ids)}),
            # ignore_eos keeps the greedy fast path, which min_new_tokens would turn off.
            SamplingConfig(max_new_tokens=new_tokens, ignore_eos=True, do_sample=search.do_sample, **search.drawn),
            StepStreamer(on_step),
        )
        if out.speculative_stats:
            self._accepted = out.speculative_stats.mean_accepted_tokens
        # A step of a draft can overshoot the length; what is too much is cut, what is too little the caller sees.
        tokens: Tokens = out.output_token_ids[:, prompts.shape[1] : prompts.shape[1] + new_tokens].numpy()
        return tokens

    def _cut_cache(self, tokens: int) -> None:
        """Let the cache of a generation of so many tokens grow as that of the whole point would: PACE only knows this variable for it."""
        if "PACE_BMC_NUM_SPLITS" in self._run.hardware.env or self._settings.kv_cache_type is not KVCacheType.BMC:
            return
        os.environ.pop("PACE_BMC_NUM_SPLITS", None)
        if tokens != self._run.total_tokens:
            os.environ["PACE_BMC_NUM_SPLITS"] = str(max(1, tokens // self._settings.cache_segment(self._run.total_tokens)))

    def describe(self) -> dict[str, Any]:
        return {
            **models.surroundings("cpu"),
            "framework_version": version("amd-pace"),
            "backends": _real_backends(self._llm.generator.model),
            "accepted_tokens": self._accepted,  # of a draft, per step, in the last repeat
        }

    def _load(self, folder: str) -> Any:
        from pace.llm import KVCacheType as PaceCache
        from pace.llm import LLMModel

        return LLMModel(
            folder,
            tokenizer_beside(folder, self._run.model.tokenizer),
            dtype=models.torch_dtype(self._run.model.dtype),
            kv_cache_type=PaceCache[self._settings.kv_cache_type],
            spec_config=_draft(self._settings.spec_config),
            opconfig=_operators(self._settings.llm_operators),
            disable_tqdm=True,
        )


def refuse_host(flags: frozenset[str], device: Device) -> None:
    """Raise Unsupported where PACE cannot run, or would die."""
    if device is Device.cuda:
        raise Unsupported("hardware.device=cuda, but PACE runs on CPUs; use hardware=cpu")
    missing = [flag for flag in _CPU_FLAGS if flag not in flags]
    if missing:
        raise Unsupported(
            f"PACE needs a CPU with {' and '.join(_CPU_FLAGS)}, and this one lacks {' and '.join(missing)}; use framework=hf here"
        )
    if importlib.util.find_spec("pace") is None:
        raise MissingExtra("framework=pace", "AMD PACE", "pace")


def refuse_dtype(dtype: Dtype, kv_cache_type: KVCacheType) -> None:
    if dtype is Dtype.fp16:
        raise Unsupported("PACE has no fp16; use model.dtype=bf16, or fp32")
    if dtype is Dtype.fp32 and kv_cache_type is KVCacheType.SLAB_POOL:
        raise Unsupported("PACE keeps a SLAB_POOL cache in bf16 only; use model.dtype=bf16, or framework.kv_cache_type=BMC")


def tokenizer_beside(folder: str, wanted: str | None) -> str | None:
    """PACE loads no model without a tokenizer: the folder's own (None), or else the one that is set. Raises Unavailable."""
    if not lacks_tokenizer(folder):
        return None
    if wanted is None:
        files = ", ".join(TOKENIZER_FILES)
        raise Unavailable(
            f"model.path={folder}: PACE needs a tokenizer, and there is none ({files}); save one there, or set model.tokenizer"
        )
    return wanted


def _refuse_model(wanted: str, config: Any) -> None:
    from pace.llm.models.model_list import models_supported
    from pace.utils.logging import PACELogger

    PACELogger.supressor = True  # it would tell every step on stdout
    if wanted not in models_supported():
        known = ", ".join(sorted(name.removesuffix("ForCausalLM") for name in models_supported() if name.endswith("ForCausalLM")))
        raise Unsupported(f"PACE has no {wanted}, only {known}; use framework=hf for this model")
    rotated = (getattr(config, "rope_parameters", None) or {}).get("partial_rotary_factor")
    if rotated not in (None, 1):
        # It looks for the factor where transformers 5 no longer keeps it, and rotates whole heads.
        raise Unsupported(f"{wanted} rotates {rotated:g} of each head, and PACE would rotate all of it; use framework=hf for this model")


def _operators(wanted: dict[str, str]) -> Any:
    """PACE takes plain strings without complaint, and ignores them: only its own types count."""
    from pace.llm import LLMBackendType, LLMOperatorType, OperatorConfig
    from pace.llm.attention import AttentionBackendType

    kinds = {name: AttentionBackendType if name == "Attention" else LLMBackendType for name in OPERATORS}
    return OperatorConfig(**{LLMOperatorType[name]: kinds[name][backend] for name, backend in wanted.items()})


def _draft(spec: SpecConfig) -> Any:
    if not spec.model_name:
        return None
    from pace.llm import PardSpecDecodeConfig

    return PardSpecDecodeConfig(
        model_name_or_path=spec.model_name, pard_token=spec.pard_token, num_speculative_tokens=spec.num_speculated_tokens
    )


def _real_backends(model: Any) -> dict[str, str]:
    """What runs in the end, by kind of layer: combinations that PACE lacks it replaces silently."""
    found: dict[str, set[str]] = {}
    for module in model.modules():
        if backend := getattr(module, "backend", None) or getattr(module, "_backend", None):
            kernel = getattr(getattr(backend, "_attn_fn", None), "__name__", "")  # attention has one backend for JIT and NATIVE
            found.setdefault(type(module).__name__, set()).add(type(backend).__name__ + kernel)
    return {layer: ", ".join(sorted(backends)) for layer, backends in sorted(found.items())}
