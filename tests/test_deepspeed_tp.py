"""DeepSpeed tensor parallelism computes what the whole model computes, each rank from its shard, and no rank is left behind."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from bench.errors import InvalidSetting, MissingExtra, Unsupported
from bench.frameworks.deepspeed_tp import FAMILIES, Collectives, Settings, engine, refuse
from bench.frameworks.failure import JobLost
from bench.frameworks.hf import Settings as HfSettings
from bench.results import Status
from bench.roofline import shape_of
from bench.worker.resident import ResidentWorker
from tests.engines import LLAMA, measured, point, save_pretrained, sharded_logits

needs_deepspeed = pytest.mark.skipif(
    importlib.util.find_spec("deepspeed") is None, reason="deepspeed is missing; install the extra deepspeed"
)


def compiled_here() -> list[Path]:
    """Where DeepSpeed's collectives lie compiled, for this very Python."""
    plans = (Path.home() / ".cache/torch_extensions").glob("*/deepspeed_shm_comm/build.ninja")
    return [plan.parent for plan in plans if (plan.parent / "deepspeed_shm_comm.so").is_file() and sys.prefix in plan.read_text()]


def deepspeed(**settings: Any) -> Settings:
    return Settings(name="deepspeed_tp", **settings)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return sharded_logits(tmp_path_factory.mktemp("tp"), "deepspeed_tp", 2)


@needs_deepspeed
@pytest.mark.parametrize("family", FAMILIES)
def test_two_ranks_compute_the_logits_of_the_whole_model(found: dict[str, Any], family: str) -> None:
    assert found[family]["scale"] > 1
    assert found[family]["error"] < 1e-4


@needs_deepspeed
@pytest.mark.parametrize("family", FAMILIES)
def test_a_rank_holds_little_more_than_its_share(found: dict[str, Any], family: str) -> None:
    """Embeddings are held whole, and are much of so small a model."""
    assert 0.5 <= found[family]["held"] < 0.85


@needs_deepspeed
def test_a_tied_head_that_outweighs_the_layers_does_not_hide_that_they_are_split(found: dict[str, Any]) -> None:
    """DeepSpeed gives it a matrix of its own, so that a rank can hold more than the whole model did."""
    assert found["tied"]["error"] < 1e-4
    assert found["tied"]["held"] > 1


@needs_deepspeed
def test_four_ranks_compute_the_same_from_smaller_shards(found: dict[str, Any], tmp_path: Path) -> None:
    four = sharded_logits(tmp_path, "deepspeed_tp", 4)["opt"]
    assert four["error"] < 1e-4
    assert four["held"] < found["opt"]["held"]


@needs_deepspeed
def test_in_bf16_the_ranks_are_as_exact_as_transformers(found: dict[str, Any]) -> None:
    assert found["bf16"]["error"] < 1.5 * found["bf16"]["error_of_hf"]


@needs_deepspeed
def test_two_ranks_and_one_generate_from_a_folder_what_transformers_does(tmp_path: Path) -> None:
    folder = save_pretrained(tmp_path / "model")
    plain = measured(point(HfSettings(name="hf"), path=folder), tmp_path)
    split = measured(point(deepspeed(tp=2), path=folder), tmp_path)
    assert split.tokens_digest == plain.tokens_digest
    assert split.shape == plain.shape
    assert split.token_times_s is not None
    assert [len(steps) for steps in split.token_times_s] == [6, 6]
    for steps, latency_s in zip(split.token_times_s, split.latencies_s, strict=True):
        assert steps == tuple(sorted(steps))
        assert 0 < steps[0] <= steps[-1] <= latency_s
    assert split.shape is not None
    assert max(split.engine["shard_params"]) < split.shape.n_params


@needs_deepspeed
def test_a_rank_that_is_killed_ends_the_point_and_leaves_nothing_behind(tmp_path: Path) -> None:
    seen: list[psutil.Process] = []

    def kill_a_rank(worker: ResidentWorker) -> None:
        seen.extend(psutil.Process(worker._process.pid).children(recursive=True))
        rank = next(child for child in seen if "multiprocessing.spawn" in " ".join(child.cmdline()))
        rank.kill()

    with pytest.raises(JobLost, match="rank 1 died of SIGKILL") as lost:
        measured(point(deepspeed(tp=2), num_runs=50, output_tokens=200, input_tokens=20), tmp_path, kill_a_rank)
    assert lost.value.status is Status.crashed
    assert psutil.wait_procs(seen, timeout=10)[1] == []
    assert no_shared_buffers()


@needs_deepspeed
@pytest.mark.skipif(not compiled_here(), reason="framework.collectives=shm was not used here yet; it compiles for a minute")
def test_the_ranks_can_meet_in_shared_memory_and_leave_it_clean(tmp_path: Path) -> None:
    for folder in compiled_here():
        (folder / "lock").touch()  # as left by a process that was killed while it compiled
    run = point(deepspeed(tp=2, collectives=Collectives.shm))
    assert measured(run, tmp_path, lambda _: None if no_shared_buffers() else pytest.fail("named buffers")).engine["collectives"] == "shm"


class Falcon:
    new_decoder_architecture = False


@pytest.mark.parametrize(
    ("architecture", "tp", "reason"),
    [
        ({**LLAMA, "num_attention_heads": 6, "num_key_value_heads": 6}, 4, "does not divide the 6 attention heads"),
        (LLAMA, 4, "does not divide the 2 key and value heads"),
        ({**LLAMA, "model_type": "falcon", "multi_query": True}, 2, "multi-query Falcon"),
        ({**LLAMA, "model_type": "mixtral"}, 2, "not known to be right for mixtral"),
    ],
)
def test_a_model_that_cannot_be_split_is_refused_with_the_reason(architecture: dict[str, Any], tp: int, reason: str) -> None:
    shape = shape_of(architecture)
    assert shape is not None
    with pytest.raises(Unsupported, match=reason):
        refuse(shape, deepspeed(tp=tp), Falcon)
    refuse(shape, deepspeed(tp=1), Falcon)


def test_no_ranks_at_all_are_an_invalid_setting() -> None:
    with pytest.raises(InvalidSetting, match=r"framework\.tp=0"):
        point(deepspeed(tp=0))


def test_without_the_extra_the_point_is_unavailable_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"pip install 'llm-bench-sweep\[deepspeed\]'"):
        engine(point(deepspeed())).load()


def no_shared_buffers() -> bool:
    return not list(Path("/dev/shm").glob(f"deepspeed_allreduce_buffer_{os.getuid()}_*"))
