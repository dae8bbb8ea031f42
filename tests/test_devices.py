"""The devices of a host are known before anything starts, whatever tells of them, and everything else follows from them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from bench.config import Device, HardwareConfig, ModelConfig, RunConfig
from bench.errors import InvalidSetting
from bench.frameworks.deepspeed_tp import Settings as DeepSpeed
from bench.frameworks.hf import Settings
from bench.frameworks.pace import Settings as Pace
from bench.host import devices as devices_module
from bench.host import machine
from bench.host.devices import Devices, Gpu, Slot, devices, devices_for
from bench.host.disturbance import HostReader
from bench.host.noise import noise
from bench.sweep.conductor import _refuse_other_hardware
from bench.worker.resident import _environment, memory_limit_bytes
from tests.nvml import UUIDS, FakeNvml, fake_nvml, forget
from tests.test_roofline import LLAMA

A100 = "NVIDIA A100-SXM4-80GB"
FOUR = Devices(tuple(Gpu(A100, f"GPU-{i}", 81920 * 2**20) for i in range(4)), "580", tuple(range(8)))


def point(framework: DeepSpeed | Settings | Pace | None = None, **hardware: object) -> RunConfig:
    model = ModelConfig(name="tiny", architecture=LLAMA)
    return RunConfig(model, framework or Settings(name="hf"), HardwareConfig(**hardware))  # type: ignore[arg-type]


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeNvml]:
    with fake_nvml(monkeypatch) as fake:
        yield fake


@pytest.mark.parametrize(
    ("chosen", "seen"),
    [
        (None, UUIDS),
        ("1", UUIDS[1:]),
        ("1,0", UUIDS[::-1]),
        ("GPU-bbbb", UUIDS[1:]),  # a beginning is enough
        ("0,-1,1", UUIDS[:1]),  # what does not exist ends the list
        ("", ()),
    ],
)
def test_the_gpus_are_those_that_cuda_would_use(
    nvml: FakeNvml, monkeypatch: pytest.MonkeyPatch, chosen: str | None, seen: tuple[str]
) -> None:
    if chosen is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", chosen)
    assert tuple(gpu.uuid for gpu in devices().gpus) == seen
    assert devices().driver == "580.65.06"
    assert tuple(gpu.uuid for gpu in devices_for(point(env={"CUDA_VISIBLE_DEVICES": "1"})).gpus) == UUIDS[1:]


def test_the_slices_of_a_card_stand_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with fake_nvml(monkeypatch, sliced=True):
        assert [gpu.uuid for gpu in devices().gpus] == [UUIDS[0], "MIG-0", "MIG-1"]
        assert [gpu.uuid for gpu in devices("MIG-1").gpus] == ["MIG-1"]


def test_without_nvml_torch_is_asked_where_there_are_device_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nprintf 'a warning\\nNVIDIA H100 80GB HBM3|5ac5e6ea-3c52|85520809984\\n'\n")
    python.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(python))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setitem(__import__("sys").modules, "pynvml", None)
    for files, found in (((), ()), ((str(python),), (Gpu("NVIDIA H100 80GB HBM3", "GPU-5ac5e6ea-3c52", 85520809984),))):
        monkeypatch.setattr(devices_module, "_DEVICE_FILES", files)
        forget()
        assert devices().gpus == found
    assert devices().misfit(HardwareConfig("1xH100-80GB", device=Device.cuda)) is None
    forget()


def test_workers_get_neighbouring_gpus_with_cores_of_their_own_and_cpu_points_get_cores_alone() -> None:
    run = point()
    assert FOUR.slots(1, [run]) == [Slot()]
    assert FOUR.slots(2, [run]) == [Slot(("GPU-0", "GPU-1"), (0, 1, 2, 3)), Slot(("GPU-2", "GPU-3"), (4, 5, 6, 7))]
    assert len(FOUR.slots(9, [run])) == 4
    on_cpu = [point(device=Device.cpu), point(Pace(name="pace"))]
    assert FOUR.slots(2, on_cpu) == [Slot((), (0, 1, 2, 3)), Slot((), (4, 5, 6, 7))]
    assert len(Devices(cpus=(0, 1, 2)).slots(9, [run])) == 3


def test_a_worker_sees_the_gpus_of_its_slot_in_one_order_and_only_a_cpu_run_is_limited_in_host_memory(nvml: FakeNvml) -> None:
    told = _environment(point(), Slot(gpus=UUIDS[1:]))
    assert (told["CUDA_VISIBLE_DEVICES"], told["CUDA_DEVICE_ORDER"]) == (UUIDS[1], "PCI_BUS_ID")
    assert _environment(point(device=Device.cpu), Slot(gpus=UUIDS[1:]))["CUDA_VISIBLE_DEVICES"] == ""
    assert memory_limit_bytes(point()) is None
    assert memory_limit_bytes(point(device=Device.cpu))
    assert memory_limit_bytes(point(Pace(name="pace")))
    assert (
        devices_for(point(DeepSpeed(name="deepspeed_tp", tp=2))).memory_bytes(point(DeepSpeed(name="deepspeed_tp", tp=2)))
        == 2 * 81920 * 2**20
    )
    assert machine._here.__wrapped__().gpus == (A100, A100)


@pytest.mark.parametrize("name", ["4xA100-80GB", "2xA100", "4xNVIDIA A100-SXM4-80GB", "our lab's rig", None])
def test_a_name_that_describes_the_devices_is_kept(name: str | None) -> None:
    assert FOUR.misfit(HardwareConfig(name, device=Device.cuda)) is None


def test_a_name_of_cpus_is_no_claim() -> None:
    assert Devices().misfit(HardwareConfig("2xEPYC 9755")) is None
    point(name="2xEPYC 9755")


@pytest.mark.parametrize("name", ["8xA100-80GB", "4xA100-40GB", "1xH100-80GB", "1xA10"])
def test_a_name_that_does_not_is_refused_with_what_was_found(name: str) -> None:
    hardware = HardwareConfig(name, device=Device.cuda)
    assert "4x NVIDIA A100-SXM4-80GB (80 GiB)" in str(FOUR.misfit(hardware))
    assert FOUR.misfit(replace(hardware, is_label=True)) is None


def test_a_sweep_for_other_hardware_stops_before_it_starts(nvml: FakeNvml) -> None:
    with pytest.raises(InvalidSetting, match=r"1xH100-80GB.*this host has 2x NVIDIA A100.*is_label=true"):
        _refuse_other_hardware([point(name="1xH100-80GB", device=Device.cuda)])


def gpu_job(nvml: FakeNvml, running: tuple[int, ...], cpus: int = 128, other_cpu_s: float = 0.0) -> list[str]:
    nvml.running = running
    reader = HostReader(gpus=devices().gpus[:1])
    around = replace(reader.since(reader.read()), seconds=1.0, cpus=cpus, other_cpu_s=other_cpu_s, switches=0, stolen_s=0.0, limited_s=0)
    return noise([around], [1.0])


def test_somebody_else_on_the_gpu_is_noise_and_a_power_cap_is_not(nvml: FakeNvml) -> None:
    [throttled] = gpu_job(nvml, (os.getpid(),))
    assert "hardware thermal slowdown" in throttled
    assert "power cap" not in throttled
    assert "1 other process on the GPU" in gpu_job(nvml, (os.getpid(), 1))
    assert len(gpu_job(nvml, (4711,))) == 1  # in a container our own process has another number
    assert "1 other process on the GPU" in gpu_job(nvml, (4711, 4712))


def test_a_gpu_job_needs_one_cpu_and_the_others_may_be_busy(nvml: FakeNvml) -> None:
    assert not any("other processes" in reason for reason in gpu_job(nvml, (), other_cpu_s=100.0))
    assert any("other processes" in reason for reason in gpu_job(nvml, (), other_cpu_s=127.9))


def test_the_description_travels_as_json(nvml: FakeNvml) -> None:
    assert json.loads(json.dumps(asdict(machine._here.__wrapped__())))["driver"] == "580.65.06"


@pytest.mark.parametrize("number", [0, 1])  # versions 2 and 1 of control groups
def test_what_a_container_keeps_of_files_is_memory_that_is_left(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, limit, used, cached = machine._CGROUP_MEMORY[number]
    for name, content in ((limit, "1000"), (used, "900"), ("memory.stat", f"anon 300\n{cached} 600\n")):
        (tmp_path / name).write_text(content)
    monkeypatch.setattr(machine, "_CGROUP_MEMORY", [(tmp_path, limit, used, cached)])
    assert machine.memory_left_bytes() == 700
    (tmp_path / "memory.stat").write_text(f"{cached} 1900\n")  # not of the same moment
    assert machine.memory_left_bytes() == 1000
    (tmp_path / "memory.stat").unlink()  # a sandbox may have none: the limit holds
    assert machine.memory_left_bytes() == 100
    (tmp_path / limit).write_text("max")
    assert machine.memory_left_bytes() > 1000
