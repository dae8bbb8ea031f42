"""Every variant of the hf framework computes the same model, tells what it used, and refuses what is not there."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from bench.config import DataConfig, Dtype, GenerationConfig, PromptSource, RunConfig
from bench.errors import InvalidSetting, MissingExtra, Unavailable, Unsupported
from bench.frameworks.failure import JobLost
from bench.frameworks.hf import Attention, Cache, HuggingFace, Loop, Settings, engine
from bench.frameworks.transformers.pretrained import explained
from bench.frameworks.transformers.quantize import Quantization
from bench.measure.point import Measurement, measure
from bench.measure.workload import prompts_for
from bench.results import Status
from tests.conftest import Command
from tests.engines import LLAMA, NEW_TOKENS, PROMPTS, SMALL, generated, loaded, measured, point, save_pretrained, sharded_logits

torch = pytest.importorskip("torch", reason="the hf framework needs torch")
pytest.importorskip("transformers", reason="the hf framework needs transformers")

WIDE = {**LLAMA, "hidden_size": 128}  # int4 packs rows of 32 and needs 16 of them
needs_torchao = pytest.mark.skipif(importlib.util.find_spec("torchao") is None, reason="torchao is missing; pip install torchao")


def hf(**settings: Any) -> Settings:
    return Settings(name="hf", **settings)


@pytest.mark.parametrize("family", SMALL)
def test_random_weights_give_a_working_model_of_each_family(family: str) -> None:
    """The same logits as a model that transformers built itself and that took over these weights: no buffer is garbage."""
    ours = loaded(point(hf(), SMALL[family]))._model
    theirs = type(ours)(ours.config).eval()
    theirs.load_state_dict(ours.state_dict())
    ids = torch.from_numpy(PROMPTS)
    with torch.no_grad():
        assert torch.allclose(ours(ids).logits, theirs(ids).logits, atol=1e-5)
        assert ours(ids).logits.std() > 0.1


@pytest.mark.parametrize("cache", Cache)
@pytest.mark.parametrize("family", SMALL)
def test_both_loops_and_caches_generate_the_same_tokens(family: str, cache: Cache) -> None:
    shipped = generated(loaded(point(hf(), SMALL[family])))
    assert shipped[1] == NEW_TOKENS
    assert generated(loaded(point(hf(cache=cache), SMALL[family]))) == shipped
    assert generated(loaded(point(hf(cache=cache, loop=Loop.decode_loop), SMALL[family]))) == shipped


def test_the_attention_that_was_used_is_told() -> None:
    eager, sdpa = (loaded(point(hf(attention=attention))) for attention in (Attention.eager, Attention.sdpa))
    assert (eager.describe()["attention"], sdpa.describe()["attention"]) == ("eager", "sdpa")
    assert generated(eager) == generated(sdpa)


@pytest.mark.parametrize(
    ("family", "attention", "reason"),
    [
        ("mpt", Attention.sdpa, "scaled_dot_product_attention"),
        ("llama", Attention.flash_attention_2, "FlashAttention2"),
        ("llama", Attention.flex_attention, "does not compile"),
    ],
)
def test_an_attention_that_is_not_there_is_unsupported(family: str, attention: Attention, reason: str) -> None:
    if attention is Attention.flash_attention_2 and importlib.util.find_spec("flash_attn"):
        pytest.skip("flash_attn is installed")
    with pytest.raises(Unsupported, match=reason):
        loaded(point(hf(attention=attention), SMALL[family]))


@needs_torchao
@pytest.mark.filterwarnings("ignore")  # torchao warns about itself
@pytest.mark.parametrize(("kind", "error", "share"), [(Quantization.int8, 0.1, 0.75), (Quantization.int4, 0.5, 0.65)])
def test_quantized_weights_take_less_and_compute_nearly_the_same(kind: Quantization, error: float, share: float) -> None:
    whole, quantized = (loaded(point(hf(quantization=wanted), WIDE, dtype=Dtype.bf16)) for wanted in (Quantization.none, kind))
    ids = torch.from_numpy(PROMPTS)
    with torch.no_grad():
        expected, got = (engine._model(ids).logits.float() for engine in (whole, quantized))
    assert 0 < (got - expected).abs().mean() / expected.abs().mean() < error
    assert quantized.describe()["weight_bytes"] < share * whole.describe()["weight_bytes"]
    assert generated(quantized)[1] == NEW_TOKENS


@needs_torchao
@pytest.mark.filterwarnings("ignore")
def test_layers_that_cannot_be_quantized_are_not_passed_over() -> None:
    odd = {**LLAMA, "hidden_size": 80, "num_attention_heads": 4, "num_key_value_heads": 4}
    with pytest.raises(Unsupported, match="multiple of 32"):
        loaded(point(hf(quantization=Quantization.int4), odd, dtype=Dtype.bf16))


def test_a_compiled_step_generates_the_same_tokens(tmp_path: Path) -> None:
    compiled = measured(point(hf(cache=Cache.static, compile=True)), tmp_path)
    assert compiled.tokens_digest == measured(point(hf()), tmp_path).tokens_digest


def test_a_draft_changes_no_token(tmp_path: Path) -> None:
    draft = save_pretrained(tmp_path / "draft", {**LLAMA, "num_hidden_layers": 1}, vocab_size=512)
    plain, drafted = (loaded(point(hf(draft=path), batch_size=1)) for path in (None, str(draft)))
    assert generated(drafted, batch_size=1)[0] == generated(plain, batch_size=1)[0]


def test_a_draft_of_another_vocabulary_or_for_a_batch_is_unsupported(tmp_path: Path) -> None:
    draft = str(save_pretrained(tmp_path / "draft", vocab_size=8192))
    with pytest.raises(Unsupported, match="has 8192 tokens and the model 512"):
        loaded(point(hf(draft=draft), batch_size=1))
    same = str(save_pretrained(tmp_path / "same", vocab_size=512))
    with pytest.raises(Unsupported, match="set batch_size=1"):
        loaded(point(hf(draft=same), batch_size=2))


def test_beams_and_sampling_give_exactly_the_asked_tokens() -> None:
    beams = GenerationConfig(num_beams=3)
    assert generated(loaded(point(hf(), generation=beams)))[1] == 0  # a beam's tokens are only known at the end
    sampled = point(hf(), generation=GenerationConfig(do_sample=True))
    first, second = (generated(loaded(sampled)) for _ in range(2))
    assert first == second
    assert first[1] == NEW_TOKENS


def test_the_bare_loop_refuses_any_search_but_greedy() -> None:
    for generation in (GenerationConfig(do_sample=True), GenerationConfig(num_beams=2), GenerationConfig(use_cache=False)):
        with pytest.raises(Unsupported, match="decodes greedily"):
            loaded(point(hf(loop=Loop.decode_loop), generation=generation))


needs_accelerate = pytest.mark.skipif(
    importlib.util.find_spec("accelerate") is None, reason="accelerate is missing; install the extra plan"
)


@needs_accelerate
def test_two_ranks_by_the_plan_of_transformers_compute_the_logits_of_the_whole_model_from_shards(tmp_path: Path) -> None:
    found = sharded_logits(tmp_path, "hf", 2)
    assert set(found) == {"llama", "qwen3", "mixtral", "phi3"}
    for shards in found.values():
        assert shards["scale"] > 1
        assert shards["error"] < 1e-4
        assert 0.5 <= shards["held"] < 0.85  # embeddings are held whole, and are much of so small a model


@needs_accelerate
def test_ranks_by_the_plan_of_transformers_are_measured_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    plain, split = (measured(point(settings), tmp_path) for settings in (hf(), hf(tp=2)))
    assert split.tokens_digest == plain.tokens_digest
    assert split.shape == plain.shape
    assert split.token_times_s is not None
    assert plain.shape is not None
    assert max(split.engine["shard_params"]) < plain.shape.n_params


@needs_accelerate
@pytest.mark.parametrize("family", ["mpt", "opt", "falcon"])
def test_a_plan_that_would_only_replicate_is_refused(family: str) -> None:
    with pytest.raises(Unsupported, match="would give every rank the whole model"):
        engine(point(hf(tp=2), SMALL[family])).load()


def test_without_accelerate_ranks_are_unavailable_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"pip install 'llm-bench-sweep\[plan\]'"):
        engine(point(hf(tp=2))).load()


def test_ceilings_are_not_held_against_what_reads_fewer_bytes() -> None:
    assert hf().reads_every_weight
    assert not hf(quantization=Quantization.int8).reads_every_weight
    assert not hf(draft="small").reads_every_weight


def test_settings_that_contradict_each_other_stop_before_anything_is_loaded() -> None:
    with pytest.raises(InvalidSetting, match=r"set framework\.cache=static"):
        point(hf(compile=True))
    with pytest.raises(InvalidSetting, match=r"framework\.tp=0"):
        point(hf(tp=0))
    with pytest.raises(InvalidSetting, match="ranks have no compile"):
        point(hf(tp=2, quantization=Quantization.int8))
    with pytest.raises(InvalidSetting, match="only generate can use a draft"):
        point(hf(draft="x", loop=Loop.decode_loop))


def test_a_folder_is_loaded_offline_with_its_own_weights_and_tokenizer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    folder = save_pretrained(tmp_path / "model")
    seen = measured(point(hf(), path=folder), tmp_path)
    assert seen.shape is not None
    assert seen.shape.vocab == 8192
    assert len(seen.latencies_s) == 2


@pytest.mark.parametrize(
    ("missing", "reason"), [("config.json", "no config.json"), ("model.safetensors", "no weights"), ("", "there is no such folder")]
)
def test_a_folder_that_lacks_something_says_what(missing: str, reason: str, tmp_path: Path) -> None:
    folder = tmp_path / "nothing"
    if missing:
        folder = save_pretrained(tmp_path / "model")
        (folder / missing).unlink()
    with pytest.raises(Unavailable, match=reason):
        loaded(point(hf(), path=folder))


def test_a_hub_model_without_a_network_is_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "empty"))
    with pytest.raises(JobLost, match="the hub cannot be reached or has no such model") as lost:
        measured(point(hf(), path="nobody/no-such-model"), tmp_path)
    assert lost.value.status is Status.unavailable


def test_a_gated_model_says_how_to_get_at_it() -> None:
    model = point(hf(), path="meta-llama/Llama-3.1-8B").model
    with pytest.raises(Unavailable, match=r"gated; accept its terms on huggingface\.co/meta-llama/Llama-3\.1-8B"), explained(model):
        raise OSError("You are trying to access a gated repo.\nMake sure to have access to it")


def test_running_out_of_memory_while_loading_is_not_taken_for_a_missing_model() -> None:
    model = point(hf(), path="meta-llama/Llama-3.1-8B").model
    with pytest.raises(RuntimeError, match="allocate"), explained(model):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")


def test_a_folder_brings_its_own_positions_and_they_are_checked_before_loading(tmp_path: Path, bench_run: Command) -> None:
    folder = save_pretrained(tmp_path / "model")
    too_long = ("model=pretrained", f"model.path={folder}", "input_tokens=300", "output_tokens=2", "hardware=cpu", "report=false")
    refused = bench_run(*too_long)
    assert "302 is more than the 256 positions" in refused.stderr
    (folder / "config.json").rename(folder / "config.old")
    assert "no config.json" in bench_run(*too_long).stdout  # not known before loading: a row


def test_positions_that_are_only_known_after_loading_are_checked_then(tmp_path: Path) -> None:
    run = point(hf(), path=save_pretrained(tmp_path / "model"), input_tokens=300)
    engine = HuggingFace(run)
    shape = engine.load()
    with pytest.raises(Unsupported, match="more than the 256 positions"):
        measure(run, engine, shape, load_s=0.0, on_repeat=lambda *_: None)


def test_a_folder_without_a_tokenizer_says_so(tmp_path: Path) -> None:
    folder = save_pretrained(tmp_path / "model")
    for file in folder.glob("tokenizer*"):
        file.unlink()
    with pytest.raises(InvalidSetting, match=r"model\.tokenizer=.* cannot be loaded"):
        prompts_for(point(hf(), path=folder, data=DataConfig(PromptSource.prose)))


def test_a_pretrained_model_without_a_path_says_what_to_set(bench_run: Command) -> None:
    assert "set model.path to a hub id or a local folder" in bench_run("model=pretrained").stderr


@pytest.mark.parametrize("loop", Loop)
def test_a_static_cache_is_allocated_once_for_all_repeats_of_a_point(loop: Loop) -> None:
    engine = loaded(point(hf(cache=Cache.static, loop=loop)))
    first, cache = generated(engine), engine._cache
    assert generated(engine) == first
    assert engine._cache is cache


def test_nothing_of_the_point_before_is_left_when_the_next_one_starts() -> None:
    engine = loaded(point(hf(cache=Cache.static)))
    lengths = []
    for new_tokens in (40, 4):
        engine.prepare(point(hf(cache=Cache.static), input_tokens=PROMPTS.shape[1], output_tokens=new_tokens))
        engine.generate(PROMPTS, new_tokens, lambda at_s=None: None)
        lengths.append(engine._cache.layers[0].max_cache_len)
    assert lengths == [PROMPTS.shape[1] + new_tokens - 1 for new_tokens in (40, 4)]


def test_the_routing_of_experts_is_looked_at_and_flagged_where_it_is_lopsided() -> None:
    engine = loaded(point(hf(), SMALL["mixtral"]))
    assert engine.describe()["busiest_expert"] is None
    generated(engine)
    even = engine.describe()["busiest_expert"]
    assert 1 / 4 <= even <= 1 / 2  # two of four for each token
    for name, parameter in engine._model.named_parameters():
        if "gate.weight" in name:
            parameter.data[1:] = 0  # every token's first choice is now the same or a tie
    seen = measured_here(engine, point(hf(), SMALL["mixtral"]))
    assert seen.engine["busiest_expert"] > even


def measured_here(engine: Any, run: RunConfig) -> Measurement:
    return measure(run, engine, engine._shape, load_s=0.0, on_repeat=lambda *_: None)
