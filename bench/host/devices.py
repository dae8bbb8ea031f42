"""The devices of this host, known once and before anything starts, without torch: its GPUs and CPUs, and the shares of workers in them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache
from glob import glob
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

from bench.config import Device, HardwareConfig, RunConfig

VISIBLE, _ORDER = "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"
_DEVICE_FILES = ("/dev/nvidia[0-9]*", "/dev/dxg")  # the driver's, and that of WSL
_MEMORY_TOLERANCE = 0.08  # a card of 80 GB tells 79.1 to 81.6 GiB
_T = TypeVar("_T")


@cache
def _cpus_by_core() -> tuple[int, ...]:
    """The CPUs that this process may use, so that neighbours share a package, and the threads of a core stand together."""

    def place(cpu: int) -> tuple[int, ...]:
        topology = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology")
        with suppress(OSError, ValueError):
            return int((topology / "physical_package_id").read_text()), int((topology / "core_id").read_text()), cpu
        return 0, cpu, cpu

    return tuple(sorted(os.sched_getaffinity(0), key=place))


@dataclass(frozen=True)
class Gpu:
    """A GPU, or a slice of one (MIG), as its driver tells it."""

    name: str
    uuid: str = ""  # as CUDA_VISIBLE_DEVICES takes it; the index where no source tells the UUID
    memory_bytes: int | None = None


@dataclass(frozen=True)
class Slot:
    """The part of the host that one worker may use. Empty: all of it."""

    gpus: tuple[str, ...] = ()  # as CUDA_VISIBLE_DEVICES names them
    cpus: tuple[int, ...] = ()

    @property
    def environment(self) -> dict[str, str]:
        """For a worker: its GPUs, in the order of nvidia-smi and NVML, where CUDA by itself would put the fastest first."""
        return {_ORDER: os.environ.get(_ORDER, "PCI_BUS_ID"), **({VISIBLE: ",".join(self.gpus)} if self.gpus else {})}


@dataclass(frozen=True)
class Devices:
    """What a process may use of this host."""

    gpus: tuple[Gpu, ...] = ()  # that this process may use, in CUDA's order
    driver: str | None = None
    cpus: tuple[int, ...] = field(default_factory=_cpus_by_core)

    def on_gpu(self, run: RunConfig) -> bool:
        wanted = run.hardware.device is Device.cuda or (run.hardware.device is Device.auto and bool(self.gpus))
        return wanted and run.framework.uses_gpus

    def of(self, run: RunConfig) -> tuple[Gpu, ...]:
        """The GPUs that a point uses: the first of them, one for each rank. None on the CPU."""
        return self.gpus[: run.framework.ranks] if self.on_gpu(run) else ()

    def memory_bytes(self, run: RunConfig) -> int | None:
        """What the GPUs that a point uses hold together; None on the CPU, and where one does not tell."""
        told = [gpu.memory_bytes for gpu in self.of(run)]
        return sum(filter(None, told)) if told and None not in told else None

    def slots(self, workers: int, runs: Sequence[RunConfig]) -> list[Slot]:
        """The host in equal parts, neighbours together: each has cores, and where one of these points wants GPUs, those too."""
        if workers <= 1:
            return [Slot()]
        gpus = [gpu.uuid for gpu in self.gpus] if any(map(self.on_gpu, runs)) else []
        count = max(1, min(workers, len(gpus) or len(self.cpus)))
        return [Slot(gpus=mine, cpus=cores) for mine, cores in zip(_blocks(gpus, count), _blocks(self.cpus, count), strict=True)]

    def misfit(self, hardware: HardwareConfig) -> str | None:
        """Why a name like 4xA100-80GB does not describe these devices; None where it does, or is a name of another kind."""
        claim = re.fullmatch(r"(\d+)x([\w .]+?)(?:-(\d+)\s*GB)?", hardware.name or "")
        if claim is None or hardware.is_label or hardware.device is not Device.cuda:  # a name of CPUs is nobody's claim
            return None
        count, kind, gigabytes = int(claim[1]), claim[2], claim[3]
        like = [gpu for gpu in self.gpus if kind.lower() in re.split(r"[\s-]+", gpu.name.lower()) or kind.lower() == gpu.name.lower()]
        like = [gpu for gpu in like if gigabytes is None or gpu.memory_bytes is None or _is_about(gpu.memory_bytes, int(gigabytes))]
        if len(like) >= count:
            return None
        return f"this host has {self.summary or 'no GPU that is seen'}"

    @property
    def summary(self) -> str:
        """As people write it: 4x NVIDIA A100-SXM4-80GB (80 GiB)."""
        kinds = Counter(gpu.name + (f" ({gpu.memory_bytes / 2**30:.0f} GiB)" if gpu.memory_bytes else "") for gpu in self.gpus)
        return ", ".join(f"{count}x {kind}" for kind, count in kinds.items())


def devices(chosen: str | None = None) -> Devices:
    """What this process may use; `chosen` stands for CUDA_VISIBLE_DEVICES where a point sets its own."""
    gpus, driver = _all_gpus()
    return Devices(_visible(gpus, os.environ.get(VISIBLE) if chosen is None else chosen), driver)


def devices_for(run: RunConfig, slot: Slot | None = None) -> Devices:
    """What a worker that has this slot may use for this point."""
    return devices(run.hardware.env.get(VISIBLE, ",".join(slot.gpus) if slot and slot.gpus else None))


def _visible(gpus: tuple[Gpu, ...], chosen: str | None) -> tuple[Gpu, ...]:
    """As CUDA reads it: indices or (the beginnings of) UUIDs; the first that does not exist ends the list."""
    if chosen is None:
        return gpus
    found = []
    for name in filter(None, (name.strip() for name in chosen.split(","))):
        if name.isdigit():
            gpu = gpus[int(name)] if int(name) < len(gpus) else None
        else:
            gpu = next((gpu for gpu in gpus if gpu.uuid.startswith(name)), None)
        if gpu is None:
            break
        found.append(gpu)
    return tuple(found)


@cache
def _all_gpus() -> tuple[tuple[Gpu, ...], str | None]:
    """All GPUs and their driver: from NVML, or from torch where a container has no NVML."""
    for source in (_from_nvml, _from_torch):
        gpus, driver = source()
        if gpus:
            return tuple(replace(gpu, uuid=gpu.uuid or str(i)) for i, gpu in enumerate(gpus)), driver
    return (), None


_Found = tuple[list[Gpu], str | None]


def _from_nvml() -> _Found:
    if (library := nvml()) is None:
        return [], None
    handles = [handle for i in range(ask(library.nvmlDeviceGetCount) or 0) if (handle := ask(library.nvmlDeviceGetHandleByIndex, i))]
    gpus = [_gpu_of(library, part) for handle in handles for part in _parts(library, handle)]
    return gpus, ask(library.nvmlSystemGetDriverVersion)


def _gpu_of(library: Any, handle: Any) -> Gpu:
    memory = ask(library.nvmlDeviceGetMemoryInfo, handle)
    name, uuid = (ask(call, handle) for call in (library.nvmlDeviceGetName, library.nvmlDeviceGetUUID))
    return Gpu(name or "NVIDIA GPU", uuid or "", int(memory.total) if memory else None)


def _parts(library: Any, handle: Any) -> Iterator[Any]:
    """The card, or its slices where it is cut into some (MIG): CUDA uses those instead."""
    mode = ask(library.nvmlDeviceGetMigMode, handle)
    slices = range(ask(library.nvmlDeviceGetMaxMigDeviceCount, handle) or 0) if mode and mode[0] else ()
    found = [part for i in slices if (part := ask(library.nvmlDeviceGetMigDeviceHandleByIndex, handle, i))]
    yield from found or [handle]


def _from_torch() -> _Found:
    """In a process of its own, which takes seconds: only where a device file shows that there is something to be found."""
    if not any(map(glob, _DEVICE_FILES)):
        return [], None
    told = "p = torch.cuda.get_device_properties(i); print(p.name, getattr(p, 'uuid', ''), p.total_memory, sep='|')"
    command = (sys.executable, "-c", f"import torch\nfor i in range(torch.cuda.device_count()): {told}")
    everything = {key: value for key, value in os.environ.items() if key != VISIBLE} | {_ORDER: "PCI_BUS_ID"}
    try:
        done = subprocess.run(command, env=everything, capture_output=True, text=True, check=True, timeout=60)
    except (OSError, subprocess.SubprocessError):
        return [], None
    split = [line.split("|") for line in done.stdout.splitlines() if line.count("|") == 2]
    return [Gpu(name, uuid and f"GPU-{uuid}", int(memory)) for name, uuid, memory in split], None


@cache
def nvml() -> Any:
    """NVIDIA's library for looking at GPUs (nvidia-ml-py); None where it, or a driver, is not there."""
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    return pynvml


def ask(call: Callable[..., _T], *arguments: Any) -> _T | None:
    """The answer, or None: which questions a GPU answers depends on its kind and its driver."""
    try:
        return call(*arguments)
    except nvml().NVMLError:
        return None


def _is_about(memory_bytes: int, gigabytes: int) -> bool:
    """Whether a card with this memory is sold as one of so many GB, which its maker means as GiB."""
    return bool(abs(memory_bytes / 2**30 / gigabytes - 1) <= _MEMORY_TOLERANCE)


def _blocks(things: Sequence[_T], count: int) -> list[tuple[_T, ...]]:
    """`count` runs of neighbours, as equal as can be."""
    ends = [len(things) * i // count for i in range(count + 1)]
    return [tuple(things[start:end]) for start, end in pairwise(ends)]
