"""Two processes on one output folder never run the same job: each job is a byte in a lock file."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from bench.sweep.plan import JobKey

_STARTING = 0  # held by whoever is starting
_PRESENCE = 1  # shared by all that live
_FIRST_JOB = 1 << 10


class Claims:
    """Record locks of fcntl(2): they end with their process, however it ends, and work on a shared disk.

    A lock is kept until this process leaves, so that while it lives no other runs what it has run.
    A process that planned its jobs while another was alive must look for rows before it trusts its plan: `shared` tells.
    """

    def __init__(self, folder: Path) -> None:
        self._file = (folder / ".lock").open("a+b", buffering=0)
        fcntl.lockf(self._file, fcntl.LOCK_EX, 1, _STARTING)
        self._others_at_start = not self._lock(_PRESENCE, fcntl.LOCK_EX)
        self._lock(_PRESENCE, fcntl.LOCK_SH)
        os.write(self._file.fileno(), b".")  # the file's length is the number of starts
        self._number = self._starts()
        fcntl.lockf(self._file, fcntl.LOCK_UN, 1, _STARTING)

    @property
    def shared(self) -> bool:
        """Whether another process works, or has worked, on this folder since this one came."""
        return self._others_at_start or self._starts() != self._number

    def claim(self, job: JobKey) -> bool:
        """Whether the job is ours; False while another process has it."""
        config_id, round_number = job
        return self._lock(_FIRST_JOB + (int(config_id, 16) << 10) + round_number, fcntl.LOCK_EX)

    def close(self) -> None:
        self._file.close()

    def _lock(self, byte: int, kind: int) -> bool:
        try:
            fcntl.lockf(self._file, kind | fcntl.LOCK_NB, 1, byte)
        except OSError:
            return False
        return True

    def _starts(self) -> int:
        return os.fstat(self._file.fileno()).st_size
