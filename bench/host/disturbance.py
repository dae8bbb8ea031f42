"""What else happened on the host during a repeat: counters read before and after it, while nothing is timed."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from bench.host.devices import Gpu
from bench.host.gpu import GpuState, read_gpus
from bench.host.machine import read

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_CPU_SENSORS = ("k10temp", "zenpower", "coretemp", "cpu_thermal")
_MOST_CLOCKS = 16  # CPUs whose clock is read: each costs some microseconds


@dataclass(frozen=True)
class Counters:
    """What the host and the measured process have counted up to one moment."""

    t_s: float
    busy_s: float  # CPU time of everything, over the CPUs that we may use
    own_s: float  # of the measured process and its ranks
    stolen_s: float
    switches: int
    limited_s: float
    heat_events: int
    joules: dict[str, float]  # of each GPU and CPU package that tells


@dataclass(frozen=True)
class Disturbance:
    """What happened around one repeat; None where the host does not tell."""

    seconds: float
    other_cpu_s: float  # CPU time of everything but the measured process and its ranks
    stolen_s: float  # CPU time that the hypervisor gave to others
    switches: int  # times that the measured process was made to wait although it had work
    limited_s: float  # that the container's CPU limit held it back
    heat_events: int  # times that a CPU slowed down because it was hot
    clock_mhz: float | None  # the fastest CPU's, right after the repeat
    celsius: float | None
    gpu_clock_mhz: float | None  # the slowest GPU's
    gpu_celsius: float | None
    gpu_throttles: tuple[str, ...]
    energy_j: float | None  # of GPUs and CPU packages, as far as they tell
    cpus: int | None = None  # that the measured process may use
    needed_cpus: int | None = None  # of them: all, or one for each rank whose work is on a GPU
    gpu_others: int | None = None  # processes of somebody else that compute on its GPUs
    load: float | None = None  # tasks that ran or waited, the mean of the last minute: our own among them


@dataclass(frozen=True)
class HostReader:
    """Reads the counters of this host for this process and its ranks."""

    ranks: tuple[int, ...] = ()  # child processes that do a part of the work
    gpus: tuple[Gpu, ...] = ()  # in use
    cpus: tuple[int, ...] = ()  # default: those that this process may use
    root: Path = Path("/")

    def read(self) -> Counters:
        return self._counted(read_gpus(self.gpus))

    def since(self, before: Counters) -> Disturbance:
        """What was counted since then, and what clocks, temperatures and GPUs tell now."""
        gpus, files, cpus = read_gpus(self.gpus), _files(self.root), len(self._cpus)
        now = self._counted(gpus)
        spent_j = [joules - before.joules[source] for source, joules in now.joules.items() if source in before.joules]
        return Disturbance(
            seconds=now.t_s - before.t_s,
            other_cpu_s=max(0.0, now.busy_s - before.busy_s - (now.own_s - before.own_s)),
            stolen_s=now.stolen_s - before.stolen_s,
            switches=now.switches - before.switches,
            limited_s=now.limited_s - before.limited_s,
            heat_events=now.heat_events - before.heat_events,
            clock_mhz=max(_numbers(files.clocks), default=0) / 1e3 or None,
            celsius=max(_numbers(files.temperatures), default=0) / 1e3 or None,
            gpu_clock_mhz=min((gpu.clock_mhz for gpu in gpus if gpu.clock_mhz is not None), default=None),
            gpu_celsius=max((gpu.celsius for gpu in gpus if gpu.celsius is not None), default=None),
            gpu_throttles=tuple(dict.fromkeys(reason for gpu in gpus for reason in gpu.throttles)),
            # The packages' counters start again from 0 after some minutes or hours: better no number than a wrong one.
            energy_j=sum(spent_j) if spent_j and min(spent_j) >= 0 else None,
            cpus=cpus,
            needed_cpus=min(cpus, len(self.gpus)) or cpus,
            gpu_others=_gpu_others(gpus, {os.getpid(), *self.ranks}),
            load=os.getloadavg()[0],
        )

    def _counted(self, gpus: Sequence[GpuState]) -> Counters:
        files = _files(self.root)
        busy_s, stolen_s = _cpu_times(self.root / "proc/stat", self._cpus)
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return Counters(
            t_s=time.perf_counter(),
            busy_s=busy_s,
            own_s=usage.ru_utime + usage.ru_stime + sum(_process_s(pid) for pid in self.ranks),
            stolen_s=stolen_s,
            switches=usage.ru_nivcsw,
            limited_s=_limited_s(files.limit),
            heat_events=int(sum(_numbers(files.heat))),
            joules={f"GPU {i}": gpu.energy_j for i, gpu in enumerate(gpus) if gpu.energy_j is not None}
            | {str(file): microjoules / 1e6 for file in files.energy for microjoules in _numbers([file])},
        )

    @property
    def _cpus(self) -> tuple[int, ...]:
        return self.cpus or tuple(os.sched_getaffinity(0))


@dataclass(frozen=True)
class _Files:
    heat: tuple[Path, ...]
    clocks: tuple[Path, ...]
    temperatures: tuple[Path, ...]
    energy: tuple[Path, ...]
    limit: Path | None


@cache  # a virtual machine has few of them, and looking for the others each time takes longer than reading these
def _files(root: Path) -> _Files:
    cpus = root / "sys/devices/system/cpu"
    mine = sorted(os.sched_getaffinity(0))
    limits = (root / path for path in ("sys/fs/cgroup/cpu.stat", "sys/fs/cgroup/cpu/cpu.stat"))
    heat = (cpus / f"cpu{cpu}/thermal_throttle/core_throttle_count" for cpu in mine)
    clocks = (cpus / f"cpu{cpu}/cpufreq/scaling_cur_freq" for cpu in mine[:: max(1, len(mine) // _MOST_CLOCKS)])
    return _Files(
        heat=tuple(filter(Path.exists, heat)),
        clocks=tuple(filter(Path.exists, clocks)),
        temperatures=tuple(file for file in root.glob("sys/class/hwmon/*/temp1_input") if read(file.parent / "name") in _CPU_SENSORS),
        energy=tuple(root.glob("sys/class/powercap/intel-rapl:?/energy_uj")),
        limit=next((path for path in limits if path.exists()), None),
    )


def _cpu_times(stat: Path, cpus: Iterable[int]) -> tuple[float, float]:
    """Seconds that these CPUs were busy, and that were stolen from them: proc_stat(5)."""
    mine = {f"cpu{cpu}" for cpu in cpus}
    busy = stolen = 0
    for line in read(stat).splitlines():
        name, *values = line.split()
        if name in mine:
            user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, values[:8])
            busy += user + nice + system + irq + softirq
            stolen += steal
    return busy / _TICKS_PER_S, stolen / _TICKS_PER_S


def _process_s(pid: int) -> float:
    """CPU time of another process: proc_pid_stat(5), fields 14 and 15; its name may hold spaces."""
    fields = read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S if fields else 0.0


def _limited_s(stat: Path | None) -> float:
    """Time that the container's CPU limit held us back; cgroup v2 counts microseconds, v1 nanoseconds."""
    values = dict(line.split() for line in read(stat).splitlines()) if stat else {}
    return int(values.get("throttled_usec", 0)) / 1e6 or int(values.get("throttled_time", 0)) / 1e9


def _gpu_others(gpus: Sequence[GpuState], ours: set[int]) -> int | None:
    """Processes of somebody else on our GPUs. Where none of the numbers is ours, as in a container, one on each is taken for ours."""
    running = [set(gpu.processes) for gpu in gpus if gpu.processes is not None]
    return sum(len(pids - ours) - (ours.isdisjoint(pids) and bool(pids)) for pids in running) if running else None


def _numbers(files: Iterable[Path]) -> Sequence[float]:
    return [float(text) for file in files if (text := read(file))]
