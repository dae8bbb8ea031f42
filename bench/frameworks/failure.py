"""What the end of an engine makes of its job: an exception that it raised, or the death of a process of its."""

from __future__ import annotations

import signal
from pathlib import Path

from bench.errors import BenchError, Unavailable, Unsupported
from bench.status import Status

# What an engine says before it touches a device. After anything else its process is not trusted: memory may be lost,
# and after an illegal access every later call on that GPU fails, too.
REFUSALS = (Status.unsupported, Status.unavailable)
_BAD_ALLOC = "std::bad_alloc"
_OUT_OF_MEMORY = (
    # How the allocators of torch say it: torch.OutOfMemoryError on a GPU, a plain RuntimeError on the CPU.
    *("out of memory", "can't allocate memory", "cannot allocate memory", "not enough memory"),
    # How cuBLAS and older cuDNN, newer cuDNN, and NCCL say that nothing is left for their buffers.
    *("_status_alloc_failed", "allocation_failed", "failed to cuda calloc"),
    # C++'s own, and OpenVINO's.
    *(_BAD_ALLOC, "failed to allocate"),
)


class JobLost(Exception):
    """A job that came to nothing: the status of its row, and why. Goes from process to process, and is raised where it arrives."""

    def __init__(self, status: Status, error: str) -> None:
        super().__init__(status, error)
        self.status, self.error = status, error

    def __str__(self) -> str:
        return self.error


def of_exception(error: BaseException) -> JobLost:
    if isinstance(error, JobLost):
        return error
    told = str(error) if isinstance(error, BenchError) else f"{type(error).__name__}: {error}".rstrip(": ")
    return JobLost(_status(error), told)


def of_death(who: str, exit_code: int, oom_kills_before: int, said: str = "") -> JobLost:
    """How a process died, and whether it was for memory, as the kernel or what it `said` last tells."""
    if exit_code == -signal.SIGKILL and oom_kills() > oom_kills_before:
        return JobLost(
            Status.oom, f"the kernel's out-of-memory killer ended {who}; a lower hardware.memory_limit_gb makes it fail by itself"
        )
    if exit_code == -signal.SIGABRT and _BAD_ALLOC in said:  # what no C++ caught ends its process
        return JobLost(
            Status.oom, f"an allocation failed and ended {who}; raise hardware.memory_limit_gb, or take a smaller model or batch"
        )
    how = f"died of {signal.Signals(-exit_code).name}" if exit_code < 0 else f"left with exit code {exit_code}"
    return JobLost(Status.crashed, f"{who} {how}")


def oom_kills() -> int:
    """How often this host's kernel has killed a process for memory: proc_vmstat(5)."""
    lines = Path("/proc/vmstat").read_text().splitlines()
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)


def _status(error: BaseException) -> Status:
    if isinstance(error, Unsupported):
        return Status.unavailable if isinstance(error, Unavailable) else Status.unsupported
    said = str(error).lower()
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError" or any(words in said for words in _OUT_OF_MEMORY):
        return Status.oom
    return Status.failed
