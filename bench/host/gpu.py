"""NVIDIA GPUs as their driver sees them, through NVML (nvidia-ml-py); nothing where that is not installed."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

# What lowers the clock, as bits of NVML's "clocks event reasons". Idle and the user's own clock settings are not among them.
_THROTTLES = {
    0x04: "power cap",
    0x08: "hardware slowdown",
    0x20: "software thermal slowdown",
    0x40: "hardware thermal slowdown",
    0x80: "power brake",
}


@dataclass(frozen=True)
class GpuState:
    """One GPU at one moment; None where it does not tell."""

    busy_percent: float | None
    memory_bytes: int | None
    power_w: float | None
    clock_mhz: float | None
    celsius: float | None
    throttles: tuple[str, ...]
    energy_j: float | None  # since the driver was loaded


def read_gpus(count: int | None = None) -> tuple[GpuState, ...]:
    """The first `count` GPUs that CUDA may use; default: all of those."""
    nvml = _nvml()
    return tuple(_state(nvml, handle) for handle in _handles(nvml)[:count]) if nvml else ()


@cache
def _nvml() -> Any:
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:  # the library without a driver
        return None
    return pynvml


@cache
def _handles(nvml: Any) -> list[Any]:
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is None:
        return [nvml.nvmlDeviceGetHandleByIndex(i) for i in range(nvml.nvmlDeviceGetCount())]
    names = [name.strip() for name in chosen.split(",") if name.strip()]
    found = (_ask(_by_index_or_uuid, nvml, name) for name in names)
    return [handle for handle in found if handle is not None]


def _by_index_or_uuid(nvml: Any, name: str) -> Any:
    return nvml.nvmlDeviceGetHandleByIndex(int(name)) if name.isdigit() else nvml.nvmlDeviceGetHandleByUUID(name.encode())


def _state(nvml: Any, handle: Any) -> GpuState:
    use = _ask(nvml.nvmlDeviceGetUtilizationRates, handle)
    memory = _ask(nvml.nvmlDeviceGetMemoryInfo, handle)
    milliwatts = _ask(nvml.nvmlDeviceGetPowerUsage, handle)
    millijoules = _ask(nvml.nvmlDeviceGetTotalEnergyConsumption, handle)
    # Named "throttle reasons" before driver 535.
    reasons = getattr(nvml, "nvmlDeviceGetCurrentClocksEventReasons", None) or nvml.nvmlDeviceGetCurrentClocksThrottleReasons
    bits = _ask(reasons, handle) or 0
    return GpuState(
        busy_percent=float(use.gpu) if use else None,
        memory_bytes=int(memory.used) if memory else None,
        power_w=milliwatts / 1e3 if milliwatts is not None else None,
        clock_mhz=_ask(nvml.nvmlDeviceGetClockInfo, handle, nvml.NVML_CLOCK_SM),
        celsius=_ask(nvml.nvmlDeviceGetTemperature, handle, nvml.NVML_TEMPERATURE_GPU),
        throttles=tuple(name for bit, name in _THROTTLES.items() if bits & bit),
        energy_j=millijoules / 1e3 if millijoules is not None else None,
    )


def _ask(call: Callable[..., Any], *arguments: Any) -> Any:
    """The answer, or None: which questions a GPU answers depends on its kind and its driver."""
    nvml = _nvml()
    try:
        return call(*arguments)
    except nvml.NVMLError:
        return None
