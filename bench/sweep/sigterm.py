"""What SIGTERM does while a sweep runs: schedulers and shutdowns send it before they kill."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def on_sigterm(act: Callable[[], None]) -> Iterator[None]:
    """Call `act` at a SIGTERM; without effect where the signal is not ours to set."""

    def handler(*_: object) -> None:
        act()

    if signal.getsignal(signal.SIGTERM) is None:  # set by something that is not Python, and could not be set back
        yield
        return
    try:
        before = signal.signal(signal.SIGTERM, handler)
    except ValueError:  # not in the main thread, as in a notebook's worker
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
