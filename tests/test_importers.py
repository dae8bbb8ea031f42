"""Foreign configurations: every key is carried over or named, and what comes out is a sweep that runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from bench import sweep
from bench.config import Dtype, PromptSource, RunConfig, Weights
from bench.errors import BenchError, InvalidSetting
from bench.frameworks.deepspeed_tp import Settings as DeepSpeed
from bench.frameworks.pace import Settings as Pace
from bench.importers import convert, with_sweep_from_file
from bench.importers.named_sweep import NamedSweep
from tests.conftest import Command

# The keys and values of llm-foundry's scripts/inference/benchmarking/yamls/7b.yaml, with its older and newer places.
FOUNDRY: dict[str, Any] = {
    "benchmark_name": "MosaicDeepspeed_1xA100-40GB-bf16-GPT-7B",
    "max_seq_len": 2048,
    "tokenizer_name": "EleutherAI/gpt-neox-20b",
    "tokenizer": {"name": "${tokenizer_name}", "kwargs": {"model_max_length": "${max_seq_len}"}},
    "model": {
        "name": "mpt_causal_lm",
        "init_device": "cpu",
        "tokenizer_name": "${tokenizer_name}",
        "d_model": 4096,
        "n_heads": 32,
        "n_layers": 32,
        "max_seq_len": "${max_seq_len}",
        "vocab_size": 50368,
        "init_std": 0.02,
        "attn_pdrop": 0.0,
        "resid_pdrop": 0.0,
        "emb_pdrop": 0.0,
        "attn_config": {"attn_impl": "triton"},
        "ffn_config": {"expansion_ratio": 4},
    },
    "device": None,
    "model_dtype": "bf16",
    "autocast_dtype": None,
    "use_deepspeed": False,
    "batch_sizes": [1, 2, 4, 8, 16, 32, 64],
    "input_lengths": [128],
    "output_lengths": [8],
    "use_cache": True,
    "num_batches": 5,
    "num_warmup_batches": 3,
}
# The example of AMD PACE's benchmark documentation.
PACE: dict[str, Any] = {
    "frameworks": ["pace", "hf"],
    "model_args": {
        "model_name": "meta-llama/Llama-3.1-8B",
        "dtype": "bf16",
        "llm_operators": {"Norm": "NATIVE", "QKVProjection": "TPP", "Attention": "JIT", "LMHead": "TPP"},
        "spec_config": {"model_name": "amd/PARD-Llama-3.2-1B", "num_speculated_tokens": 12},
    },
    "use_real_data": True,
    "generation_args": {
        "input_tokens": 128,
        "output_tokens": 128,
        "batch_size": 1,
        "num_beams": 1,
        "kv_cache_type": "BMC",
        "do_sample": False,
        "manual_seed": 0,
    },
    "warmup_runs": 2,
    "num_runs": 5,
    "visualize": False,
    "verbose": True,
    "output_dir": "./benchmark_results",
    "token_metrics": {"time_to_first_token": False, "time_per_tokens": False},
    "system_metrics": False,
}


def changed(content: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A copy; a dict among the changes is merged, and None in it removes a key."""
    copy = json.loads(json.dumps(content))
    for key, value in changes.items():
        if isinstance(value, dict):
            merged = {**copy.get(key, {}), **value}
            copy[key] = {name: part for name, part in merged.items() if part is not None}
        else:
            copy[key] = value
    return dict(copy)


def write(folder: Path, content: dict[str, Any]) -> Path:
    file = folder / ("old.json" if "frameworks" in content else "old.yaml")
    file.write_text(json.dumps(content) if file.suffix == ".json" else OmegaConf.to_yaml(OmegaConf.create(content)))
    return file


def points_of(folder: Path, content: dict[str, Any], *typed: str) -> tuple[list[RunConfig], list[str]]:
    """The points of the sweep that this becomes, and what is told of it."""
    told: list[str] = []
    arguments = with_sweep_from_file([f"+from={write(folder, content)}"], folder, told.extend)
    return sweep.points(*arguments, *typed), told


def test_an_llm_foundry_file_keeps_its_grid_its_model_and_its_repeats(tmp_path: Path) -> None:
    points, told = points_of(tmp_path, FOUNDRY)
    assert [point.batch_size for point in points] == [1, 2, 4, 8, 16, 32, 64]
    point = points[0]
    assert (point.input_tokens, point.output_tokens, point.num_runs, point.warmup_runs) == (128, 8, 5, 3)
    assert (point.model.name, point.model.dtype, point.model.tokenizer) == ("MPT-7B", Dtype.bf16, "EleutherAI/gpt-neox-20b")
    architecture = {"model_type": "mpt", "d_model": 4096, "n_heads": 32, "n_layers": 32, "expansion_ratio": 4, "vocab_size": 50368}
    assert architecture.items() <= point.model.architecture.items()
    assert (point.framework.name, point.hardware.device, point.generation.use_cache) == ("hf", "auto", True)
    assert point.name == FOUNDRY["benchmark_name"]
    assert not any("unknown" in note for note in told)


def test_what_cannot_be_carried_over_is_told_and_stands_in_the_file(tmp_path: Path) -> None:
    content = changed(
        FOUNDRY, model={"attn_config": {"attn_impl": "triton", "qk_ln": True}, "flux": 1}, autocast_dtype="bf16", mystery=[1, 2]
    )
    converted = convert(write(tmp_path, content))
    for key in ("attn_impl=triton", "qk_ln=true", "autocast_dtype=bf16", "num_batches=5", "init_std=0.02", "model_max_length"):
        assert any(key in note for note in converted.notes), key
    assert [note for note in converted.notes if "unknown" in note] == [
        "model.flux=1: an unknown key, so it is left out",
        "mystery=[1, 2]: an unknown key, so it is left out",
    ]
    assert all(f"#   {note}" in converted.as_yaml() for note in converted.notes)


def test_another_size_gets_a_name_that_tells_it(tmp_path: Path) -> None:
    points, _ = points_of(tmp_path, changed(FOUNDRY, model={"n_layers": 16, "d_model": 2048, "n_heads": 16}))
    assert points[0].model.name == "MPT-908M"


def test_devices_and_deepspeed_are_carried_over(tmp_path: Path) -> None:
    points, told = points_of(tmp_path, changed(FOUNDRY, device="cuda:1", use_deepspeed=True, output_lengths=[1, 11]))
    assert isinstance(points[0].framework, DeepSpeed)
    assert points[0].hardware.device == "cuda"
    assert len(points) == 14
    assert any("CUDA_VISIBLE_DEVICES=1" in note for note in told)
    assert any("fused kernels" in note for note in told)


@pytest.mark.parametrize(("pretrained", "weights", "name"), [(True, "pretrained", "tiiuae/falcon-7b"), (False, "random", "Falcon-7B")])
def test_a_hub_model_of_llm_foundry_is_pretrained_or_has_our_architecture(
    tmp_path: Path, pretrained: bool, weights: str, name: str
) -> None:
    model = {"name": "hf_causal_lm", "pretrained_model_name_or_path": "tiiuae/falcon-7b", "pretrained": pretrained}
    points, _ = points_of(tmp_path, {**FOUNDRY, "model": model})
    assert (points[0].model.weights, points[0].model.name) == (weights, name)


def test_a_hub_model_that_is_not_known_is_loaded_with_its_weights_and_that_is_told(tmp_path: Path) -> None:
    model = {"name": "hf_causal_lm", "pretrained_model_name_or_path": "someone/something", "pretrained": False}
    [point], told = points_of(tmp_path, {**FOUNDRY, "model": model, "batch_sizes": [1], "benchmark_name": "two words"})
    assert (point.model.weights, point.model.path, point.name) == (Weights.pretrained, "someone/something", "two-words")
    assert any("model.pretrained=false" in note for note in told)
    assert "two words: is called two-words here, as its folder of results" in told


def test_a_pace_file_compares_frameworks_and_only_pace_gets_its_settings(tmp_path: Path) -> None:
    points, told = points_of(tmp_path, PACE)
    pace, hf = points
    assert isinstance(pace.framework, Pace)
    assert pace.framework.kv_cache_type == "BMC"
    assert pace.framework.llm_operators == PACE["model_args"]["llm_operators"]
    assert pace.framework.spec_config.model_name == "amd/PARD-Llama-3.2-1B"
    assert hf.framework.name == "hf"
    for point in points:
        assert (point.batch_size, point.input_tokens, point.output_tokens, point.num_runs, point.warmup_runs) == (1, 128, 128, 5, 2)
        assert (point.model.weights, point.model.path) == (Weights.pretrained, "meta-llama/Llama-3.1-8B")
        assert (point.data.source, point.hardware.device, point.seed) == (PromptSource.prose, "cpu", 0)
        assert (point.measure.token_times, point.measure.system_metrics, point.report) == (False, False, False)
        assert point.output_dir == "./benchmark_results/old"
    assert not any("unknown" in note for note in told)


def test_what_is_typed_comes_before_what_a_file_says_of_a_part_of_its_grid(tmp_path: Path) -> None:
    points, _ = points_of(tmp_path, PACE, "framework=pace", "framework.kv_cache_type=DYNAMIC")
    (tmp_path / "forced").mkdir()
    forced, _ = points_of(tmp_path / "forced", PACE, "framework=pace", "++framework.kv_cache_type=DYNAMIC")
    points += forced
    assert [point.framework.kv_cache_type for point in points if isinstance(point.framework, Pace)] == ["DYNAMIC", "DYNAMIC"]


def test_a_pace_file_whose_draft_is_null_has_none(tmp_path: Path) -> None:
    points, _ = points_of(tmp_path, changed(PACE, model_args={"spec_config": {"model_name": None}}))
    assert {point.model.weights for point in points} == {Weights.random}


def test_a_file_name_writes_nothing_into_its_sweep(tmp_path: Path) -> None:
    sweep = NamedSweep("x", "odd\nframework: {python: /x}\n.json, a benchmark configuration of AMD PACE")
    assert "python" not in OmegaConf.create(sweep.as_yaml())
    assert "framework" not in OmegaConf.create(sweep.as_yaml())


def test_a_pace_file_of_a_newer_version_with_other_spellings_is_read_too(tmp_path: Path) -> None:
    content = changed(
        PACE,
        frameworks=["vllm", "pace"],
        model_args={"model_name": "Qwen/Qwen3-0.6B", "llm_operators": {"qkvprojection": "tpp"}, "spec_config": None},
        generation_args={"num_beams": None, "kv_cache_type": "SLAB_POOL", "priority": 3},
        token_metrics={"time_to_first_token": True},
    )
    del content["visualize"]
    [point], told = points_of(tmp_path, content)
    assert isinstance(point.framework, Pace)
    assert (point.framework.kv_cache_type, point.framework.llm_operators) == ("SLAB_POOL", {"QKVProjection": "TPP"})
    assert (point.model.name, point.model.weights, point.measure.token_times) == ("Qwen3-0.6B", Weights.random, True)
    assert any(note.startswith("frameworks=vllm:") for note in told)
    assert "generation_args.priority=3: an unknown key, so it is left out" in told


def test_settings_that_no_chosen_framework_has_are_named(tmp_path: Path) -> None:
    _, told = points_of(tmp_path, changed(PACE, frameworks="hf"))
    assert "framework.kv_cache_type=BMC: only pace has it" in told


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"lr": 1, "epochs": 2}, r"no benchmark configuration .* by its keys: lr, epochs"),
        (changed(FOUNDRY, model={"name": "hf_t5"}), r"model.name=hf_t5: .*mpt_causal_lm"),
        (changed(PACE, frameworks=["vllm"]), r"frameworks=vllm: none of them can be measured here"),
        (changed(PACE, model_args={"model_name": None}), r"model_args.model_name=None: is missing"),
    ],
)
def test_a_file_that_says_too_little_is_refused_with_the_reason(tmp_path: Path, content: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidSetting, match=message):
        convert(write(tmp_path, content))


def test_a_value_that_makes_no_sense_here_is_found_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match=r"2100 is more than the 2048 positions"):
        points_of(tmp_path, changed(FOUNDRY, input_lengths=[2092]))


def test_a_foreign_file_runs_as_it_is_and_what_is_typed_replaces_it(tmp_path: Path, bench_run: Command) -> None:
    write(tmp_path, FOUNDRY)
    run = bench_run("+from=old.yaml", "framework=fake", "batch_size=1,2", "ceilings=false", "report=false")
    assert run.returncode == 0, run.stderr
    assert "2/2 ok" in run.stdout
    assert "attn_impl=triton" in run.stderr
    assert f"rows are in outputs/{FOUNDRY['benchmark_name']}" in run.stdout
    assert len(list((tmp_path / "outputs" / FOUNDRY["benchmark_name"] / "rows").glob("*.parquet"))) == 2


def test_a_named_sweep_runs_from_anywhere(tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text("# @package _global_\nname: mine\nhydra:\n  sweeper:\n    params:\n      batch_size: 1,2,4,...,16\n")
    arguments = with_sweep_from_file(["batch_size=1,3", f"+from={mine}"], tmp_path / "made")
    assert [point.batch_size for point in sweep.points(*arguments)] == [1, 3]
