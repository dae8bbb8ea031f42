"""What the host does meanwhile: CPU, GPU and memory over time, and the peak memory of one job."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

import psutil

from bench.host.devices import Gpu, devices
from bench.host.gpu import GpuState, read_gpus


@dataclass(frozen=True)
class Sample:
    t_s: float
    cpu_percent: float
    ram_bytes: int
    gpu_percent: float | None = None  # mean of the GPUs
    gpu_memory_bytes: int | None = None  # sum
    gpu_power_w: float | None = None  # sum
    gpu_clock_mhz: float | None = None  # of the slowest


@dataclass(frozen=True)
class History:
    """What a SystemMonitor saw. RAM in MB, relative to the start."""

    samples: tuple[Sample, ...] = ()
    start_ram_bytes: int = 0

    @property
    def cpu_usage(self) -> list[float]:
        return [sample.cpu_percent for sample in self.samples]

    @property
    def ram_usage(self) -> list[float]:
        return [(sample.ram_bytes - self.start_ram_bytes) / 1e6 for sample in self.samples]

    @property
    def peak_ram_usage(self) -> float | None:
        return max(self.ram_usage, default=None)


@dataclass
class SystemMonitor:
    """Samples the whole host every `interval` seconds in a thread. Start it outside the measured process."""

    interval: float = 1.0
    gpus: Sequence[Gpu] = field(default_factory=lambda: devices().gpus)
    _samples: list[Sample] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None
    _start_ram_bytes: int = 0

    def start(self) -> None:
        self._samples.clear()
        self._stop.clear()
        self._start_ram_bytes = psutil.virtual_memory().used
        self._thread = threading.Thread(target=self._watch, name="system-monitor", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread:
            self._thread.join()
        self._thread = None

    def get_history(self) -> History:
        return History(tuple(self._samples), self._start_ram_bytes)

    def _watch(self) -> None:
        started = time.monotonic()
        psutil.cpu_percent()  # a thread's first call only sets the mark from which its next one counts
        while not self._stop.wait(self.interval):
            self._samples.append(_sample(time.monotonic() - started, read_gpus(self.gpus)))


def _sample(t_s: float, gpus: Sequence[GpuState]) -> Sample:
    return Sample(
        t_s,
        psutil.cpu_percent(),
        psutil.virtual_memory().used,
        gpu_percent=_over(fmean, [gpu.busy_percent for gpu in gpus]),
        gpu_memory_bytes=_over(sum, [gpu.memory_bytes for gpu in gpus]),
        gpu_power_w=_over(sum, [gpu.power_w for gpu in gpus]),
        gpu_clock_mhz=_over(min, [gpu.clock_mhz for gpu in gpus]),
    )


def _over(function: Callable[[list[Any]], Any], values: Sequence[float | None]) -> Any:
    """None where a GPU does not tell: the others would stand for all."""
    return function(list(values)) if values and None not in values else None


@dataclass
class PeakMemory:
    """Peak memory of this process, its ranks and its device since `reset`."""

    ranks: tuple[int, ...] = ()  # child processes that hold a part of the model

    def reset(self) -> None:
        try:
            for process in self._processes:
                (process / "clear_refs").write_text("5")  # sets VmHWM back to the current size: proc(5)
            self._host_resets = True
        except OSError:
            self._host_resets = False
        if cuda := _cuda():
            cuda.reset_peak_memory_stats()

    def host_bytes(self) -> int | None:
        """None where the kernel cannot reset the mark: an earlier job's peak would stand for this one's."""
        peaks = [_peak_bytes(process) for process in self._processes] if self._host_resets else [None]
        return None if None in peaks else sum(peak for peak in peaks if peak)

    @property
    def _processes(self) -> list[Path]:
        return [Path("/proc") / str(pid) for pid in ("self", *self.ranks)]

    def device_bytes(self) -> tuple[int, int] | None:
        """What torch allocated on this process's GPU, and what it reserved for that; None without one."""
        cuda = _cuda()
        return (int(cuda.max_memory_allocated()), int(cuda.max_memory_reserved())) if cuda else None


def _peak_bytes(process: Path) -> int | None:
    line = next((line for line in (process / "status").read_text().splitlines() if line.startswith("VmHWM")), None)
    return int(line.split()[1]) * 1024 if line else None


def finish_device_work() -> None:
    """Wait until the GPU of this process has done what it was given, so that the clock shows when."""
    if cuda := _cuda():
        cuda.synchronize()


def _cuda() -> Any:
    """torch.cuda where a framework has brought it up; nothing is imported for it."""
    torch: Any = sys.modules.get("torch")
    return torch.cuda if torch is not None and torch.cuda.is_initialized() else None
