"""PACE computes what transformers computes, says what really ran, and refuses what it would silently change."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.config import Device, Dtype, GenerationConfig
from bench.errors import InvalidSetting, MissingExtra, Unsupported
from bench.frameworks import pace
from bench.frameworks.failure import JobLost
from bench.frameworks.pace import KVCacheType, Pace, Settings, SpecConfig
from bench.host import machine
from bench.results import Status
from tests.engines import measured, point
from tests.pace_probe import FAMILIES

LACKING = [flag for flag in ("avx512f", "avx512_bf16") if flag not in machine.cpu_flags()]
needs_pace = pytest.mark.skipif(
    bool(LACKING) or importlib.util.find_spec("pace") is None,
    reason=f"this CPU lacks {' and '.join(LACKING)}" if LACKING else "amd-pace is missing; install the extra pace",
)


def settings(**values: Any) -> Settings:
    return Settings(name="pace", **values)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("pace")
    environment = {**os.environ, "XDG_CACHE_HOME": str(folder / "cache")}
    command = [sys.executable, "-m", "tests.pace_probe", str(folder / "found.json")]
    subprocess.run(command, check=True, capture_output=True, timeout=120, env=environment)
    told: dict[str, Any] = json.loads((folder / "found.json").read_text())
    return told


@needs_pace
@pytest.mark.parametrize("family", FAMILIES)
def test_in_fp32_it_computes_and_generates_what_transformers_does(found: dict[str, Any], family: str) -> None:
    assert found["families"][family]["error_fp32"] < 1e-4
    assert found["families"][family]["same_tokens"]
    assert found["families"][family]["steps"] == 6


@needs_pace
@pytest.mark.parametrize("family", FAMILIES)
def test_in_bf16_it_is_nearly_as_exact_as_transformers(found: dict[str, Any], family: str) -> None:
    error = found["families"][family]["error_bf16"]
    assert 0 < error["pace"] < 2 * error["hf"]


@needs_pace
def test_every_cache_gives_the_asked_number_of_tokens_and_is_really_used(found: dict[str, Any]) -> None:
    assert [cache["shape"] for cache in found["caches"].values()] == [[2, 6]] * 4
    attention = {kind: cache["backends"]["Attention"] for kind, cache in found["caches"].items()}
    assert "Slab" in attention["SLAB_POOL"]
    assert "Paged" in attention["PAGED"]
    assert "Contiguous" in attention["BMC"]


@needs_pace
def test_the_row_tells_which_backends_ran(found: dict[str, Any]) -> None:
    assert found["operators"]["RMSNorm"] == "NativeRMSNorm"
    assert found["operators"]["FusedQKVLinear"] == "TPPLinear"
    assert found["caches"]["BMC"]["backends"]["RMSNorm"] == "JITRMSNorm"


@needs_pace
def test_a_draft_model_changes_no_token_and_its_accepted_tokens_are_told(found: dict[str, Any]) -> None:
    assert found["speculation"]["same_tokens"]
    assert found["speculation"]["accepted"] >= 1


@needs_pace
def test_a_model_is_saved_once_and_found_again(found: dict[str, Any]) -> None:
    one_per_family_and_dtype, wide = 2 * len(FAMILIES), 1
    assert found["saved_models"] == one_per_family_and_dtype + wide


@needs_pace
def test_a_point_runs_in_a_worker_with_a_time_for_every_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    seen = measured(point(settings(), dtype=Dtype.bf16), tmp_path)
    assert seen.token_times_s is not None
    assert [len(steps) for steps in seen.token_times_s] == [6, 6]
    assert seen.engine["framework_version"]


@needs_pace
@pytest.mark.parametrize(
    ("architecture", "reason"),
    [
        ({"model_type": "mpt", "d_model": 64, "n_layers": 2, "n_heads": 4, "vocab_size": 512}, "PACE has no MptForCausalLM, only"),
        (
            {"model_type": "phi3", "hidden_size": 64, "num_attention_heads": 4, "partial_rotary_factor": 0.5, "pad_token_id": 0},
            r"rotates 0\.5 of each head",
        ),
    ],
)
def test_a_model_that_it_lacks_is_unsupported(architecture: dict[str, Any], reason: str, tmp_path: Path) -> None:
    with pytest.raises(JobLost, match=reason) as lost:
        measured(point(settings(), architecture), tmp_path)
    assert lost.value.status is Status.unsupported


def test_a_cpu_without_its_instructions_is_refused_before_anything_is_imported() -> None:
    with pytest.raises(Unsupported, match="this one lacks avx512_bf16; use framework=hf"):
        pace.refuse_host(frozenset({"avx2", "avx512f"}), Device.auto)


def test_the_instructions_of_a_cpu_are_read_from_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    told = {"/proc/cpuinfo": "processor\t: 0\nflags\t\t: fpu avx2 avx512f\n\nprocessor\t: 1\nflags\t\t: fpu\n"}
    monkeypatch.setattr(machine, "read", lambda path: told.get(path, ""))
    assert machine.cpu_flags() == {"fpu", "avx2", "avx512f"}
    told.clear()
    assert machine.cpu_flags() == frozenset()


def test_without_the_extra_the_point_is_unavailable_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"pip install 'llm-bench-sweep\[pace\]'"):
        pace.refuse_host(frozenset({"avx512f", "avx512_bf16"}), Device.auto)


def test_a_gpu_is_refused() -> None:
    with pytest.raises(Unsupported, match="PACE runs on CPUs"):
        pace.refuse_host(frozenset({"avx512f", "avx512_bf16"}), Device.cuda)


def test_dtypes_that_it_lacks_are_refused() -> None:
    with pytest.raises(Unsupported, match="no fp16"):
        pace.refuse_dtype(Dtype.fp16, KVCacheType.BMC)
    with pytest.raises(Unsupported, match="SLAB_POOL cache in bf16 only"):
        pace.refuse_dtype(Dtype.fp32, KVCacheType.SLAB_POOL)


@pytest.mark.parametrize(
    ("generation", "batch_size", "reason"),
    [
        (GenerationConfig(num_beams=4), 1, "no beam search"),
        (GenerationConfig(use_cache=False), 1, "always keeps a KV cache"),
        (GenerationConfig(), 2, "speculates for batch_size=1"),
        (GenerationConfig(do_sample=True), 1, "with greedy search only"),
    ],
)
def test_a_search_that_it_would_replace_is_refused(generation: GenerationConfig, batch_size: int, reason: str) -> None:
    run = point(settings(spec_config=SpecConfig(model_name="draft")), generation=generation, batch_size=batch_size)
    with pytest.raises(Unsupported, match=reason):
        Pace(run).prepare(run)


def test_a_misspelt_operator_or_backend_is_an_invalid_setting() -> None:
    with pytest.raises(InvalidSetting, match="no such operator; it has Norm, QKVProjection"):
        point(settings(llm_operators={"norm": "NATIVE"}))
    with pytest.raises(InvalidSetting, match="choose one of JIT, NATIVE, SLAB, PAGED"):
        point(settings(llm_operators={"Attention": "TPP"}))
    with pytest.raises(InvalidSetting, match="num_speculated_tokens=0"):
        point(settings(spec_config=SpecConfig(num_speculated_tokens=0)))
