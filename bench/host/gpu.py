"""What a GPU does at one moment, as its driver tells it through NVML."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from bench.host.devices import Gpu, ask, nvml

POWER_CAP = "power cap"  # where a card under heavy matrix products always ends up
# What lowers the clock, as bits of NVML's "clocks throttle reasons". Idle and the user's own clock settings are not among them.
_THROTTLES = {
    0x04: POWER_CAP,
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
    processes: tuple[int, ...] | None  # that compute on it; in a container, their numbers may be those of the host


def read_gpus(gpus: Sequence[Gpu]) -> tuple[GpuState, ...]:
    """Those of them that NVML knows by their UUID."""
    handles = (_handle(gpu.uuid) for gpu in gpus) if gpus and nvml() else ()
    return tuple(_state(nvml(), handle) for handle in handles if handle is not None)


@cache
def _handle(uuid: str) -> Any:
    return ask(nvml().nvmlDeviceGetHandleByUUID, uuid)


def _state(nvml: Any, handle: Any) -> GpuState:
    use = ask(nvml.nvmlDeviceGetUtilizationRates, handle)
    memory = ask(nvml.nvmlDeviceGetMemoryInfo, handle)
    milliwatts = ask(nvml.nvmlDeviceGetPowerUsage, handle)
    millijoules = ask(nvml.nvmlDeviceGetTotalEnergyConsumption, handle)
    running = ask(nvml.nvmlDeviceGetComputeRunningProcesses, handle)
    bits = ask(nvml.nvmlDeviceGetCurrentClocksThrottleReasons, handle) or 0  # its newer name is unknown to drivers before 535
    return GpuState(
        busy_percent=float(use.gpu) if use else None,
        memory_bytes=int(memory.used) if memory else None,
        power_w=milliwatts / 1e3 if milliwatts is not None else None,
        clock_mhz=ask(nvml.nvmlDeviceGetClockInfo, handle, nvml.NVML_CLOCK_SM),
        celsius=ask(nvml.nvmlDeviceGetTemperature, handle, nvml.NVML_TEMPERATURE_GPU),
        throttles=tuple(name for bit, name in _THROTTLES.items() if bits & bit),
        energy_j=millijoules / 1e3 if millijoules is not None else None,
        processes=tuple(int(process.pid) for process in running) if running is not None else None,
    )
