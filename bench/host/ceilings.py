"""What this host's hardware allows at best: measured once in a process of its own, kept in the user's cache folder."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from functools import reduce
from pathlib import Path
from typing import Any

from bench.config import RunConfig
from bench.errors import BenchError
from bench.host.devices import Slot, devices_for
from bench.host.machine import Machine, cache_folder, describe
from bench.host.processes import child_environment

_TIMEOUT_S = 180


class NoCeilings(BenchError):
    def __init__(self, reason: str) -> None:
        super().__init__(
            f"the ceilings of this host cannot be measured: {reason}. "
            "Mend that and run python -m bench.hardware, or sweep with ceilings=false"
        )


@dataclass(frozen=True)
class DeviceCeilings:
    """The best that was seen on one device: the CPU with all its threads, or one GPU."""

    device: str  # cpu, or the GPU's name
    threads: int | None
    read_bytes_per_s: float
    copy_bytes_per_s: float  # bytes read + bytes written
    flops_per_s: dict[str, float]  # matrix products, per dtype
    cache_bytes: int  # that a model's weights can stay in from step to step

    @property
    def bytes_per_s(self) -> float:
        return max(self.read_bytes_per_s, self.copy_bytes_per_s)

    def best_of(self, other: DeviceCeilings) -> DeviceCeilings:
        return replace(
            self,
            read_bytes_per_s=max(self.read_bytes_per_s, other.read_bytes_per_s),
            copy_bytes_per_s=max(self.copy_bytes_per_s, other.copy_bytes_per_s),
            flops_per_s={
                dtype: max(one.flops_per_s.get(dtype, 0.0) for one in (self, other)) for dtype in other.flops_per_s | self.flops_per_s
            },
        )


@dataclass(frozen=True)
class HostCeilings:
    measured_at: str
    devices: tuple[DeviceCeilings, ...]

    def of(self, device: str | None) -> DeviceCeilings | None:
        return next((found for found in self.devices if found.device == device), None)

    def best_of(self, other: HostCeilings) -> HostCeilings:
        missing = [device for device in other.devices if self.of(device.device) is None]
        return replace(self, devices=(*(device.best_of(other.of(device.device) or device) for device in self.devices), *missing))


def cached(host: Machine) -> HostCeilings | None:
    """What was measured on this hardware before; None if nothing was."""
    try:
        return _parse(json.loads(_file(host).read_text()))
    except (OSError, ValueError, TypeError, KeyError):  # missing, cut off, or from an older version: measure again
        return None


def measure(host: Machine, before: HostCeilings | None = None, seconds_per_kernel: float = 0.3) -> HostCeilings:
    """Measure in a child process, a few seconds, and keep the best of it and of `before`.

    A busy host only makes a ceiling look lower, so that the best of several tries is nearest to the truth.
    Nothing else may be measured meanwhile. Raises NoCeilings.
    """
    command = [sys.executable, "-m", "bench.host.probe", str(seconds_per_kernel)]
    try:
        done = subprocess.run(
            command, env=child_environment() | Slot().environment, capture_output=True, text=True, check=True, timeout=_TIMEOUT_S
        )
        now = datetime.now(UTC).isoformat(timespec="seconds")
        passes = [_parse({"measured_at": now, "devices": devices}) for devices in json.loads(done.stdout)]
    except subprocess.CalledProcessError as error:
        raise NoCeilings((error.stderr.strip().splitlines() or [f"exit code {error.returncode}"])[-1]) from error
    except (OSError, subprocess.TimeoutExpired, ValueError) as error:
        raise NoCeilings(str(error)) from error
    found = reduce(HostCeilings.best_of, [*passes, *([before] if before else [])])
    _keep(found, _file(host))
    return found


@dataclass
class CeilingKeeper:
    """The ceilings while jobs run: from the cache, else measured before the first job that needs them."""

    known: HostCeilings | None = None
    may_repeat: bool = True  # false where other jobs may be running
    _sought: set[str] = field(default_factory=set)  # devices

    def ensure(self, run: RunConfig, note: Callable[[str], None]) -> None:
        gpus = devices_for(run).of(run)
        device = gpus[0].name if gpus else "cpu"
        if device in self._sought or not _wanted(run):
            return
        self._sought.add(device)
        self.known = self.known or cached(describe())
        if self.known is None or self.known.of(device) is None:
            self._measure(note)

    def raised(self, run: RunConfig, note: Callable[[str], None]) -> bool:
        """Called when a row beats its ceiling: more often than a wrong row, that is a ceiling from a busy moment."""
        if not self.may_repeat or not _wanted(run):
            return False
        self.may_repeat = False
        self._measure(note)
        return True

    def _measure(self, note: Callable[[str], None]) -> None:
        note("measuring what this host allows, a few seconds; ceilings=false skips it")
        try:
            self.known = measure(describe(), self.known)
        except NoCeilings as error:  # the rows are worth having without them
            note(str(error))


def _wanted(run: RunConfig) -> bool:
    return run.ceilings and not run.framework.pretends


def _parse(stored: dict[str, Any]) -> HostCeilings:
    return HostCeilings(stored["measured_at"], tuple(DeviceCeilings(**device) for device in stored["devices"]))


def _keep(found: HostCeilings, file: Path) -> None:
    """Best effort: without a writable cache folder they are just measured again next time."""
    hidden = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        hidden.write_text(json.dumps(asdict(found), indent=1))
        hidden.replace(file)
    except OSError:
        hidden.unlink(missing_ok=True)


def _file(host: Machine) -> Path:
    parts: Sequence[object] = (host.host, host.cpu, host.cpus, host.gpus, host.driver, host.packages.get("torch"))
    return cache_folder() / "ceilings" / f"{hashlib.sha256(repr(parts).encode()).hexdigest()[:12]}.json"
