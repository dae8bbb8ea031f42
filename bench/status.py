"""How a job ended."""

from __future__ import annotations

from enum import StrEnum


class Status(StrEnum):
    ok = "ok"
    oom = "oom"  # out of memory, on the device or on the host
    pruned = "pruned"  # not run: a point that needs no more ran out of memory
    timeout = "timeout"  # took longer than timeout_s
    crashed = "crashed"  # its worker died
    failed = "failed"  # raised
    unsupported = "unsupported"  # the framework can never run it
    unavailable = "unavailable"  # something is missing that can be had: a package, a login, a GPU
    interrupted = "interrupted"  # stopped by the user or the cluster

    @property
    def is_result(self) -> bool:
        """Whether running the same thing again would tell nothing new."""
        return self in (Status.ok, Status.oom, Status.pruned, Status.unsupported)
