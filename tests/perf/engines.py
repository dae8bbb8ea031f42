"""What an engine's adapter costs: our generate over the engine's own bare loop, in the engine's environment, in turns."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from itertools import count
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

from bench.frameworks import environments, settings_by_name
from bench.frameworks.base import Tokens
from tests.engines import LLAMA, loaded, point
from tests.perf.figures import ROOT, Extra, Figure, extra_of

# About 10 ms a token on one thread of a server.
MODEL = {**LLAMA, "vocab_size": 8192, "hidden_size": 512, "intermediate_size": 1376, "num_hidden_layers": 6, "num_attention_heads": 8}
BATCH, PROMPT_TOKENS, NEW_TOKENS = 4, 16, 17
TURNS = 28  # short and many: what else the host does comes and goes in seconds
MOST = 0.01


def adapters() -> list[Figure]:
    """For each engine that `make engines` has built."""
    return [figure for name in BARE for figure in _figures(name)]


def _figures(name: str) -> list[Figure]:
    python = environments.interpreter(name)
    if python is None:
        return [Figure(f"{name}: its environment is missing; make engines ENGINES={name}", "not measured")]
    command = [str(python), "-m", "tests.perf.engines", name]
    ran = subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    if ran.returncode:  # the other figures took half an hour
        return [Figure(f"{name}: failed, {ran.stderr.strip()[-300:]}", "not measured", "", False)]
    told = json.loads(next(line for line in ran.stdout.splitlines() if line.startswith("{")))
    extra, noise = Extra(**told["extra"]), Extra(**told["noise"])
    own, more = told["own"], told["own"] - told["bare_own"]
    at = f"{told['token_ms']:.1f} ms a token, batch {BATCH}"
    return [
        Figure(
            f"{name}: time outside the engine's own calls, over that of its bare loop", f"{more:+.2%} (of {own:.2%})", "≤ 1 %", more <= MOST
        ),
        Figure(f"latency of {name} over its bare loop, at {at}", str(extra), *_bound(extra, noise)),
        Figure(f"bare loop of {name} over itself (noise)", str(noise)),
    ]


def _bound(extra: Extra, noise: Extra) -> tuple[str, bool | None]:
    """Kept or not where the whole interval says so; on a busy host it is wider than the bound."""
    bound, _ = extra.bound(MOST, noise)
    low, high = extra.low - noise.median, extra.high - noise.median
    return (bound, high <= MOST) if high <= MOST or low > MOST else (f"{bound}: can't tell", None)


def bare_vllm(adapter: Any) -> Callable[[Tokens], int]:
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    engine, names = adapter._engine, count()
    sampling = SamplingParams(
        temperature=0.0, max_tokens=NEW_TOKENS, ignore_eos=True, detokenize=False, output_kind=RequestOutputKind.DELTA
    )

    def generate(prompts: Tokens) -> int:
        for prompt in prompts:
            engine.add_request(f"bare {next(names)}", {"prompt_token_ids": prompt.tolist()}, sampling)
        tokens = 0
        while engine.has_unfinished_requests():
            for request in engine.step():
                tokens += len(request.outputs[0].token_ids)
        return tokens

    return generate


def bare_openvino(adapter: Any) -> Callable[[Tokens], int]:
    """Its own loop, in C++."""
    import openvino
    from openvino_genai import GenerationConfig

    asked = GenerationConfig(max_new_tokens=NEW_TOKENS, ignore_eos=True)
    asked.set_eos_token_id(0)

    def generate(prompts: Tokens) -> int:
        tensors = [openvino.Tensor(prompt[None].copy()) for prompt in prompts]
        results = adapter._pipeline.generate(tensors, [asked] * len(tensors))
        return sum(len(result.m_generation_ids[0]) for result in results)

    return generate


def bare_llama_cpp(adapter: Any) -> Callable[[Tokens], int]:
    """As examples/batched of llama.cpp has it."""
    context, lib = adapter._context, adapter._lib
    sampler = lib.llama_sampler_chain_init(lib.llama_sampler_chain_default_params())
    lib.llama_sampler_chain_add(sampler, lib.llama_sampler_init_greedy())
    batch = lib.llama_batch_init(BATCH * PROMPT_TOKENS, 0, 1)

    def add(token: int, position: int, row: int, wanted: bool) -> None:
        place = batch.n_tokens
        batch.token[place], batch.pos[place], batch.logits[place] = token, position, wanted
        batch.n_seq_id[place], batch.seq_id[place][0] = 1, row
        batch.n_tokens += 1

    def generate(prompts: Tokens) -> int:
        lib.llama_memory_clear(lib.llama_get_memory(context), False)
        batch.n_tokens, tokens = 0, 0
        for row, prompt in enumerate(prompts.tolist()):
            for position, token in enumerate(prompt):
                add(token, position, row, position == PROMPT_TOKENS - 1)
        places = list(range(PROMPT_TOKENS - 1, BATCH * PROMPT_TOKENS, PROMPT_TOKENS))
        for position in range(PROMPT_TOKENS, PROMPT_TOKENS + NEW_TOKENS):
            assert lib.llama_decode(context, batch) == 0
            chosen = [lib.llama_sampler_sample(sampler, context, place) for place in places]
            batch.n_tokens, places = 0, list(range(BATCH))
            for row, token in enumerate(chosen):
                add(token, position, row, True)
            tokens += len(chosen)
        return tokens

    return generate


BARE: dict[str, Callable[[Any], Callable[[Tokens], int]]] = {
    "vllm": bare_vllm,
    "llama_cpp": bare_llama_cpp,
    "openvino": bare_openvino,
}


# Where an adapter keeps its engine, and what it calls of it while a batch runs.
ENGINE = {"vllm": "_engine", "llama_cpp": "_lib", "openvino": "_pipeline"}
CALLS = {"add_request", "step", "llama_decode", "llama_sampler_sample", "llama_memory_clear", "generate"}


class _Timed:
    """Stands for an engine, and adds up how long its calls take."""

    def __init__(self, engine: Any) -> None:
        self.engine, self.spent_s = engine, 0.0

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.engine, name)
        return partial(self._call, found) if name in CALLS else found

    def _call(self, function: Callable[..., Any], *given: Any, **named: Any) -> Any:
        started = perf_counter()
        try:
            return function(*given, **named)
        finally:
            self.spent_s += perf_counter() - started


def own_share(name: str, adapter: Any, time_it: Callable[[Any], Callable[[], float]]) -> float:
    """What part of a generate is spent outside the engine's calls: a busy host disturbs it far less than it does the latency."""
    engine = getattr(adapter, ENGINE[name])
    timed = _Timed(engine)
    setattr(adapter, ENGINE[name], timed)
    timed_s, shares = time_it(adapter), []
    for _ in range(TURNS):
        timed.spent_s = 0.0
        spent_s = timed_s()
        shares.append(1 - timed.spent_s / spent_s)
    setattr(adapter, ENGINE[name], engine)
    return median(shares)


def _bare_s(generate: Callable[[Tokens], int], prompts: Tokens) -> float:
    started = perf_counter()
    tokens = generate(prompts)
    spent_s = perf_counter() - started
    assert tokens == BATCH * NEW_TOKENS
    return spent_s


def _our_s(adapter: Any, prompts: Tokens) -> float:
    step_s: list[float] = []
    started = perf_counter()
    adapter.generate(prompts, NEW_TOKENS, lambda at_s=None: step_s.append(perf_counter() - started))
    spent_s = perf_counter() - started
    assert len(step_s) == NEW_TOKENS
    return spent_s


def main(name: str) -> None:
    values = {"enforce_eager": True} if name == "vllm" else {}  # compiling would take minutes, and the adapter has no part in it
    settings = settings_by_name()[name](name=name, **values)  # type: ignore[arg-type]
    adapter = loaded(point(settings, MODEL, batch_size=BATCH, input_tokens=PROMPT_TOKENS, output_tokens=NEW_TOKENS))
    prompts = np.random.default_rng(0).integers(4, 8192, (BATCH, PROMPT_TOKENS))
    ours, bare = partial(_our_s, adapter, prompts), partial(_bare_s, BARE[name](adapter), prompts)
    gc.freeze()
    token_s = median([ours() and bare() for _ in range(3)]) / NEW_TOKENS
    own = own_share(name, adapter, lambda adapter: ours)
    bare_own = own_share(name, adapter, lambda adapter: partial(_bare_s, BARE[name](adapter), prompts))
    told = {
        "token_ms": 1e3 * token_s,
        "own": own,
        "bare_own": bare_own,
        "extra": asdict(extra_of(ours, bare, TURNS)),
        "noise": asdict(extra_of(bare, bare, TURNS)),
    }
    print(json.dumps(told), flush=True)
    if name == "vllm":
        adapter._stop()


if __name__ == "__main__":
    main(sys.argv[1])
