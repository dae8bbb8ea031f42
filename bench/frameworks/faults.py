"""What can go wrong at a point, on request: the faults of the fake framework."""

from __future__ import annotations

import ctypes
import os
import random
import resource
import signal
import time
from enum import StrEnum
from pathlib import Path


class Fault(StrEnum):
    unsupported = "unsupported"  # says so while loading
    load_error = "load_error"  # raises while loading
    error = "error"  # raises while generating
    oom = "oom"  # runs out of memory
    hang = "hang"  # never answers
    exit = "exit"  # leaves with exit code 3
    kill = "kill"  # is killed, as by the kernel's out-of-memory killer
    segfault = "segfault"  # reads address 0
    short = "short"  # returns a token less than asked
    kill_rank = "kill_rank"  # its second rank is killed
    oom_rank = "oom_rank"  # its second rank alone runs out of memory
    kill_launcher = "kill_launcher"  # the launching process is killed
    terminate_launcher = "terminate_launcher"  # the launching process gets SIGTERM
    full_disk = "full_disk"  # the launching process cannot write the row
    any = "any"  # one of those that strike while generating, or none: drawn by the seed and the point


_NOT_DRAWN = (Fault.unsupported, Fault.load_error, Fault.short, Fault.oom_rank, Fault.any)
_WHILE_GENERATING = [fault for fault in Fault if fault not in _NOT_DRAWN]
_SHARE_STRUCK = 1 / 3  # of the points, where the fault is drawn


def drawn(seed: int, point: str) -> Fault | None:
    """The fault that strikes this point; None for two points of three."""
    rng = random.Random(f"{seed} {point}")
    return rng.choice(_WHILE_GENERATING) if rng.random() < _SHARE_STRUCK else None


def first_time(folder: str, point: str) -> bool:
    """Whether no fault has struck this point yet; a mark in `folder` remembers."""
    mark = Path(folder, point)
    if mark.exists():
        return False
    mark.touch()
    return True


def strike(fault: Fault | None, batch_size: int, second_rank: int | None) -> None:
    launcher = os.getppid()
    match fault:
        case Fault.error:
            raise ValueError(f"batch of {batch_size} refused (pretend)")
        case Fault.oom:
            raise MemoryError(f"batch of {batch_size} does not fit (pretend)")
        case Fault.hang:
            time.sleep(1e6)
        case Fault.exit:
            os._exit(3)
        case Fault.kill:
            os.kill(os.getpid(), signal.SIGKILL)
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
