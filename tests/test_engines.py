"""vLLM, llama.cpp and OpenVINO compute what transformers computes, keep nothing from one repeat to the next, and say what they lack.

Each runs in the environment that `make engines` built; where that is not there, its tests are skipped and say so.
"""

from __future__ import annotations

import json
import os
import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest

from bench.config import Decode, Dtype, FrameworkConfig, GenerationConfig, MeasureConfig, RunConfig
from bench.errors import InvalidSetting, MissingEngine, Unavailable, Unsupported
from bench.frameworks import environments, llama_cpp, make_framework, openvino, settings_by_name
from bench.frameworks.failure import JobLost
from bench.frameworks.request_loop import Served, most_prefill_steps, serve
from bench.frameworks.transformers import gguf_header
from bench.host import machine
from bench.host.devices import Slot
from bench.measure.point import Measurement
from bench.results import Status
from bench.worker.resident import ResidentWorker
from tests.conftest import ROOT
from tests.engines import LLAMA, SMALL, measured, point

# What each engine is held against transformers with: FAMILY-DTYPE.
CLAIMS = {
    "vllm": ["llama-fp32", "llama-bf16", "falcon-fp32", "opt-fp32", "mixtral-fp32"],
    "openvino": ["llama-fp32", "llama-bf16", "qwen3-fp32", "falcon-fp32", "opt-fp32"],
    "llama_cpp": ["llama-fp32", "llama-bf16", "qwen3-fp32", "mixtral-fp32", "phi3-fp32"],
}


PYTHONS = {engine: environments.interpreter(engine) for engine in CLAIMS}  # before a test has another cache folder


def needs(engine: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(PYTHONS[engine] is None, reason=f"the environment of {engine} is missing; make engines ENGINES={engine}")


def settings(name: str, **values: Any) -> FrameworkConfig:
    return settings_by_name()[name](name=name, **values)


@pytest.fixture(scope="module")
def probed(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What tests/engine_probe.py finds of an engine, run once."""
    seen: dict[str, Any] = {}

    def found(engine: str) -> dict[str, Any]:
        if engine not in seen:
            folder = tmp_path_factory.mktemp(engine)
            environment = {**os.environ, "XDG_CACHE_HOME": str(folder), "PYTHONPATH": str(ROOT)}
            command = [str(PYTHONS[engine]), "-m", "tests.engine_probe", engine, str(folder / "found.json"), *CLAIMS[engine]]
            ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, env=environment)
            assert ran.returncode == 0, ran.stderr[-3000:]
            seen[engine] = json.loads((folder / "found.json").read_text())
        return dict(seen[engine])

    return found


CASES = [pytest.param(engine, claim, marks=needs(engine)) for engine, claims in CLAIMS.items() for claim in claims]


@pytest.mark.parametrize(("engine", "claim"), CASES)
def test_it_computes_what_transformers_computes_and_keeps_nothing(probed: Any, engine: str, claim: str) -> None:
    """In fp32 to the last bits; in bf16 nearly as exactly as transformers itself. The same prompts again, others between, give the same."""
    found = probed(engine)[claim]
    if refused := found.get("refused", ""):
        assert "on this CPU" in refused
        pytest.skip(refused)
    assert found["no_state"]
    assert found["steps"] == 6
    if claim.endswith("fp32"):
        assert found["tokens"]
        assert found["largest"]["engine"] < 1e-4
    else:
        assert found["mean"]["engine"] < 2 * found["mean"]["hf"]


def in_worker(run: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Measurement:
    """Measured by a worker in the engine's own environment, with an empty cache of models."""
    monkeypatch.setattr(run.framework, "python", str(PYTHONS[run.framework.name]))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return measured(run, tmp_path)


@needs("llama_cpp")
def test_llama_cpp_takes_a_file_of_the_users_and_quantizes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wide = {**LLAMA, "hidden_size": 256, "intermediate_size": 512}
    plain = in_worker(point(settings("llama_cpp"), wide), tmp_path, monkeypatch)
    small = in_worker(point(settings("llama_cpp", quantization=llama_cpp.Quantization.q4_k_m), wide), tmp_path, monkeypatch)
    assert small.engine["weight_bytes"] < 0.5 * plain.engine["weight_bytes"]
    assert small.token_times_s
    assert [len(steps) for steps in small.token_times_s] == [6, 6]
    [file] = (tmp_path / "llm-bench-sweep" / "gguf").glob("*F32.gguf")
    told = gguf_header.architecture(str(file))
    sizes = ("hidden_size", "vocab_size", "num_key_value_heads")
    assert [told[size] for size in sizes] == [wide[size] for size in sizes]
    run = point(settings("llama_cpp"), path=file)
    run.model.architecture = told
    assert in_worker(run, tmp_path, monkeypatch).tokens_digest == plain.tokens_digest


@needs("llama_cpp")
def test_llama_cpp_samples_by_the_seed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = [point(settings("llama_cpp"), generation=GenerationConfig(do_sample=True, temperature=hot)) for hot in (1.0, 1.0, 1.5)]
    first, again, hotter = (in_worker(run, tmp_path, monkeypatch).tokens_digest for run in drawn)
    assert first == again != hotter


@needs("llama_cpp")
def test_llama_cpp_tells_how_many_steps_read_the_prompts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two tokens of each of three sequences fit into a step of eight."""
    seen = in_worker(point(settings("llama_cpp", ubatch=8), batch_size=3), tmp_path, monkeypatch)
    assert seen.engine["prefill_steps"] == 6


@needs("llama_cpp")
def test_more_sequences_than_llama_cpp_is_built_for_are_unsupported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(JobLost, match=r"batch_size=300, but llama\.cpp is built for at most 256 sequences") as lost:
        in_worker(point(settings("llama_cpp"), batch_size=300), tmp_path, monkeypatch)
    assert lost.value.status is Status.unsupported


@needs("openvino")
def test_openvino_compresses_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = in_worker(point(settings("openvino", compression=openvino.Compression.int8)), tmp_path, monkeypatch)
    assert seen.shape
    [file] = (tmp_path / "llm-bench-sweep" / "openvino").glob("*/openvino_model.bin")
    assert file.stat().st_size < 2 * seen.shape.n_params


@needs("openvino")
@pytest.mark.skipif("amx_bf16" not in machine.cpu_flags(), reason="this CPU has no AMX")
def test_one_thread_in_bf16_is_unsupported_where_openvino_would_divide_by_zero(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(JobLost, match="give it two cores") as lost:
        in_worker(point(settings("openvino"), dtype=Dtype.bf16), tmp_path, monkeypatch)
    assert lost.value.status is Status.unsupported
    assert in_worker(point(settings("openvino"), SMALL["opt"], dtype=Dtype.bf16), tmp_path, monkeypatch).engine["threads"] == 1


@pytest.mark.parametrize("engine", [pytest.param(engine, marks=needs(engine)) for engine in CLAIMS])
def test_windows_of_steps_have_the_length_asked_for_and_begin_together(
    engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the prompts of a far one are longer than all that a point reads at once."""
    kind = settings(engine, **({"enforce_eager": True} if engine == "vllm" else {}))
    sizes = {**LLAMA, "hidden_size": 128, "max_position_embeddings": 512}
    measure = MeasureConfig(decode=Decode.sampled, window=4)
    points = [point(kind, sizes, batch_size=4, output_tokens=tokens, measure=measure) for tokens in (101, 401)]
    monkeypatch.setattr(kind, "python", str(PYTHONS[engine]))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    worker = ResidentWorker(points[-1], tmp_path / "log", Slot())
    try:
        worker.load(points[-1])
        line = worker.sample(points, lambda *_: None)
    finally:
        worker.close()
    windows = [window for each in line.passes for window in each.windows]
    assert max(window.prompt_tokens for window in windows) > 400
    assert {len(window.arrived_s) for window in windows} == {points[-1].window_tokens}
    assert line.measurement(points[0]).latencies_s < line.measurement(points[-1]).latencies_s


@needs("vllm")
def test_vllm_reads_prompts_in_chunks_where_it_is_told_to_and_refuses_what_its_cache_does_not_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the row: how many steps the prompts took. A batch that does not fit is out of memory, not a queue."""
    model = {**LLAMA, "hidden_size": 128}
    four_blocks = 4 * 128 * 2 * 2 * 2 * 32 * 4 / 1e9
    four, two = (
        point(settings("vllm", enforce_eager=True, max_num_batched_tokens=16, kv_cache_gb=four_blocks), model, batch_size=batch)
        for batch in (4, 2)
    )
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for run in (four, two):
        monkeypatch.setattr(run.framework, "python", str(PYTHONS["vllm"]))
    worker = ResidentWorker(four, tmp_path / "log", Slot())
    try:
        worker.load(four)
        seen = worker.measure(two, lambda *_: None)
        with pytest.raises(JobLost, match=r"4 blocks of 128 tokens do not fit the 3 of the KV cache; raise framework\.kv_cache_gb") as lost:
            worker.measure(four, lambda *_: None)
    finally:
        worker.close()
    assert seen.engine["prefill_steps"] > 1
    assert seen.token_times_s
    assert [len(steps) for steps in seen.token_times_s] == [6, 6]
    assert lost.value.status is Status.oom


@needs("vllm")
@pytest.mark.parametrize(
    ("settings_values", "family", "status", "told"),
    [
        ({"kv_cache_gb": 1e-6}, LLAMA, Status.oom, r"set framework\.kv_cache_gb between what one sequence needs and what the host has"),
        ({}, {"model_type": "mpt", "d_model": 64, "n_layers": 2, "n_heads": 4, "vocab_size": 512}, Status.unsupported, "MptForCausalLM"),
    ],
)
def test_what_vllm_refuses_is_told_in_its_own_words(
    settings_values: dict[str, Any], family: dict[str, Any], status: Status, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = {**family, "hidden_size": 128} if family is LLAMA else family
    with pytest.raises(JobLost, match=told) as lost:
        in_worker(point(settings("vllm", enforce_eager=True, **settings_values), model), tmp_path, monkeypatch)
    assert lost.value.status is status
    assert "\n" not in lost.value.error


def test_a_search_that_an_engine_lacks_is_refused_before_it_is_asked() -> None:
    for engine in CLAIMS:
        for search, told in (
            (GenerationConfig(num_beams=2), "has no beam search"),
            (GenerationConfig(use_cache=False), "keeps a KV cache"),
        ):
            run = point(settings(engine), generation=search)
            with pytest.raises(Unsupported, match=f"framework={engine} .*{told}"):
                make_framework(run).prepare(run)


@needs("llama_cpp")
@pytest.mark.parametrize(
    ("family", "reason"),
    [
        ({"model_type": "opt", "hidden_size": 64, "word_embed_proj_dim": 64, "num_attention_heads": 4}, "opt is not written as GGUF"),
        ({**LLAMA, "mlp_bias": True}, "biases of llama"),
    ],
)
def test_a_model_that_gguf_lacks_is_unsupported(
    family: dict[str, Any], reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(JobLost, match=reason) as lost:
        in_worker(point(settings("llama_cpp"), family), tmp_path, monkeypatch)
    assert lost.value.status is Status.unsupported


_ENDLESS = b"GGUF" + struct.pack("<IQQQ", 3, 1, 1, 2**60)  # the length of a name
_ARRAYS_OF_ARRAYS = b"GGUF" + struct.pack("<IQQQ1sI", 3, 1, 1, 1, b"x", 9) + 5000 * struct.pack("<IQ", 9, 1)


@pytest.mark.parametrize("content", [b"", b"GGUF\x03", b"PK\x03\x04 something else entirely", _ENDLESS, _ARRAYS_OF_ARRAYS])
def test_a_file_that_is_no_gguf_says_so(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    file.write_bytes(content)
    with pytest.raises(Unsupported, match=r"model\.path=.*model\.gguf"):
        gguf_header.architecture(str(file))


def test_a_gguf_file_that_is_not_there_yet_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"model\.path=.*No such file or directory\); name a file that is there"):
        gguf_header.architecture(str(tmp_path / "model.gguf"))


def test_an_engine_that_is_nowhere_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    absent = settings("llama_cpp")
    monkeypatch.setattr(type(absent), "modules", ("no_such_engine",))
    assert environments.python_of(absent) is None
    with pytest.raises(MissingEngine, match=r"needs no_such_engine, .*make engines ENGINES=llama_cpp"):
        environments.require(absent)


def test_an_environment_that_was_built_is_found_by_itself_and_one_that_is_set_comes_first(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    absent = settings("llama_cpp")
    monkeypatch.setattr(type(absent), "modules", ("no_such_engine",))
    folder = tmp_path / "llm-bench-sweep" / "engines" / "llama_cpp"
    folder.mkdir(parents=True)
    assert environments.python_of(absent) is None  # half of it
    (folder / ".built-0123456789ab").touch()
    assert environments.python_of(absent) == str(folder / "bin" / "python")
    absent.python = "/other/python"
    assert environments.python_of(absent) == "/other/python"
    monkeypatch.setattr(type(absent), "modules", ("json",))
    assert environments.python_of(settings("llama_cpp")) is None


def test_what_the_settings_alone_show_to_be_wrong_stops_the_sweep() -> None:
    with pytest.raises(InvalidSetting, match="ubatch=0"):
        point(settings("llama_cpp", ubatch=0))
    with pytest.raises(InvalidSetting, match="has its own"):
        point(settings("llama_cpp", quantization=llama_cpp.Quantization.q8_0), path="model.gguf")


def served(*steps: dict[int, int], batch: int = 2, new_tokens: int = 3) -> tuple[Served, int]:
    """What becomes of a batch in an engine that gives so many tokens to these rows in each step, and how many steps were told."""
    left = list(steps)
    told: list[float | None] = []
    result = serve(
        lambda: [(row, [7] * count) for row, count in left.pop(0).items()],
        lambda: bool(left),
        batch,
        new_tokens,
        lambda at_s=None: told.append(at_s),
    )
    return result, len(told)


def test_a_batch_that_is_served_whole_takes_a_step_for_each_token() -> None:
    result, told = served({0: 1, 1: 1}, {0: 1, 1: 1}, {0: 1, 1: 1})
    assert (result.tokens.tolist(), result.prefill_steps, result.steps, told) == ([[7] * 3] * 2, 1, 3, 3)


def test_prompts_that_are_read_in_chunks_are_told_and_timed_by_the_slowest_sequence() -> None:
    result, told = served({0: 1}, {0: 1, 1: 1}, {0: 1, 1: 1}, {1: 1})
    assert (result.tokens.shape, result.prefill_steps, result.steps, told) == ((2, 3), 2, 4, 3)


def test_an_engine_that_is_a_step_behind_is_followed() -> None:
    """vLLM's asynchronous scheduling hands over a step's tokens during the next one."""
    result, told = served({}, {0: 1, 1: 1}, {0: 1, 1: 1}, {0: 1, 1: 1})
    assert (result.tokens.shape, result.prefill_steps, told) == ((2, 3), 2, 3)


def test_a_sequence_that_had_to_give_way_is_out_of_memory_and_no_slow_batch() -> None:
    with pytest.raises(MemoryError, match="step 2 left out 1 of 2 sequences: the KV cache does not hold them all"):
        served({0: 1, 1: 1}, {0: 1}, {0: 1, 1: 1}, {1: 1})


def test_too_few_tokens_are_handed_back_as_they_are() -> None:
    result, told = served({0: 1, 1: 1}, {0: 1, 1: 1})
    assert (result.tokens.shape, told) == ((2, 2), 2)
    assert served()[0].tokens.shape == (2, 0)


def test_a_draft_may_give_several_tokens_a_step() -> None:
    result, told = served({0: 1, 1: 1}, {0: 2, 1: 2})
    assert (result.tokens.shape, told) == ((2, 3), 3)


def test_how_many_steps_prompts_may_take_at_most() -> None:
    assert most_prefill_steps(16, 128, 16 * 128 + 16) == 1
    assert most_prefill_steps(16, 128, 512) == 5
