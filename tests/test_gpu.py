"""On a CUDA GPU: what a machine without one cannot show. `make gpu` runs these; they skip where there is none."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.config import Device, Dtype, HardwareConfig, ModelConfig, RunConfig
from bench.frameworks.hf import Settings
from bench.host import ceilings, machine
from bench.host.devices import Slot, devices
from bench.host.gpu import read_gpus
from bench.results import Row, Store
from bench.worker.resident import ResidentWorker
from tests.conftest import Command
from tests.engines import LLAMA

torch = pytest.importorskip("torch", reason="GPUs are reached through torch")
pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device here")]
two_gpus = pytest.mark.skipif(torch.cuda.device_count() < 2, reason="one GPU, and tensor parallelism needs two")

# About a billion parameters, and half a gigabyte of KV cache for a sequence of 4,000 tokens.
BILLION = {
    **LLAMA,
    "vocab_size": 32_000,
    "hidden_size": 2048,
    "intermediate_size": 5504,
    "num_hidden_layers": 16,
    "num_attention_heads": 16,
    "num_key_value_heads": 16,
    "max_position_embeddings": 8192,
}
# Memory bandwidth in bytes/s and bf16 products in FLOP/s, dense, from the makers' data sheets.
DATASHEETS = {
    "A100-SXM4-80GB": (2.039e12, 312e12),
    "A100-SXM4-40GB": (1.555e12, 312e12),
    "H100 80GB HBM3": (3.35e12, 989e12),
    "H100 PCIe": (2.0e12, 756e12),
    "H200": (4.8e12, 989e12),
    "L40S": (0.864e12, 362e12),
    "RTX 4090": (1.008e12, 165e12),
}


Sweep = Callable[..., list[Row]]


def spelled(architecture: dict[str, Any]) -> str:
    return "model.architecture={" + ",".join(f"{key}:{value}" for key, value in architecture.items()) + "}"


@pytest.fixture
def swept(bench_run: Command, tmp_path: Path) -> Sweep:
    def sweep(*settings: str, architecture: dict[str, Any] = LLAMA, dtype: str = "bf16") -> list[Row]:
        model = ("model.name=tested", spelled(architecture), f"model.dtype={dtype}", "hardware=cuda")
        done = bench_run(*model, "ceilings=false", "report=false", "name=gpu", *settings, timeout=500)
        rows = Store(tmp_path / "outputs" / "gpu").rows()
        assert rows, done.stdout + done.stderr
        return rows

    return sweep


def test_a_row_tells_which_gpu_it_used_and_what_it_took(swept: Sweep) -> None:
    [row] = swept("batch_size=4", "input_tokens=512", "output_tokens=64", "num_runs=6", "framework=hf", architecture=BILLION)
    assert row["status"] == "ok", row["error"]
    told = str(torch.cuda.get_device_properties(0).uuid)
    assert row["gpu_uuids"] in ([f"GPU-{told}"], [f"MIG-{told}"])
    assert row["device"] == torch.cuda.get_device_name(0)
    assert row["predicted_bytes"] < row["peak_device_bytes"] < 2 * row["predicted_bytes"]
    assert row["peak_device_bytes"] == row["peak_allocated_bytes"][0] <= row["peak_reserved_bytes"][0]
    if row["energy_j"] is not None:  # some virtual GPUs do not tell
        assert 20 < row["energy_j"] / row["latency_s"] < 1500
    assert not any("other process" in reason for reason in row["noise"])


def test_too_large_a_batch_is_a_row_and_the_largest_is_found(swept: Sweep) -> None:
    sizes = ("input_tokens=4000", "output_tokens=4", "num_runs=1", "warmup_runs=0")
    rows = swept("batch_size=max", *sizes, architecture=BILLION)
    completed = max(row["batch_size"] for row in rows if row["status"] == "ok")
    failed = [row for row in rows if row["status"] == "oom"]
    assert failed
    assert min(row["batch_size"] for row in failed) > completed
    assert {row["status"] for row in rows} <= {"ok", "oom", "pruned"}


def test_marks_in_the_stream_agree_with_times_on_the_host(swept: Sweep) -> None:
    rows = swept("framework=hf", "framework.loop=generate,decode_loop", "batch_size=4", "output_tokens=64", architecture=BILLION)
    assert len(rows) == 2
    for row in rows:
        for latency_s, steps in zip(row["latencies_s"], row["token_times_s"], strict=True):
            assert steps == sorted(steps)
            assert steps[0] > 0
            assert 0.9 * latency_s < steps[-1] <= latency_s


def test_a_static_cache_and_a_compiled_step_generate_what_the_shipped_one_does(swept: Sweep) -> None:
    sizes = ("batch_size=2", "output_tokens=32", "num_runs=2", "warmup_runs=2")
    rows = swept("framework=hf", "framework.cache=dynamic,static", *sizes, dtype="fp32")
    rows += swept("framework=hf", "framework.cache=static", "framework.compile=true", *sizes, dtype="fp32")
    assert {row["status"] for row in rows} == {"ok"}
    assert len({row["tokens_digest"] for row in rows}) == 1


def test_the_same_weights_are_made_on_a_gpu_and_on_the_cpu(swept: Sweep) -> None:
    sizes = ("batch_size=1", "output_tokens=8", "num_runs=1")
    rows = swept("framework=hf", "hardware=cuda,cpu", *sizes, dtype="fp32")
    assert len({row["tokens_digest"] for row in rows}) == 1


def test_the_ceilings_are_those_of_the_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    found = ceilings.measure(machine.describe()).of(torch.cuda.get_device_name(0))
    assert found is not None
    known = next((sheet for name, sheet in DATASHEETS.items() if name in found.device), None)
    if known is None:
        pytest.skip(f"no data sheet of {found.device} here: read {found.bytes_per_s:.3g} bytes/s, {found.flops_per_s}")
    assert 0.7 < found.bytes_per_s / known[0] < 1.02
    assert 0.5 < found.flops_per_s["bf16"] / known[1] < 1.02


_BUSY = "import torch\na = torch.rand(4096, 4096, device='cuda')\nprint('ready', flush=True)\nwhile True: a @ a; torch.cuda.synchronize()"


def test_a_second_process_on_the_gpu_is_noise(swept: Sweep) -> None:
    if read_gpus(devices().gpus[:1])[0].processes is None:
        pytest.skip("the driver does not tell which processes use the GPU")
    with subprocess.Popen([sys.executable, "-c", _BUSY], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        try:
            [row] = swept("framework=hf", "batch_size=1", "output_tokens=64", "num_runs=3")
        finally:
            other.kill()
    assert row["noisy"]
    assert any("other process" in reason for reason in row["noise"])


def test_a_worker_that_is_killed_gives_its_memory_back(tmp_path: Path) -> None:
    def used_bytes() -> int:
        free, total = torch.cuda.mem_get_info(0)
        return int(total - free)

    model = ModelConfig(name="billion", architecture=BILLION, dtype=Dtype.bf16)
    run = RunConfig(model, Settings(name="hf"), HardwareConfig(device=Device.cuda))
    before = used_bytes()
    worker = ResidentWorker(run, tmp_path / "log", Slot())
    worker.load(run)
    assert used_bytes() - before > 1.5e9
    worker.kill()
    deadline = time.monotonic() + 20
    while used_bytes() - before > 5e8 and time.monotonic() < deadline:
        time.sleep(0.2)
    worker.close()
    assert used_bytes() - before < 5e8


@two_gpus
@pytest.mark.parametrize("ranks", [("framework=deepspeed_tp", "framework.tp=2"), ("framework=hf", "framework.tp=2")])
def test_two_ranks_generate_what_one_does(swept: Sweep, ranks: tuple[str, ...]) -> None:
    sizes = ("batch_size=2", "output_tokens=8", "num_runs=2")
    swept("framework=hf", *sizes, dtype="fp32")
    alone, split = swept(*ranks, *sizes, dtype="fp32")
    assert split["status"] == "ok", split["error"]
    assert split["n_devices"] == len(split["peak_allocated_bytes"]) == len(set(split["gpu_uuids"])) == 2
    assert split["tokens_digest"] == alone["tokens_digest"]


def test_a_device_that_is_lost_costs_one_point(bench_run: Command, tmp_path: Path) -> None:
    faulty = ("framework=faulty", "framework.fault=device_assert", "framework.fault_at=2", "model=llama_5m", "report=false", "name=gpu")
    bench_run(*faulty, "batch_size=1,2,4", "input_tokens=8", "output_tokens=4", "num_runs=1")
    rows = Store(tmp_path / "outputs" / "gpu").rows()
    assert {row["batch_size"]: row["status"] for row in rows} == {1: "ok", 2: "failed", 4: "ok"}
