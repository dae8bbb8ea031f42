"""Processes of this program: what a child must know of its parent, and how each learns that it is to end."""

from __future__ import annotations

import ctypes
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[2]  # of the checkout, or where packages are installed


def python_path() -> str:
    """PYTHONPATH for a child process, so that it finds this package wherever it starts."""
    return os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))


def child_environment(python: str | None = None) -> dict[str, str]:
    """The environment of a child process that runs this package, by this interpreter or by another.

    The other one brings its own packages, and must not find ours: a checkout is shown to it, an installed package is not.
    """
    if python and Path(psutil.__file__).parents[1] == ROOT:
        shown = [folder for folder in os.environ.get("PYTHONPATH", "").split(os.pathsep) if folder != str(ROOT)]
        return {**os.environ, "PYTHONPATH": os.pathsep.join(shown)}
    return {**os.environ, "PYTHONPATH": python_path()}


_PR_SET_PDEATHSIG = 1  # prctl(2)


def die_with_parent() -> None:
    """Have the kernel end this process with its parent: no thread has to look, so none disturbs the repeats."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


@contextmanager
def on_sigterm(act: Callable[[], None]) -> Iterator[None]:
    """Call `act` at a SIGTERM, which schedulers and shutdowns send before they kill; without effect where the signal is not ours to set."""
    before = signal.getsignal(signal.SIGTERM)
    # None: set by something that is not Python, and could not be set back. A notebook runs in another thread.
    if before is None or threading.current_thread() is not threading.main_thread():
        yield
        return
    signal.signal(signal.SIGTERM, lambda *_: act())
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
