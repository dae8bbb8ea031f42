"""Rank processes beside the worker: they start with it, do what it does, and die with it, as it dies with them."""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from bench.errors import Unsupported
from bench.frameworks.calls import answer_calls
from bench.frameworks.failure import REFUSALS, JobLost, Witness
from bench.host.processes import die_with_parent

MakeEngine = Callable[[int], Any]
"""Makes the engine of one rank, in that rank's process; must be picklable."""


class Ranks:
    """N engines that work together: rank 0 in this process, the others each in a process of its own."""

    last_words: Callable[[JobLost], None] = staticmethod(lambda lost: None)
    """Told why this process ends, right before it does. The worker sets it, and tells the launching process."""

    def __init__(self, make_engine: MakeEngine, count: int) -> None:
        spawn = multiprocessing.get_context("spawn")  # a fork would copy whatever threads this process has
        self._connections: dict[Connection, str] = {}
        self._processes: dict[int, BaseProcess] = {}
        self._answers: SimpleQueue[tuple[str, Any]] = SimpleQueue()
        self._ending = False
        self._witness = Witness(Path("/proc/self/fd/2"))  # the worker's log, to which they print, too
        for rank in range(1, count):
            ours, theirs = spawn.Pipe()
            process = spawn.Process(target=_serve, args=(make_engine, rank, theirs, os.getpid()), name=f"rank {rank}", daemon=True)
            process.start()
            theirs.close()
            self._connections[ours] = process.name
            self._processes[process.sentinel] = process
        threading.Thread(target=self._listen, name="ranks", daemon=True).start()
        self.first = make_engine(0)

    def call(self, method: str, *arguments: Any) -> list[Any]:
        """Call this method of every rank's engine at once. Raises what rank 0 raises, and JobLost for what another one refuses.

        After any error but a refusal, ranks can no longer be called: some may be inside a collective that never ends.
        """
        for connection in self._connections:
            connection.send((method, arguments))
        try:
            mine = getattr(self.first, method)(*arguments)
        except Unsupported:
            self._collect()
            raise
        theirs = self._collect()
        for answer in theirs:
            if isinstance(answer, JobLost):
                raise answer
        return [mine, *theirs]

    def stop(self) -> None:
        self._ending = True
        for process in self._processes.values():
            process.kill()
            process.join()

    def _collect(self) -> list[Any]:
        """The answer of every rank, in their order."""
        answers = dict(self._answers.get() for _ in self._connections)
        return [answers[name] for name in self._connections.values()]

    def _listen(self) -> None:
        """Hear the ranks in a thread of its own: the main thread may be stuck in a collective with them."""
        connections, alive = dict(self._connections), dict(self._processes)
        while alive:
            for ready in wait([*connections, *alive]):
                if isinstance(ready, Connection):
                    self._hear(ready, connections)
                elif isinstance(ready, int):
                    self._ended(alive.pop(ready))

    def _hear(self, connection: Connection, connections: dict[Connection, str]) -> None:
        name = connections[connection]
        try:
            answer = connection.recv()
        except (EOFError, OSError):  # how it died, its process tells
            del connections[connection]
            return
        if isinstance(answer, JobLost):
            answer = JobLost(answer.status, f"{name}: {answer}")
            if answer.status not in REFUSALS:  # rank 0 may wait for this one in a collective: only the end gets it out of there
                self._give_up(answer)
        self._answers.put((name, answer))

    def _ended(self, process: BaseProcess) -> None:
        if not self._ending:
            process.join()
            self._give_up(self._witness.of_death(process.name, process.exitcode or 0))

    def _give_up(self, lost: JobLost) -> None:
        """End this process, wherever its main thread is stuck; the other ranks die with it."""
        print(f"{lost}; the other ranks cannot go on, so the worker ends", file=sys.stderr, flush=True)
        Ranks.last_words(lost)
        os._exit(1)


def _serve(make_engine: MakeEngine, rank: int, connection: Connection, worker: int) -> None:
    die_with_parent()
    if os.getppid() != worker:  # it died before we could ask to die with it
        os._exit(1)
    answer_calls(connection, make_engine(rank))
    os._exit(0)
