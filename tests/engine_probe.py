"""What an engine computes beside what transformers computes: run by test_engines.py with the interpreter of the engine's environment."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.config import Dtype, FrameworkConfig
from bench.errors import Unsupported
from bench.frameworks import settings_by_name
from bench.frameworks.hf import HuggingFace
from bench.frameworks.hf import Settings as HfSettings
from tests.engines import PROMPTS, SMALL, generated, loaded, point

Logits = NDArray[np.float32]
# vLLM's attention on CPUs has no heads of 16.
MODELS = {family: {**sizes, ("d_model" if family == "mpt" else "hidden_size"): 128} for family, sizes in SMALL.items()}
MODELS["qwen3"]["head_dim"] = 32
MODELS["opt"]["word_embed_proj_dim"] = 128
OTHER_PROMPTS = np.random.default_rng(1).integers(4, 512, PROMPTS.shape)


def of_hf(engine: HuggingFace) -> Logits:
    import torch

    with torch.no_grad():
        return np.asarray(engine._model(torch.from_numpy(PROMPTS)).logits[:, -1].float())


def of_llama_cpp(engine: Any) -> Logits:
    engine.generate(PROMPTS, 1, lambda at_s=None: None)
    return np.ctypeslib.as_array(engine._lib.llama_get_logits(engine._context), (len(PROMPTS), 512)).copy()


def of_vllm(engine: Any) -> Logits:
    from vllm import SamplingParams

    sampling = SamplingParams(temperature=0.0, max_tokens=1, logprobs=-1, detokenize=False)
    names = [f"logits {row}" for row in range(len(PROMPTS))]
    for name, prompt in zip(names, PROMPTS, strict=True):
        engine._engine.add_request(name, {"prompt_token_ids": prompt.tolist()}, sampling)
    found = {}
    while engine._engine.has_unfinished_requests():
        for request in engine._engine.step():
            [logprobs] = request.outputs[0].logprobs
            found[request.request_id] = [logprobs[token].logprob for token in range(512)]
    return np.array([found[name] for name in names], np.float32)


def of_openvino(engine: Any) -> Logits:
    """Of the exported model, since the pipeline tells only the logits of what it chose."""
    import openvino

    compiled = openvino.Core().compile_model(engine._folder / "openvino_model.xml", "CPU", {"INFERENCE_PRECISION_HINT": engine._precision})
    request = compiled.create_infer_request()
    batch, length = PROMPTS.shape
    request.infer(
        {
            "input_ids": PROMPTS,
            "attention_mask": np.ones_like(PROMPTS),
            "position_ids": np.tile(np.arange(length), (batch, 1)),
            "beam_idx": np.arange(batch, dtype=np.int32),
        }
    )
    return np.asarray(request.get_tensor("logits").data[:, -1])


def prepare_vllm() -> None:
    import vllm

    vllm.EngineArgs = partial(vllm.EngineArgs, max_logprobs=-1)


LOGITS: dict[str, Callable[[Any], Logits]] = {"vllm": of_vllm, "llama_cpp": of_llama_cpp, "openvino": of_openvino}


def logprobs(logits: Logits) -> NDArray[np.float64]:
    shifted = logits.astype(np.float64) - logits.max(-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(-1, keepdims=True)))


def compare(settings: FrameworkConfig, family: str, dtype: Dtype) -> dict[str, Any]:
    """The mean and the largest error of the first step's log-probabilities, of the engine and of transformers in this dtype."""
    read = LOGITS[settings.name]
    truth = loaded(point(HfSettings(name="hf"), MODELS[family]))
    rounded = loaded(point(HfSettings(name="hf"), MODELS[family], dtype=dtype))
    engine = loaded(point(settings, MODELS[family], dtype=dtype, threads=2))  # OpenVINO needs two for bf16 with AMX
    exact = logprobs(of_hf(truth))
    first = generated(engine)
    engine.generate(OTHER_PROMPTS, 6, lambda at_s=None: None)
    again = generated(engine)
    errors = {name: np.abs(logprobs(logits) - exact) for name, logits in (("engine", read(engine)), ("hf", of_hf(rounded)))}
    told = engine.describe()
    if settings.name == "vllm":
        engine._stop()
    return {
        "tokens": first[0] == generated(rounded)[0],
        "steps": first[1],
        "no_state": first == again,
        "mean": {name: float(error.mean()) for name, error in errors.items()},
        "largest": {name: float(error.max()) for name, error in errors.items()},
        "told": {key: str(value) for key, value in told.items()},
    }


def main(name: str, out: str, wanted: list[str]) -> None:
    """Each of `wanted` is FAMILY-DTYPE."""
    if name == "vllm":
        prepare_vllm()
    kind = settings_by_name()[name]
    settings = kind(name=name, enforce_eager=True) if name == "vllm" else kind(name=name)  # type: ignore[call-arg]
    found: dict[str, Any] = {}
    for each in wanted:
        family, dtype = each.split("-")
        try:
            found[each] = compare(settings, family, Dtype(dtype))
        except Unsupported as error:
            found[each] = {"refused": str(error)}
    Path(out).write_text(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
