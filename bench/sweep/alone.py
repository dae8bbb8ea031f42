"""Two processes never work on one output folder at once: the second waits until the first has ended, however it ends."""

from __future__ import annotations

import fcntl
import os
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def alone_in(folder: Path, tell: Callable[[str], None]) -> Iterator[None]:
    """Hold the folder's lock, which ends with its process; `tell` hears of whom it has to wait for."""
    with (folder / ".lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            tell(f"{lock.read() or 'another process'} works on {folder}; waiting for its end")
            fcntl.flock(lock, fcntl.LOCK_EX)
        lock.truncate(0)
        print(f"process {os.getpid()} on {platform.node()}", end="", file=lock, flush=True)
        yield
