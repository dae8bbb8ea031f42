"""The system monitor, the GPU's counters, and the public streamers."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from bench.config import Device, HardwareConfig
from bench.frameworks.failure import JobLost
from bench.host import monitors
from bench.host.devices import Slot, devices
from bench.host.gpu import read_gpus
from bench.host.monitors import SystemMonitor
from bench.measure.streamers import FirstTokenTimerStreamer, TokenLatencyStreamer
from bench.status import Status
from bench.worker.resident import ResidentWorker
from tests import faulty
from tests.conftest import PYTHONPATH, fake_run
from tests.nvml import FakeNvml, fake_nvml


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeNvml]:
    with fake_nvml(monkeypatch) as fake:
        yield fake


def test_a_gpu_tells_what_it_can(nvml: FakeNvml) -> None:
    states = read_gpus(devices().gpus)
    assert len(states) == 2
    assert (states[0].busy_percent, states[0].power_w, states[0].clock_mhz, states[0].celsius) == (80, 350, 1410, 71)
    assert states[0].throttles == ("power cap", "hardware thermal slowdown")
    assert states[0].energy_j is None


def test_the_monitor_keeps_a_history() -> None:
    monitor = SystemMonitor(interval=0.05)
    monitor.start()
    ballast = bytearray(50_000_000)
    time.sleep(0.4)
    monitor.stop()
    del ballast
    history = monitor.get_history()
    assert len(history.cpu_usage) == len(history.ram_usage) >= 3
    assert all(0 <= percent <= 100 for percent in history.cpu_usage)
    assert history.peak_ram_usage == max(history.ram_usage)
    seen = len(history.cpu_usage)
    time.sleep(0.1)
    assert len(monitor.get_history().cpu_usage) == seen


def test_the_monitor_can_be_started_again() -> None:
    monitor = SystemMonitor(interval=0.05)
    for _ in range(2):
        monitor.start()
        time.sleep(0.12)
        monitor.stop()
    assert 1 <= len(monitor.get_history().samples) <= 3


def test_the_monitor_samples_gpus(nvml: FakeNvml) -> None:
    monitor = SystemMonitor(interval=0.05)
    monitor.start()
    time.sleep(0.12)
    monitor.stop()
    sample = monitor.get_history().samples[0]
    assert (sample.gpu_percent, sample.gpu_memory_bytes, sample.gpu_power_w, sample.gpu_clock_mhz) == (80, 2**31, 700, 1410)


def generate(streamer: Any, batch_size: int = 3, new_tokens: int = 4) -> None:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(vocab_size=64, hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2)
    model = LlamaForCausalLM(config).eval()
    prompts = torch.randint(3, 60, (batch_size, 5))
    mask = torch.ones_like(prompts)
    model.generate(prompts, attention_mask=mask, max_new_tokens=new_tokens, eos_token_id=None, pad_token_id=0, streamer=streamer)


def test_the_first_token_is_timed_in_a_real_generation() -> None:
    streamer = FirstTokenTimerStreamer()
    started = time.time()
    generate(streamer)
    assert streamer.end_time_first_token is not None
    assert started < streamer.end_time_first_token < time.time()
    first = streamer.end_time_first_token
    generate(streamer)
    assert streamer.end_time_first_token > first


def test_every_token_has_a_time_at_any_batch_size() -> None:
    streamer = TokenLatencyStreamer()
    for _ in range(2):
        generate(streamer, batch_size=3, new_tokens=4)
        times = streamer.time_per_tokens()
        assert len(times) == 4
        assert min(times) > 0


def test_token_times_are_gaps_between_steps() -> None:
    ticks = count()
    streamer = TokenLatencyStreamer(clock=lambda: next(ticks) ** 2)
    for _ in range(4):  # the prompt and three tokens
        streamer.put(None)
    streamer.end()
    assert streamer.time_per_tokens() == [1, 3, 5]


def test_a_load_that_tries_for_ever_what_does_not_fit_is_out_of_memory_soon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitors, "STANDSTILL_S", 2.0)
    monkeypatch.setenv("PYTHONPATH", PYTHONPATH)
    stuck = fake_run(hardware=HardwareConfig(device=Device.cpu, memory_limit_gb=0.3))
    stuck = replace(stuck, framework=faulty.Settings(name="faulty", fault=faulty.Fault.full_load))
    worker = ResidentWorker(stuck, tmp_path / "log", Slot())
    with pytest.raises(JobLost, match=r"stood for \d s at 0\.\d+ of the 0\.30 GB that it may take, trying again what does not fit") as lost:
        worker.load(stuck)
    worker.close()
    assert lost.value.status is Status.oom
