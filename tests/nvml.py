"""A stand-in for NVML: two cards of a kind that does not tell its energy, the second one cut into slices where a test says so."""
# ruff: noqa: N802 (the names are NVML's)

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from bench.host import devices, gpu

UUIDS = ("GPU-aaaa-1", "GPU-bbbb-2")


class FakeNvml(ModuleType):
    NVML_CLOCK_SM, NVML_TEMPERATURE_GPU = 1, 0
    sliced = False
    running: tuple[int, ...] = ()

    class NVMLError(Exception):
        pass

    def nvmlDeviceGetHandleByIndex(self, index: int) -> str:
        return UUIDS[index]

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:
        return uuid if uuid in (*UUIDS, "MIG-0", "MIG-1") else self._refuse()

    def nvmlDeviceGetUUID(self, handle: str) -> str:
        return handle

    def nvmlDeviceGetName(self, handle: str) -> str:
        return "NVIDIA A100-SXM4-80GB" + (" MIG 3g.40gb" if handle.startswith("MIG") else "")

    def nvmlDeviceGetMigMode(self, handle: str) -> list[int]:
        return [int(self.sliced and handle == UUIDS[1]), 0]

    def nvmlDeviceGetMigDeviceHandleByIndex(self, _handle: str, index: int) -> str:
        return f"MIG-{index}" if index < 2 else self._refuse()

    def nvmlDeviceGetComputeRunningProcesses(self, _handle: str) -> list[Any]:
        return [SimpleNamespace(pid=pid) for pid in self.running]

    def nvmlDeviceGetTotalEnergyConsumption(self, _handle: str) -> str:
        return self._refuse()

    def __getattr__(self, name: str) -> Any:
        answers = {
            "nvmlInit": None,
            "nvmlDeviceGetCount": 2,
            "nvmlSystemGetDriverVersion": "580.65.06",
            "nvmlDeviceGetMaxMigDeviceCount": 7,
            "nvmlDeviceGetUtilizationRates": SimpleNamespace(gpu=80),
            "nvmlDeviceGetMemoryInfo": SimpleNamespace(used=2**30, total=81920 * 2**20),
            "nvmlDeviceGetPowerUsage": 350_000,
            "nvmlDeviceGetClockInfo": 1410,
            "nvmlDeviceGetTemperature": 71,
            "nvmlDeviceGetCurrentClocksThrottleReasons": 0x04 | 0x40 | 0x01,
        }
        if name not in answers:
            raise AttributeError(name)
        return lambda *_: answers[name]

    def _refuse(self) -> str:
        raise self.NVMLError("not supported")


def forget() -> None:
    """What was found before is asked for again."""
    for known in (devices.nvml, devices._all_gpus, gpu._handle):
        known.cache_clear()


@contextmanager
def fake_nvml(monkeypatch: pytest.MonkeyPatch, **settings: Any) -> Iterator[FakeNvml]:
    fake = FakeNvml("pynvml")
    vars(fake).update(settings)
    monkeypatch.setitem(sys.modules, "pynvml", fake)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    forget()
    yield fake
    forget()
