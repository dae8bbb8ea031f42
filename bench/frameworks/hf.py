"""Hugging Face transformers on the CPU, a GPU, or ranks by its own plan: `generate` as shipped, or a bare decoding loop."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Any, ClassVar, Optional

import numpy as np

from bench.config import Abilities, FrameworkConfig, GenerationConfig, ModelConfig, RunConfig, Weights
from bench.errors import Unsupported, require
from bench.frameworks.base import Framework, OnStep, Tokens
from bench.frameworks.transformers import decode_loop, models, tp_plan
from bench.frameworks.transformers.generate import generate
from bench.frameworks.transformers.parallel import Parallel, enter, join
from bench.frameworks.transformers.quantize import BYTES_PER_WEIGHT, Quantization, quantize, stored_bytes
from bench.frameworks.transformers.routing import busiest_share
from bench.roofline import ModelShape


class Attention(StrEnum):
    auto = "auto"
    eager = "eager"
    sdpa = "sdpa"
    flash_attention_2 = "flash_attention_2"
    flex_attention = "flex_attention"


class Cache(StrEnum):
    dynamic = "dynamic"  # grows with each step
    static = "static"  # allocated once, at its final size


class Loop(StrEnum):
    generate = "generate"  # as shipped
    decode_loop = "decode_loop"  # greedy, without the bookkeeping of generate


@dataclass
class Settings(FrameworkConfig):
    can: ClassVar[Optional[Abilities]] = Abilities(
        "all of transformers'", beams="yes", tp="by transformers' plan", quantization="int8, int4", speculation="a draft, batch 1"
    )
    attention: Attention = Attention.auto  # auto: what transformers prefers for this model
    cache: Cache = Cache.dynamic  # the KV cache
    compile: bool = False  # torch.compile of the decoding step, during warm-up; needs cache=static
    quantization: Quantization = Quantization.none  # weight-only, by torchao
    loop: Loop = Loop.generate  # generate: as shipped; decode_loop: greedy, without its bookkeeping
    draft: Optional[str] = None  # hub id or folder of a smaller model that proposes tokens; batch_size=1 only
    tp: int = 1  # ranks that share each layer, by the plan that transformers has for the model; needs accelerate

    @property
    def packages(self) -> tuple[str, ...]:
        used = {
            "accelerate": self.tp > 1,
            "flash-attn": self.attention is Attention.flash_attention_2,
            "torchao": self.quantization is not Quantization.none,
        }
        return "torch", "transformers", *(name for name, is_used in used.items() if is_used)

    @property
    def has_draft(self) -> bool:
        return bool(self.draft)

    def cache_segment(self, total_tokens: int) -> int:
        return total_tokens if self.cache is Cache.static else 1

    @property
    def bytes_per_weight(self) -> float | None:
        return BYTES_PER_WEIGHT.get(self.quantization)

    def check(self, run: RunConfig) -> None:
        problem = "with a growing cache, every step would be compiled anew; set framework.cache=static"
        require(not self.compile or self.cache is Cache.static, "framework.compile", True, problem)
        problem = "only generate can use a draft; set framework.loop=generate"
        require(not self.draft or self.loop is Loop.generate, "framework.draft", self.draft, problem)
        is_plain = not (self.compile or self.draft or self.quantization is not Quantization.none)
        require(
            self.tp == 1 or is_plain, "framework.tp", self.tp, "ranks have no compile, quantization or draft; unset it, or use one rank"
        )


def engine(run: RunConfig) -> Framework:
    assert isinstance(run.framework, Settings)
    tp = run.framework.tp
    return HuggingFace(run) if tp == 1 else Parallel(partial(HuggingFace, run), tp, partial(tp_plan.refuse, run, tp))


class HuggingFace:
    def __init__(self, run: RunConfig, store: str = "", rank: int = 0) -> None:
        """With framework.tp, one of several `rank`s that meet in the file `store`."""
        assert isinstance(run.framework, Settings)
        self._run = run
        self._settings = run.framework
        self._store, self._rank = store, rank
        self._model: Any = None
        self._draft: Any = None
        self._last: tuple[Tokens, Tokens] | None = None  # prompts and what was generated
        self._cache: Any = None

    def load(self) -> ModelShape | None:
        models.quiet()
        self._device = enter(self._run, self._settings.tp, self._rank)
        options = _attention(self._settings.attention, self._device)
        if self._settings.tp > 1:
            join(self._settings.tp, self._rank, self._store)
            self._model = tp_plan.build(self._run, **options)
            self._n_params = models.count_on_meta(models.config_of(self._run.model))
        else:
            self._model = models.build(self._run.model, self._device, self._run.seed, **options)
            self._n_params = models.count(self._model)
        self._shape = models.shape_from(self._model.config, self._n_params)
        if self._settings.quantization is not Quantization.none:
            quantize(self._model, self._settings.quantization, self._device)
        if self._settings.draft:
            self._draft = self._load_draft(self._settings.draft)
        if self._settings.compile and self._settings.loop is Loop.decode_loop:
            import torch

            self._model.forward = torch.compile(self._model.forward)
        return self._shape

    def prepare(self, run: RunConfig) -> None:
        import torch

        if self._settings.loop is Loop.decode_loop:
            decode_loop.refuse(run.generation)
        if self._draft is not None and (run.batch_size > 1 or run.generation.num_beams > 1):
            raise Unsupported("a draft helps one sequence without beams; set batch_size=1 and num_beams=1, or unset framework.draft")
        # What the point before left behind must not decide how fast this one is: a static cache of its length, graphs compiled for it.
        vars(self._model).pop("_cache", None)
        if self._settings.compile:
            torch._dynamo.reset()
        self._run, self._cache, self._last = run, None, None
        torch.manual_seed(run.seed)

    def generate(self, prompts: Tokens, new_tokens: int, on_step: OnStep) -> Tokens:
        if self._settings.loop is Loop.decode_loop:
            cache = self._static_cache() if self._settings.cache is Cache.static else None
            tokens = decode_loop.decode(self._model, prompts, new_tokens, on_step, cache)
        else:
            tokens = generate(self._model, prompts, new_tokens, on_step, self._run, **self._options(self._run.generation))
        self._last = prompts, tokens
        return tokens

    def describe(self) -> dict[str, Any]:
        import transformers

        told = {
            **models.surroundings(self._device),
            "framework_version": transformers.__version__,
            "n_params": self._n_params,
            "attention": self._model.config._attn_implementation,
            "weight_bytes": sum(stored_bytes(models.held(parameter.data)) for parameter in self._model.parameters()),
        }
        if self._settings.tp > 1:
            return {**told, "shard_params": models.count(self._model)}
        return {**told, "busiest_expert": self._busiest_expert()}

    def _busiest_expert(self) -> float | None:
        if self._last is None or self._shape is None or self._shape.experts is None:
            return None
        return busiest_share(self._model, np.concatenate(self._last, axis=1), self._shape.experts.active)

    def _options(self, generation: GenerationConfig) -> dict[str, Any]:
        """Keywords of `generate`: without disable_compile, it compiles on GPUs unasked as soon as the cache is static."""
        from transformers import CompileConfig

        options: dict[str, Any] = {"assistant_model": self._draft} if self._draft is not None else {}
        if self._settings.cache is Cache.static and generation.use_cache:
            ours = generation.num_beams == 1 and self._draft is None
            options |= {"past_key_values": self._static_cache()} if ours else {"cache_implementation": "static"}
            options["disable_compile"] = not self._settings.compile
        if self._settings.compile:
            options["compile_config"] = everywhere = CompileConfig()
            everywhere._compile_all_devices = True
        return options

    def _static_cache(self) -> Any:
        """A cache as long as this point asks for, kept from repeat to repeat: a window of steps attends to as much as the point's."""
        import torch
        from transformers import StaticCache

        if self._cache is None:
            self._cache = StaticCache(config=self._model.config.get_text_config(decoder=True), max_cache_len=self._run.total_tokens - 1)
        elif self._cache.layers[0].is_initialized:
            with torch.inference_mode():  # in which the bare loop made its tensors
                self._cache.reset()
        return self._cache

    def _load_draft(self, path: str) -> Any:
        model = ModelConfig(name=path, weights=Weights.pretrained, path=path, dtype=self._run.model.dtype)
        draft = models.build(model, self._device, self._run.seed)
        ours, theirs = (one.config.get_text_config().vocab_size for one in (self._model, draft))
        if ours != theirs:
            raise Unsupported(f"framework.draft={path} has {theirs} tokens and the model {ours}; choose a draft of the same vocabulary")
        return draft


def _attention(wanted: Attention, device: str) -> dict[str, str]:
    if wanted is Attention.flex_attention and device == "cpu":
        # Seen with torch 2.13: cur_kvSplitSize0 is used in the C++ that inductor writes, and declared nowhere.
        raise Unsupported("framework.attention=flex_attention, but the code that torch generates of it for CPUs does not compile; use sdpa")
    return {} if wanted is Attention.auto else {"attn_implementation": str(wanted)}
