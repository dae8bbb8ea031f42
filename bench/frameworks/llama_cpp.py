"""llama.cpp through the low-level functions of llama-cpp-python: all sequences of the batch in each llama_decode."""

from __future__ import annotations

import ctypes
import os
from collections import deque
from dataclasses import dataclass, replace
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar, Optional

import numpy as np

from bench.config import Abilities, Device, Dtype, FrameworkConfig, RunConfig
from bench.errors import Unsupported, require
from bench.frameworks.base import OnStep, Tokens, refuse_beams
from bench.frameworks.failure import out_of_memory
from bench.frameworks.llama_interface import LlamaBatch, listen, sampler
from bench.frameworks.transformers import gguf_header, models, saved, to_gguf
from bench.host import machine
from bench.roofline import ModelShape, shape_of

_GGML_TYPES = {"F32": 0, "F16": 1, "Q8_0": 8, "BF16": 30}  # ggml.h
_CELLS = 256  # llama.cpp rounds the context of a sequence up to a multiple of it
_INSTEAD = "change what it names, or use framework=hf"
_NO_SLOT = 1  # what llama_decode returns where its KV cache is full


class Quantization(StrEnum):
    none = "none"  # the model's dtype
    q8_0 = "q8_0"
    q6_k = "q6_k"
    q5_k_m = "q5_k_m"
    q4_k_m = "q4_k_m"
    q4_0 = "q4_0"


class KVCache(StrEnum):
    model = "model"  # the model's dtype
    f16 = "f16"  # llama.cpp's own default
    q8_0 = "q8_0"  # needs flash attention


@dataclass
class Settings(FrameworkConfig):
    can: ClassVar[Optional[Abilities]] = Abilities(
        "LLaMA, Mistral, Mixtral, Qwen2, Qwen3, Phi-3, and any GGUF file", quantization="q8_0, q6_k, q5_k_m, q4_k_m, q4_0"
    )
    modules: ClassVar[tuple[str, ...]] = ("llama_cpp", "gguf")
    quantization: Quantization = Quantization.none  # of the weights, by llama.cpp; a GGUF file of your own keeps its own
    kv_cache: KVCache = KVCache.model  # precision of keys and values
    flash_attention: Optional[bool] = None  # default: llama.cpp's choice; on with kv_cache=q8_0, else off in fp32, where it is less exact
    ubatch: int = 512  # prompt tokens that are computed at once; llama.cpp splits a larger batch
    gpu_layers: Optional[int] = None  # layers on the GPU; default: all, where the library is built for one

    @property
    def packages(self) -> tuple[str, ...]:
        return ("llama-cpp-python",)

    @property
    def reads_every_weight(self) -> bool:
        return self.quantization is Quantization.none

    def check(self, run: RunConfig) -> None:
        require(self.ubatch >= 1, "framework.ubatch", self.ubatch, "must be at least 1; it is a number of tokens")
        fits = self.quantization is Quantization.none or not gguf_header.is_gguf(run.model.path)
        require(fits, "framework.quantization", self.quantization, "model.path is a GGUF file, which has its own; leave it out")


class LlamaCpp:
    def __init__(self, run: RunConfig) -> None:
        assert isinstance(run.framework, Settings)
        self._run = run
        self._settings = run.framework
        self._context: Any = None
        self._sampler: Any = None
        self._said: deque[str] = deque(maxlen=3)  # the last warnings and errors of the library

    def load(self) -> ModelShape | None:
        import llama_cpp

        self._lib = llama_cpp
        self._listener = listen(llama_cpp, self._said)
        llama_cpp.llama_backend_init()
        file, shape = self._file()
        options = self._lib.llama_model_default_params()
        options.n_gpu_layers = self._gpu_layers = self._layers_on_gpu()
        self._model = self._lib.llama_model_load_from_file(str(file).encode(), options)
        if not self._model:
            self._refuse(f"llama.cpp cannot load {file}", "name another file" if gguf_header.is_gguf(self._run.model.path) else _INSTEAD)
        n_params, stored = self._lib.llama_model_n_params(self._model), self._lib.llama_model_size(self._model)
        quantized = self._settings.quantization is not Quantization.none or gguf_header.is_gguf(self._run.model.path)
        return shape and replace(shape, n_params=n_params, bytes_per_weight=stored / n_params if quantized else None)

    def prepare(self, run: RunConfig) -> None:
        """A new context for each point, since its cache has a fixed size: milliseconds, and the model stays loaded."""
        refuse_beams(run)
        self._free()
        lib, threads = self._lib, run.hardware.threads or len(os.sched_getaffinity(0))
        if run.batch_size > (most := lib.llama_max_parallel_sequences()):
            raise Unsupported(f"batch_size={run.batch_size}, but llama.cpp is built for at most {most} sequences; use a smaller batch")
        options = lib.llama_context_default_params()
        options.n_seq_max = run.batch_size
        options.n_ctx = run.batch_size * -(-run.total_tokens // _CELLS) * _CELLS
        options.n_batch = run.batch_size * run.total_tokens  # a window of steps may begin with a longer prompt than the point's own
        options.n_ubatch = min(self._settings.ubatch, options.n_batch)
        options.n_threads = options.n_threads_batch = threads
        options.type_k = options.type_v = _GGML_TYPES[self._kv_type()]
        options.kv_unified = False  # each sequence has cells of its own, as attention reads no other's
        flash, by_default = self._settings.flash_attention, 0 if run.model.dtype is Dtype.fp32 else -1
        options.flash_attn_type = int(self._settings.kv_cache is KVCache.q8_0) or by_default if flash is None else int(flash)
        self._said.clear()
        self._context = lib.llama_init_from_model(self._model, options)
        if not self._context:
            self._refuse("llama.cpp makes no context for this point")
        self._sampler = sampler(lib, run.generation, run.seed)
        self._run, self._threads = run, threads

    def generate(self, prompts: Tokens, new_tokens: int, on_step: OnStep) -> Tokens:
        lib, (batch, length) = self._lib, prompts.shape
        lib.llama_memory_clear(lib.llama_get_memory(self._context), False)  # what it holds is forgotten, not overwritten
        step, one = LlamaBatch(lib, batch, length), LlamaBatch(lib, batch, 1)
        out = np.empty((batch, new_tokens), np.int64)
        step.fill(prompts, 0)
        for i in range(new_tokens):
            if code := lib.llama_decode(self._context, step.c):
                raise MemoryError("llama.cpp's KV cache is full") if code == _NO_SLOT else RuntimeError(f"llama_decode returned {code}")
            out[:, i] = [lib.llama_sampler_sample(self._sampler, self._context, end) for end in step.ends]
            on_step()
            step = one
            step.fill(out[:, i], length + i)
        return out

    def describe(self) -> dict[str, Any]:
        lib, told = self._lib, ctypes.create_string_buffer(128)
        lib.llama_model_desc(self._model, told, 128)
        ubatch, batch = lib.llama_n_ubatch(self._context), self._run.batch_size
        return {
            "framework_version": version("llama-cpp-python"),
            "device": (machine.describe().gpu or "gpu") if self._gpu_layers else "cpu",
            "threads": self._threads,
            "model": told.value.decode(),
            "weight_bytes": lib.llama_model_size(self._model),
            "kv_cache": f"{self._kv_type()}, {lib.llama_n_ctx(self._context)} tokens",
            "ubatch": ubatch,
            # A step takes equally many tokens of each sequence, since each has a cache of its own; null where it takes some of them only.
            "prefill_steps": -(-self._run.input_tokens // (ubatch // batch)) if batch <= ubatch else None,
            "gpu_layers": self._gpu_layers,
            "system": lib.llama_print_system_info().decode().strip(),
        }

    def _file(self) -> tuple[Path, ModelShape | None]:
        """The GGUF file, written from the same weights that other engines get. Raises Unsupported."""
        model, seed, quantization = self._run.model, self._run.seed, self._settings.quantization
        if gguf_header.is_gguf(model.path):
            return Path(str(model.path)), shape_of(gguf_header.architecture(str(model.path)))
        models.quiet()
        config = models.config_of(model)
        file, what = to_gguf.file_of(model, config, seed)
        if quantization is not Quantization.none:
            name, what = f"{config.model_type}-{{}}-{quantization}.gguf", {**what, "by": version("llama-cpp-python")}
            plain = file
            file = saved.made_once("gguf", name, what, lambda path: self._quantize(plain, path))
        return file, models.counted_shape(config)

    def _quantize(self, plain: Path, path: Path) -> None:
        options = self._lib.llama_model_quantize_default_params()
        options.ftype = getattr(self._lib, f"LLAMA_FTYPE_MOSTLY_{self._settings.quantization.upper()}")
        if self._lib.llama_model_quantize(str(plain).encode(), str(path).encode(), options):
            self._refuse(f"llama.cpp cannot quantize {self._run.model.name} to {self._settings.quantization}")

    def _kv_type(self) -> str:
        kind = self._settings.kv_cache
        return to_gguf.KINDS[self._run.model.dtype] if kind is KVCache.model else kind.upper()

    def _layers_on_gpu(self) -> int:
        has_gpu, wanted = self._lib.llama_supports_gpu_offload(), self._run.hardware.device
        if wanted is Device.cuda and not has_gpu:
            raise Unsupported("hardware.device=cuda, but this llama-cpp-python is built for CPUs; build it for CUDA, or use hardware=cpu")
        everything = 1 << 16
        return 0 if wanted is Device.cpu or not has_gpu else everything if self._settings.gpu_layers is None else self._settings.gpu_layers

    def _refuse(self, problem: str, remedy: str = _INSTEAD) -> None:
        """Raise MemoryError or Unsupported, with what the library said last."""
        said = "; ".join(self._said) or "it does not say why"
        if out_of_memory(said):
            raise MemoryError(f"{problem}: {said}")
        raise Unsupported(f"{problem}: {said}; {remedy}")

    def _free(self) -> None:
        if self._context:
            self._lib.llama_free(self._context)
            self._lib.llama_sampler_free(self._sampler)
        self._context = None
