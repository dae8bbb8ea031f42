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
_VMSTAT = Path("/proc/vmstat")
_LAST_BYTES = 1 << 16  # of a log: what a dying process says, with the stacks of its threads behind it
_OUT_OF_MEMORY = (
    # How the allocators of torch say it: torch.OutOfMemoryError on a GPU, a plain RuntimeError on the CPU.
    *("out of memory", "can't allocate memory", "cannot allocate memory", "not enough memory"),
    # How cuBLAS and older cuDNN, newer cuDNN, and NCCL say that nothing is left for their buffers.
    *("_status_alloc_failed", "allocation_failed", "failed to cuda calloc"),
    # C++'s own, OpenVINO's, and llama.cpp's.
    *(_BAD_ALLOC, "failed to allocate", "failed to create memory"),
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


class Witness:
    """Tells how a process died, and whether it was for memory: by what the kernel counted, and the log got, since before its start."""

    def __init__(self, log: Path) -> None:
        """`log` gets what the process prints; a terminal or a pipe tells nothing later."""
        self._log = log
        self._said_before = log.stat().st_size
        self._oom_kills = _oom_kills()

    def of_death(self, who: str, exit_code: int) -> JobLost:
        if exit_code == -signal.SIGKILL and _oom_kills() > self._oom_kills:
            return JobLost(
                Status.oom, f"the kernel's out-of-memory killer ended {who}; a lower hardware.memory_limit_gb makes it fail by itself"
            )
        if exit_code == -signal.SIGABRT and _BAD_ALLOC in self._said():  # what no C++ caught ends its process
            return JobLost(
                Status.oom, f"an allocation failed and ended {who}; raise hardware.memory_limit_gb, or take a smaller model or batch"
            )
        names = {each.value: each.name for each in signal.Signals}  # real-time signals have none
        how = f"died of {names.get(-exit_code, f'signal {-exit_code}')}" if exit_code < 0 else f"left with exit code {exit_code}"
        return JobLost(Status.crashed, f"{who} {how}")

    def _said(self) -> str:
        """Nothing where the log was taken away."""
        if not self._log.is_file():
            return ""
        with self._log.open("rb") as log:
            log.seek(max(self._said_before, self._log.stat().st_size - _LAST_BYTES))
            return log.read().decode(errors="replace")


def out_of_memory(said: str) -> bool:
    """Whether these are the words of one that could not allocate."""
    return any(words in said.lower() for words in _OUT_OF_MEMORY)


def _oom_kills() -> int:
    """How often this host's kernel has killed a process for memory: proc_vmstat(5)."""
    lines = _VMSTAT.read_text().splitlines() if _VMSTAT.is_file() else []  # sandboxes like gVisor have none
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)


def _status(error: BaseException) -> Status:
    if isinstance(error, Unsupported):
        return Status.unavailable if isinstance(error, Unavailable) else Status.unsupported
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError" or out_of_memory(str(error)):
        return Status.oom
    return Status.failed
