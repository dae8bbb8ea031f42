"""OpenVINO GenAI's continuous batching on CPUs, stepped by us: prompts of the whole batch in the first step, then one token each."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar, Optional

import numpy as np

from bench.config import Abilities, Device, Dtype, FrameworkConfig, RunConfig
from bench.errors import Unsupported
from bench.frameworks.base import OnStep, Tokens, refuse_beams
from bench.frameworks.failure import out_of_memory
from bench.frameworks.transformers import models, saved
from bench.host import machine
from bench.roofline import ModelShape

_PRECISIONS = {Dtype.fp32: "f32", Dtype.bf16: "bf16", Dtype.fp16: "f16"}
_NO_LIMIT = 1 << 20  # tokens and sequences of a step: whatever the batch, every prompt is read in the first one
_BYTES = {"int8": 1.0, "int4": 0.5}


class Compression(StrEnum):
    none = "none"  # the model's dtype
    int8 = "int8"
    int4 = "int4"  # in groups of 32


class KVCache(StrEnum):
    model = "model"  # the model's dtype
    u8 = "u8"  # OpenVINO's own default


@dataclass
class Settings(FrameworkConfig):
    can: ClassVar[Optional[Abilities]] = Abilities(
        "LLaMA, Qwen3, Falcon, OPT, Phi-3, and what else has sdpa attention", quantization="int8, int4", devices="CPU"
    )
    modules: ClassVar[tuple[str, ...]] = ("openvino", "openvino_genai")
    uses_gpus: ClassVar[bool] = False
    compression: Compression = Compression.none  # of the weights, by nncf
    kv_cache: KVCache = KVCache.model  # precision of keys and values

    @property
    def packages(self) -> tuple[str, ...]:
        return "openvino", "openvino-genai", *(("nncf",) if self.compression is not Compression.none else ())

    @property
    def bytes_per_weight(self) -> float | None:
        return _BYTES.get(self.compression)


class OpenVino:
    def __init__(self, run: RunConfig) -> None:
        assert isinstance(run.framework, Settings)
        self._run = run
        self._settings = run.framework
        self._asked = 0  # requests so far: each needs a number of its own

    def load(self) -> ModelShape | None:
        import openvino

        model = self._run.model
        if self._run.hardware.device is Device.cuda:
            raise Unsupported("hardware.device=cuda, but OpenVINO has no CUDA; use hardware=cpu")
        if model.dtype.upper() not in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            raise Unsupported(f"model.dtype={model.dtype}, but OpenVINO does not compute in it on this CPU; use model.dtype=fp32")
        models.quiet()
        self._folder = self._exported()
        self._precision = _PRECISIONS[model.dtype]
        self._properties = {
            "INFERENCE_PRECISION_HINT": self._precision,
            "KV_CACHE_PRECISION": self._precision if self._settings.kv_cache is KVCache.model else "u8",
            "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0",  # else it rounds activations to int8 where weights are
            **({"INFERENCE_NUM_THREADS": str(self._run.hardware.threads)} if self._run.hardware.threads else {}),
        }
        self._threads = _threads_used(self._properties)
        self._refuse_one_thread_with_amx()
        self._pipeline = self._start()
        shape = models.counted_shape(models.config_of(model))
        return shape and replace(shape, bytes_per_weight=self._settings.bytes_per_weight)

    def prepare(self, run: RunConfig) -> None:
        refuse_beams(run)
        from openvino_genai import GenerationConfig

        search = run.generation
        asked = GenerationConfig(ignore_eos=True, do_sample=search.do_sample, rng_seed=run.seed)
        asked.set_eos_token_id(0)  # it wants one, to ignore it
        if search.do_sample:
            asked.temperature, asked.top_p, asked.top_k = search.temperature, search.top_p, search.top_k or 2**31
        self._asking = asked

    def generate(self, prompts: Tokens, new_tokens: int, on_step: OnStep) -> Tokens:
        import openvino

        pipeline, first = self._pipeline, self._asked
        self._asked += len(prompts)
        self._asking.max_new_tokens = new_tokens  # a window of steps generates fewer than the point
        handles = [
            pipeline.add_request(first + row, openvino.Tensor(prompts[row : row + 1].copy()), self._asking) for row in range(len(prompts))
        ]
        for number in range(1, new_tokens + 1):
            self._step()
            # What was chosen is on the host now, and read at the end: to ask each sequence would cost a hundredth of a short step.
            served = pipeline.get_metrics().scheduled_requests
            if served < len(prompts):
                raise MemoryError(f"step {number} served {served} of {len(prompts)} sequences: the KV cache does not hold them all")
            on_step()
        if pipeline.has_non_finished_requests():  # then read_all would wait for more
            raise RuntimeError(f"OpenVINO has not finished after {new_tokens} steps, though each step gives each sequence a token")
        return np.array([handle.read_all()[0].generated_ids for handle in handles], np.int64)

    def _step(self) -> None:
        try:
            self._pipeline.step()
        except RuntimeError as error:
            if out_of_memory(str(error)):
                raise MemoryError("OpenVINO cannot allocate what this batch needs; take a smaller one, or shorter prompts") from error
            raise

    def describe(self) -> dict[str, Any]:
        cache = self._pipeline.get_metrics()
        return {
            "framework_version": version("openvino-genai"),
            "openvino": version("openvino"),
            "device": "cpu",
            "threads": self._threads,
            "properties": self._properties,
            "kv_cache_bytes": getattr(cache, "kv_cache_size_in_bytes", None),
            "prefill_steps": 1,  # checked each time
        }

    def _refuse_one_thread_with_amx(self) -> None:
        """Its kernel for gated MLPs divides by half of the threads (2026.4.1): with one, the process would end with SIGFPE."""
        from bench.frameworks.transformers.to_openvino import MODEL

        model = self._run.model
        has_kernel = f"amx_{model.dtype}" in machine.cpu_flags() and self._settings.compression is Compression.none
        # Phi-3's gate_up_proj does not get this kernel.
        if has_kernel and self._threads == 1 and "gate_proj" in (self._folder / MODEL).read_text():
            raise Unsupported(
                f"OpenVINO would use one thread, and its {model.dtype} kernel for gated MLPs on this CPU, which has AMX, divides by half "
                "of the threads; give it two cores and leave hardware.threads out, or use model.dtype=fp32"
            )

    def _exported(self) -> Path:
        from bench.frameworks.transformers import to_openvino

        model, seed, compress = self._run.model, self._run.seed, self._settings.compression
        what = {**saved.identity(model, seed), "compression": str(compress), "by": version("openvino"), "writer": to_openvino.VERSION}

        def write(folder: Path) -> None:
            to_openvino.write(models.build(model, "cpu", seed), folder, None if compress is Compression.none else str(compress))

        return saved.made_once("openvino", f"{model.family or 'model'}-{{}}", what, write)

    def _start(self) -> Any:
        from openvino_genai import ContinuousBatchingPipeline, SchedulerConfig

        scheduler = SchedulerConfig()  # a cache of size 0 grows as it is needed
        scheduler.enable_prefix_caching = scheduler.dynamic_split_fuse = False
        scheduler.max_num_batched_tokens = scheduler.max_num_seqs = _NO_LIMIT
        try:
            return ContinuousBatchingPipeline(str(self._folder), scheduler, "CPU", self._properties)
        except RuntimeError as error:
            if out_of_memory(str(error)):
                raise MemoryError("OpenVINO cannot allocate what this model needs; raise hardware.memory_limit_gb") from error
            if "SDPAToPagedAttention" not in str(error):
                raise
            raise Unsupported("OpenVINO's paged attention takes models with sdpa attention only; use framework=hf for this one") from error


def _threads_used(properties: dict[str, str]) -> int:
    """OpenVINO's own number, whatever is asked for: only a compiled model tells."""
    from openvino import Core, Model, opset13

    number = opset13.parameter([1], np.float32)
    compiled = Core().compile_model(Model([opset13.add(number, number)], [number]), "CPU", properties)
    return int(compiled.get_property("INFERENCE_NUM_THREADS"))
