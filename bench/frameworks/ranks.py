"""Rank processes beside the worker: they start with it, do what it does, and die with it, as it dies with them."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

# A rank that fails alone leaves the others inside a collective that never ends. Whoever failed waits this
# long for the others to fail too; then it ends its process, and all the others with it.
_GRACE_S = 10.0
_PR_SET_PDEATHSIG = 1

MakeEngine = Callable[[int], Any]
"""Makes the engine of one rank, in that rank's process; must be picklable."""


@dataclass(frozen=True)
class _Raised:
    error: str


class RankFailed(RuntimeError):
    def __init__(self, rank: int, error: str) -> None:
        super().__init__(f"rank {rank}: {error}")


class Ranks:
    """N engines that work together: rank 0 in this process, the others each in a process of its own."""

    def __init__(self, make_engine: MakeEngine, count: int) -> None:
        spawn = multiprocessing.get_context("spawn")  # a fork would copy whatever threads this process has
        self._connections: list[Connection] = []
        self._processes: list[BaseProcess] = []
        self._ending = False
        for rank in range(1, count):
            ours, theirs = spawn.Pipe()
            process = spawn.Process(target=_serve, args=(make_engine, rank, theirs, os.getpid()), name=f"rank {rank}", daemon=True)
            process.start()
            theirs.close()
            self._connections.append(ours)
            self._processes.append(process)
        if self._processes:
            threading.Thread(target=self._die_with_them, name="ranks", daemon=True).start()
        self.first = make_engine(0)

    def call(self, method: str, *arguments: Any) -> list[Any]:
        """Call this method of every rank's engine at once, and wait for all results. Raises what rank 0 raises, or RankFailed."""
        for connection in self._connections:
            connection.send((method, arguments))
        try:
            mine = getattr(self.first, method)(*arguments)
        except Exception:
            self._collect(_GRACE_S)
            raise
        theirs = self._collect(None)
        for rank, result in enumerate(theirs, start=1):
            if isinstance(result, _Raised):
                raise RankFailed(rank, result.error)
        return [mine, *theirs]

    def stop(self) -> None:
        self._ending = True
        for connection in self._connections:
            connection.close()
        for process in self._processes:
            process.join(2.0)
            process.kill()
            process.join()

    def _collect(self, within_s: float | None) -> list[Any]:
        return [self._receive(connection, within_s) for connection in self._connections]

    def _receive(self, connection: Connection, within_s: float | None) -> Any:
        try:
            if not connection.poll(within_s):
                traceback.print_exc()
                print("rank 0 failed, and the others wait for it for ever; the worker ends", file=sys.stderr, flush=True)
                os._exit(1)
            result = connection.recv()
            if isinstance(result, _Raised):
                connection.send(None)  # heard: the rank need not end itself
        except (EOFError, ConnectionError):
            threading.Event().wait()  # the rank is dead, and the watching thread about to end this process
        return result

    def _die_with_them(self) -> None:
        """End this process as its rank ended, wherever the main thread is stuck: the launching process makes a row of it."""
        dead = wait([process.sentinel for process in self._processes])
        if self._ending:
            return
        process = next(process for process in self._processes if process.sentinel in dead)
        process.join()
        code = process.exitcode or 1
        print(f"{process.name} ended with exit code {code}, so the worker ends", file=sys.stderr, flush=True)
        if code < 0:
            os.kill(os.getpid(), -code)
            time.sleep(1.0)  # a signal takes a moment to arrive
        os._exit(abs(code))


def _serve(make_engine: MakeEngine, rank: int, connection: Connection, worker: int) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != worker:  # it died before we could ask to die with it
        os._exit(1)
    engine = make_engine(rank)
    while True:
        try:
            method, arguments = connection.recv()
        except (EOFError, ConnectionError):
            os._exit(0)
        try:
            connection.send(getattr(engine, method)(*arguments))
        except Exception as error:
            traceback.print_exc()
            connection.send(_Raised(f"{type(error).__name__}: {error}"))
            if not connection.poll(_GRACE_S):
                os._exit(1)
            connection.recv()
