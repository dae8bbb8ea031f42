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

STANDSTILL_S = 60.0
_NEAR_THE_END = 0.8  # of what a process may take


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
        peaks = [_status_bytes(process / "status", "VmHWM") for process in self._processes] if self._host_resets else [None]
        return None if None in peaks else sum(peak for peak in peaks if peak)

    @property
    def _processes(self) -> list[Path]:
        return [Path("/proc") / str(pid) for pid in ("self", *self.ranks)]

    def device_bytes(self) -> tuple[int, int] | None:
        """What torch allocated on this process's GPU, and what it reserved for that; None without one."""
        cuda = _cuda()
        return (int(cuda.max_memory_allocated()), int(cuda.max_memory_reserved())) if cuda else None


def _status_bytes(status: Path, key: str) -> int | None:
    """A size in a process's status, proc_pid_status(5); None where it is not told."""
    line = next((line for line in status.read_text().splitlines() if line.startswith(key)), None)
    return int(line.split()[1]) * 1024 if line else None


@dataclass
class Standstill:
    """Whether a process has stood near the end of its memory for long: some libraries try a failed allocation again, for ever.

    OpenBLAS does, and takes 32 MB for each thread as it is imported (blas_memory_alloc in its driver/others/memory.c).
    One that reads or writes files goes on: a model is written without taking any memory.
    """

    pid: int
    limit_bytes: int
    _seen: tuple[int | str, ...] = ()
    _since_s: float = 0.0

    def look(self) -> str | None:
        """What to say of it; None while its memory grows, and far from its end."""
        process = Path(f"/proc/{self.pid}")
        taken, resident = (_status_bytes(process / "status", key) or 0 for key in ("VmData", "VmRSS"))
        seen = taken, resident, (process / "io").read_text()
        if seen != self._seen or taken < _NEAR_THE_END * self.limit_bytes:
            self._seen, self._since_s = seen, time.monotonic()
        stood_s = time.monotonic() - self._since_s
        if stood_s < STANDSTILL_S:
            return None
        return f"stood for {stood_s:.0f} s at {taken / 1e9:.2f} of the {self.limit_bytes / 1e9:.2f} GB that it may take"


def finish_device_work() -> None:
    """Wait until the GPU of this process has done what it was given, so that the clock shows when."""
    if cuda := _cuda():
        cuda.synchronize()


def _cuda() -> Any:
    """torch.cuda where a framework has brought it up; nothing is imported for it."""
    torch: Any = sys.modules.get("torch")
    return torch.cuda if torch is not None and torch.cuda.is_initialized() else None
