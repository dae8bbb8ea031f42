"""Describe the host: CPU, memory, GPUs, drivers, versions. Cheap, and without importing an engine."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from functools import cache, cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

from bench import __version__
from bench.errors import InvalidSetting
from bench.host.devices import devices
from bench.host.processes import ROOT, child_environment

# Variables that are known to change timings: OMP_WAIT_POLICY alone decides a factor of ten on a busy host.
TIMING_PREFIXES = (
    *("OMP_", "KMP_", "MKL_", "GOMP_", "TORCH_", "PYTORCH_", "ATEN_", "DNNL_", "ONEDNN_", "VLLM_"),
    *("CUDA_VISIBLE_DEVICES", "NCCL_", "LD_PRELOAD"),
)

COMMAND_VARIABLE = "BENCH_COMMAND"  # what was typed, for the workers and the cluster's jobs that write rows


@dataclass(frozen=True, eq=False)
class Machine:
    host: str
    cpu: str
    cpus: int  # that this process may use
    ram_bytes: int
    gpus: tuple[str, ...]  # that this process may use
    driver: str | None
    kernel: str
    python: str
    packages: dict[str, str]  # version of each distribution that was asked for and is installed
    details: dict[str, str] = field(default_factory=dict)  # settings of firmware, kernel and container, those that can be read

    @cached_property
    def fingerprint(self) -> str:
        return fingerprint(asdict(self), self.packages)

    @property
    def gpu(self) -> str | None:
        return ", ".join(dict.fromkeys(self.gpus)) or None

    @property
    def summary(self) -> str:
        gpus = f"{len(self.gpus)}x {self.gpu} · " if self.gpus else ""
        return f"{gpus}{self.cpu} · {self.cpus} CPUs · {self.ram_bytes / 2**30:.0f} GiB"


def fingerprint(host: Mapping[str, Any], packages: Iterable[str]) -> str:
    """Hash of what a measurement depends on: hardware and the versions of these packages, not the host's name.

    `host` is a Machine as a mapping, as rows keep it in their environment.
    """
    versions = sorted((name, found) for name in packages if (found := host["packages"].get(name)))
    parts = (host["cpu"], host["cpus"], tuple(host["gpus"]), host["driver"], versions)
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:12]


@cache
def describe(python: str | None = None, packages: tuple[str, ...] = ("torch", "transformers")) -> Machine:
    """This host, with what is installed for the interpreter of a worker; None: for this process. Raises InvalidSetting."""
    if python:
        there = _ask(python, packages)
        if there["version"] != __version__:
            problem = f"it has llm-bench-sweep {there['version']}, and this is {__version__}; install the same one there"
            raise InvalidSetting("framework.python", python, problem)
        return replace(_here(), python=there["python"], packages=there["packages"])
    return replace(_here(), packages=_versions(packages))


@cache
def _here() -> Machine:
    seen = devices()
    return Machine(
        host=platform.node(),
        cpu=_cpuinfo("model name") or platform.processor() or platform.machine(),
        cpus=len(os.sched_getaffinity(0)),
        ram_bytes=psutil.virtual_memory().total,
        gpus=tuple(gpu.name for gpu in seen.gpus),
        driver=seen.driver,
        kernel=platform.release(),
        python=platform.python_version(),
        packages={},
        details=_details(),
    )


def _ask(python: str, packages: tuple[str, ...]) -> dict[str, Any]:
    """What this module prints when that interpreter runs it."""
    try:
        command = [python, "-m", "bench.host.machine", *packages]
        done = subprocess.run(command, env=child_environment(python), capture_output=True, text=True, timeout=60, check=True)
        told: dict[str, Any] = json.loads(done.stdout)
    except OSError as error:
        problem = f"cannot be started ({error.strerror}); name the python of an environment, as in .venv/bin/python"
        raise InvalidSetting("framework.python", python, problem) from error
    except (subprocess.SubprocessError, ValueError) as error:
        said = ((getattr(error, "stderr", None) or "").strip() or str(error)).splitlines()[-1]
        problem = f"cannot run this program ({said}); install llm-bench-sweep {__version__} in that environment, too"
        raise InvalidSetting("framework.python", python, problem) from error
    return told


@cache
def git_sha() -> str | None:
    """The commit of this checkout, with a '+' where it was changed since; None for an installed package."""
    if not (ROOT / ".git").exists():
        return None
    command = ("git", "-C", str(ROOT), "describe", "--always", "--exclude=*", "--abbrev=12", "--dirty=+")
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=5).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def memory_left_bytes() -> int:
    """What a process may still take: the host's available memory, or what is left of the control group's limit."""
    left = psutil.virtual_memory().available
    for group, limit, used, cached in _CGROUP_MEMORY:
        try:
            # What it holds of files that nobody reads now is given up for whoever asks for memory; where that is not told, nothing.
            told = re.search(rf"^{cached} (\d+)$", read(group / "memory.stat"), re.MULTILINE)
            taken = int((group / used).read_text()) - int(told[1] if told else 0)
            left = min(left, int((group / limit).read_text()) - max(0, taken))
        except (OSError, ValueError):  # no such group, or "max"
            continue
    return max(0, left)


# Version 2 and version 1 of control groups, as a container sees its own.
_CGROUP_MEMORY = (
    (Path("/sys/fs/cgroup"), "memory.max", "memory.current", "inactive_file"),
    (Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)


def cache_folder() -> Path:
    """Where this program keeps what it can make again: measured ceilings and the like."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "llm-bench-sweep"


def timing_environment() -> dict[str, str]:
    return {key: value for key, value in sorted(os.environ.items()) if key.startswith(TIMING_PREFIXES)}


def cpu_flags() -> frozenset[str]:
    """What this CPU can execute, as the kernel tells; nothing where it doesn't."""
    return frozenset((_cpuinfo("flags") or "").split())


def _cpuinfo(key: str) -> str | None:
    lines = read("/proc/cpuinfo").splitlines()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(key)), None)


_CPU, _CGROUP = "/sys/devices/system/cpu", "/sys/fs/cgroup"
# What explains a number a year later: name -> files, the first that can be read counts.
_DETAIL_FILES = {
    "governor": (f"{_CPU}/cpu*/cpufreq/scaling_governor",),
    "frequency_driver": (f"{_CPU}/cpu0/cpufreq/scaling_driver",),
    "max_khz": (f"{_CPU}/cpu*/cpufreq/scaling_max_freq",),
    "boost": (f"{_CPU}/cpufreq/boost",),
    "no_turbo": (f"{_CPU}/intel_pstate/no_turbo",),
    "smt": (f"{_CPU}/smt/active",),
    "numa": ("/sys/devices/system/node/node[0-9]*/cpulist",),
    "numa_balancing": ("/proc/sys/kernel/numa_balancing",),
    "huge_pages": ("/sys/kernel/mm/transparent_hugepage/enabled",),
    "cgroup_cpu": (f"{_CGROUP}/cpu.max", f"{_CGROUP}/cpu/cpu.cfs_quota_us"),
    "cgroup_memory": (f"{_CGROUP}/memory.max", f"{_CGROUP}/memory/memory.limit_in_bytes"),
}
_UNLIMITED = ("max", "max 100000", "-1", "9223372036854771712")  # how groups of versions 2 and 1 say that there is no limit


def _details() -> dict[str, str]:
    known = {name: _first_of(patterns) for name, patterns in _DETAIL_FILES.items()}
    known |= {
        "microcode": _cpuinfo("microcode"),
        "virtual": "yes" if "hypervisor" in cpu_flags() else None,
        "affinity": _ranges(sorted(os.sched_getaffinity(0))),
    }
    return {name: value for name, value in known.items() if value and value not in _UNLIMITED}


def _first_of(patterns: tuple[str, ...]) -> str | None:
    """The content of the first pattern that matches; of several files each different content once."""
    for pattern in patterns:
        found = [read(file) for file in sorted(Path("/").glob(pattern.removeprefix("/")))]
        if values := list(dict.fromkeys(value for value in found if value)):
            return "; ".join(values)
    return None


def _ranges(numbers: list[int]) -> str:
    """[0, 1, 2, 5] as 0-2,5."""
    starts = [n for n in numbers if n - 1 not in numbers]
    ends = [n for n in numbers if n + 1 not in numbers]
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in zip(starts, ends, strict=True))


def read(path: str | Path) -> str:
    """The content of a file of the kernel's; nothing where it cannot be read."""
    try:
        return Path(path).read_text().strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _versions(packages: Iterable[str]) -> dict[str, str]:
    found = {}
    for name in packages:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


if __name__ == "__main__":
    print(json.dumps({"version": __version__, "python": platform.python_version(), "packages": _versions(sys.argv[1:])}))
