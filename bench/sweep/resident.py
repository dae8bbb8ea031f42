"""The launching side of a worker: start it, send it work, and tell how it died."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import Pipe
from pathlib import Path

import bench
from bench.config import RunConfig
from bench.measure.point import Measurement
from bench.results import Status
from bench.sweep.protocol import FD_VARIABLE, AboutToRepeat, Go, Load, Loaded, Measure, Measured, Refused, Reply, Request

OnRepeat = Callable[[str, int, int], None]


class JobLost(Exception):
    """A job that came to nothing, with the status of its row."""

    def __init__(self, status: Status, error: str, *, worker_lives: bool = False) -> None:
        super().__init__(error)
        self.status = status
        self.worker_lives = worker_lives


class ResidentWorker:
    """One child process that holds one loaded model. Any method but close may raise JobLost."""

    def __init__(self, run: RunConfig, log: Path) -> None:
        self._log = log
        self._timeout_s = run.timeout_s
        self._connection, theirs = Pipe()
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "bench.sweep.worker"],
                env=_environment(run, theirs.fileno()),
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C reaches the launching process alone; killpg takes an engine's children along
            )
        theirs.close()

    def load(self, run: RunConfig) -> float:
        """Load the model of this point; returns the seconds it took."""
        reply = self._ask(Load(run))
        assert isinstance(reply, Loaded), reply
        return reply.load_s

    def measure(self, run: RunConfig, on_repeat: OnRepeat) -> Measurement:
        deadline = time.monotonic() + run.timeout_s
        reply = self._ask(Measure(run), deadline)
        while isinstance(reply, AboutToRepeat):
            on_repeat(reply.kind, reply.number, reply.count)
            reply = self._ask(Go(), deadline)
        assert isinstance(reply, Measured), reply
        return reply.measurement

    def close(self) -> None:
        """End the worker: an idle one leaves by itself when the connection closes, a busy one is killed."""
        self._connection.close()
        try:
            self._process.wait(0.5)
        except subprocess.TimeoutExpired:
            self._kill()

    def _ask(self, request: Request, deadline: float | None = None) -> Reply:
        left_s = self._timeout_s if deadline is None else deadline - time.monotonic()
        try:
            self._connection.send(request)
            if not self._connection.poll(max(0.0, left_s)):
                self._kill()
                raise JobLost(
                    Status.timeout,
                    f"no answer within timeout_s={self._timeout_s:g}, so the worker was ended; raise timeout_s if it only was slow",
                )
            reply: Reply = self._connection.recv()
        except (EOFError, OSError) as error:
            raise JobLost(Status.crashed, self._cause_of_death()) from error
        if isinstance(reply, Refused):
            raise JobLost(reply.status, reply.error, worker_lives=True)
        return reply

    def _cause_of_death(self) -> str:
        self._kill()
        code = self._process.returncode
        if code == -signal.SIGKILL:
            how = "was killed (SIGKILL), as the kernel does when memory runs out"
        elif code < 0:
            how = f"died of {signal.Signals(-code).name}"
        else:
            how = f"left with exit code {code}"
        return f"the worker {how}; its output is in {self._log}"

    def _kill(self) -> None:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(0.2)  # a dying process may still be on its way out: its own exit code tells more
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


def _environment(run: RunConfig, fd: int) -> dict[str, str]:
    root = str(Path(bench.__file__).parents[1])
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    threads = {"OMP_NUM_THREADS": str(run.hardware.threads)} if run.hardware.threads else {}
    return {**os.environ, "PYTHONPATH": path, "PYTHONFAULTHANDLER": "1", **threads, **run.hardware.env, FD_VARIABLE: str(fd)}
