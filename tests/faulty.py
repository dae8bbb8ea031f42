"""framework=faulty: the fake, struck by whatever can go wrong with an engine. An entry point like anybody's: tests/plugin."""

from __future__ import annotations

import ctypes
import os
import pickle
import random
import resource
import signal
import struct
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Optional

from bench.config import RunConfig
from bench.errors import Unavailable, Unsupported
from bench.frameworks import fake
from bench.frameworks.base import OnStep, Tokens
from bench.frameworks.ranks import Ranks
from bench.measure.point import Measurement
from bench.roofline import ModelShape


class Fault(StrEnum):
    unsupported = "unsupported"  # says so while loading
    unavailable = "unavailable"  # says so while loading, until the file `framework.marks` is there
    load_error = "load_error"  # raises while loading
    error = "error"  # raises while generating
    oom = "oom"  # runs out of memory
    sticky = "sticky"  # its device is lost: from now on, every call in this process raises
    device_assert = "device_assert"  # the same on a real GPU
    load_once = "load_once"  # dies, and the next load raises
    hang = "hang"  # never answers
    exit = "exit"  # leaves with exit code 3
    kill = "kill"  # is killed, as by the kernel's out-of-memory killer
    segfault = "segfault"  # reads address 0
    bad_alloc = "bad_alloc"  # ends as C++ does where nobody catches a failed allocation
    full_load = "full_load"  # fills its memory while loading, and then tries for ever to get more
    short = "short"  # returns a token less than asked
    kill_rank = "kill_rank"  # its second rank is killed
    bad_alloc_rank = "bad_alloc_rank"  # its second rank ends as C++ does where nobody catches a failed allocation
    oom_rank = "oom_rank"  # its second rank alone runs out of memory
    kill_launcher = "kill_launcher"  # the launching process is killed
    terminate_launcher = "terminate_launcher"  # the launching process gets SIGTERM
    full_disk = "full_disk"  # the launching process cannot write the row
    shout = "shout"  # prints what looks like a result
    forge = "forge"  # and writes it to all that is open in its process
    any = "any"  # one of those that strike while generating, or none: drawn by the seed and the point


_NOT_DRAWN = (
    *(Fault.unsupported, Fault.unavailable, Fault.load_error, Fault.short, Fault.oom_rank, Fault.device_assert, Fault.shout, Fault.forge),
    *(Fault.any, Fault.bad_alloc, Fault.bad_alloc_rank, Fault.full_load),
)
DRAWN = [fault for fault in Fault if fault not in _NOT_DRAWN]


@dataclass
class Settings(fake.Settings):
    rank_processes: bool = False  # whether each rank really is a process
    fault: Optional[Fault] = None  # what goes wrong
    fault_at: Optional[int] = None  # only at this batch size; default: at each
    fault_seed: int = 0  # for fault=any
    fault_share: float = 1 / 3  # for fault=any: the part of the points that is struck
    marks: Optional[str] = None  # a folder that remembers the points that were struck, so that each is struck once


def drawn(seed: int, point: str, share: float) -> Fault | None:
    """The fault that strikes this point, if any."""
    rng = random.Random(f"{seed} {point}")
    return rng.choice(DRAWN) if rng.random() < share else None


class Faulty(fake.Fake):
    def __init__(self, run: RunConfig) -> None:
        super().__init__(run)
        self._ranks: Ranks | None = None
        self._device_lost = False

    @property
    def _settings(self) -> Settings:
        assert isinstance(self._run.framework, Settings)
        return self._run.framework

    def load(self) -> ModelShape | None:
        marks = Path(self._settings.marks or "/nowhere")
        if self._settings.fault is Fault.unsupported:
            raise Unsupported("never (pretend)")
        if self._settings.fault is Fault.unavailable and not marks.exists():
            raise Unavailable("not yet (pretend)")
        if self._settings.fault is Fault.load_error:
            raise RuntimeError("no weights (pretend)")
        if self._settings.fault is Fault.full_load:
            _fill_memory()
        if (marks / "next-load").exists():
            (marks / "next-load").unlink()
            raise RuntimeError("no weights this time (pretend)")
        if self._settings.rank_processes:
            self._ranks = Ranks(_Rank, self._settings.tp)
        return super().load()

    def generate(self, prompts: Tokens, new_tokens: int, on_step: OnStep) -> Tokens:
        fault = self._fault_at(len(prompts))
        pids = self._ranks.call("pid") if self._ranks else []
        if self._ranks and fault in (Fault.oom_rank, Fault.bad_alloc_rank):
            self._ranks.call("run_out_of_memory", fault is Fault.bad_alloc_rank)
        self._device_lost = self._device_lost or fault is Fault.sticky
        if self._device_lost:
            raise RuntimeError("CUDA error: an illegal memory access was encountered (pretend)")
        if self._settings.fault is Fault.device_assert:
            _use_gpu(lose_it=fault is Fault.device_assert)
        if fault is Fault.load_once:
            Path(str(self._settings.marks), "next-load").touch()
        if fault in (Fault.shout, Fault.forge):
            _tell(Measurement((1e-9,), None, "forged", None, 0.0, 0.0), range(1, 3) if fault is Fault.shout else range(1, 64))
            _tell(_Opened(str(self._settings.marks)), range(1, 3) if fault is Fault.shout else range(1, 64))
        _strike(fault, len(prompts), pids[1] if pids else None)
        return super().generate(prompts, new_tokens - 1 if fault is Fault.short else new_tokens, on_step)

    def _fault_at(self, batch_size: int) -> Fault | None:
        settings, run = self._settings, self._run
        if settings.fault_at not in (None, batch_size):
            return None
        if settings.fault is not Fault.any:
            return settings.fault
        point = f"{run.batch_size}-{run.input_tokens}-{run.output_tokens}"
        fault = drawn(settings.fault_seed, point, settings.fault_share)
        return fault if fault and _first_time(str(settings.marks), point) else None


def _use_gpu(lose_it: bool) -> None:
    """Ask torch's GPU for something; with an index out of range, this process can never use it again."""
    import torch

    torch.arange(4, device="cuda")[torch.tensor([9 if lose_it else 1], device="cuda")].cpu()


def _fill_memory() -> None:
    taken: list[bytearray] = []
    while True:
        with suppress(MemoryError):
            taken.append(bytearray(2**20))


def _tell(message: object, files: range) -> None:
    """Write a message, as the sweep expects one, to these open files."""
    content = pickle.dumps(message)
    for file in files:
        with suppress(OSError):
            os.write(file, struct.pack("!Q", len(content)) + content)


@dataclass
class _Opened:
    """Leaves a file where whoever unpickles it."""

    marks: str

    def __reduce__(self) -> tuple[type[object], tuple[object, ...]]:
        return open, (os.path.join(self.marks, "opened"), "w")  # type: ignore[return-value]


def _first_time(folder: str, point: str) -> bool:
    """Whether no fault has struck this point yet; a mark in `folder` remembers."""
    mark = Path(folder, point)
    if mark.exists():
        return False
    mark.touch()
    return True


def _strike(fault: Fault | None, batch_size: int, second_rank: int | None) -> None:
    launcher = os.getppid()
    match fault:
        case Fault.error:
            raise ValueError(f"batch of {batch_size} refused (pretend)")
        case Fault.oom:
            raise MemoryError(f"batch of {batch_size} does not fit (pretend)")
        case Fault.hang:
            time.sleep(1e6)
        case Fault.exit | Fault.load_once:
            os._exit(3)
        case Fault.kill:
            os.kill(os.getpid(), signal.SIGKILL)
        case Fault.bad_alloc:
            _end_as_cpp()
        case Fault.segfault:
            ctypes.string_at(0)
        case Fault.kill_rank if second_rank:
            os.kill(second_rank, signal.SIGKILL)
            time.sleep(10)  # the others wait for it inside a collective
        case Fault.kill_launcher:
            os.kill(launcher, signal.SIGKILL)
            time.sleep(10)
        case Fault.terminate_launcher:
            os.kill(launcher, signal.SIGTERM)
            time.sleep(10)
        case Fault.full_disk:
            resource.prlimit(launcher, resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))


def _end_as_cpp() -> None:
    print("terminate called after throwing an instance of 'std::bad_alloc'", file=sys.stderr, flush=True)
    os.abort()


class _Rank:
    def __init__(self, rank: int) -> None:
        self.rank = rank

    def pid(self) -> int:
        return os.getpid()

    def run_out_of_memory(self, in_cpp: bool) -> None:
        if self.rank and in_cpp:
            _end_as_cpp()
        if self.rank:
            raise MemoryError("does not fit (pretend)")
        time.sleep(1e6)  # the others wait for it inside a collective
