"""The launching side of a worker: start it, send it work, and tell how it died."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing import Pipe
from pathlib import Path

from bench.config import RunConfig
from bench.frameworks import environments
from bench.frameworks.failure import JobLost, of_death, oom_kills
from bench.host import machine
from bench.host.devices import Slot, devices_for
from bench.measure.point import Measurement, OnRepeat
from bench.measure.sampled import Line
from bench.status import Status
from bench.worker.protocol import (
    CPUS_VARIABLE,
    FD_VARIABLE,
    MEMORY_VARIABLE,
    AboutToRepeat,
    Go,
    Load,
    Loaded,
    Measure,
    Reply,
    Request,
    Sample,
)


class ResidentWorker:
    """One child process that holds one loaded model. load and measure may raise JobLost."""

    def __init__(self, run: RunConfig, log: Path, slot: Slot) -> None:
        self._log = log
        self._timeout_s = run.timeout_s
        self.memory_bytes = memory_limit_bytes(run)  # of the host, before anything is loaded
        self._connection, theirs = Pipe()
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [environments.python_of(run.framework) or sys.executable, "-m", "bench.worker.child"],
                env=_environment(run, slot, self.memory_bytes, theirs.fileno()),
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C reaches the launching process alone; killpg takes an engine's children along
            )
        theirs.close()
        self._oom_kills = oom_kills()

    @property
    def pid(self) -> int:
        return self._process.pid

    def load(self, run: RunConfig) -> float:
        """Load the model of this point; returns the seconds it took."""
        reply = self._ask(Load(run))
        assert isinstance(reply, Loaded), reply
        return reply.load_s

    def measure(self, run: RunConfig, on_repeat: OnRepeat) -> Measurement:
        reply = self._repeated(Measure(run), run.timeout_s, on_repeat)
        assert isinstance(reply, Measurement), reply
        return reply

    def sample(self, points: Sequence[RunConfig], on_repeat: OnRepeat) -> Line:
        """The windows of points that differ in their lengths alone; together they have the time of one job."""
        reply = self._repeated(Sample(tuple(points)), points[0].timeout_s, on_repeat)
        assert isinstance(reply, Line), reply
        return reply

    def _repeated(self, request: Request, timeout_s: float, on_repeat: OnRepeat) -> Reply:
        deadline = time.monotonic() + timeout_s
        reply = self._ask(request, deadline)
        while isinstance(reply, AboutToRepeat):
            on_repeat(reply.kind, reply.number, reply.count)
            reply = self._ask(Go(), deadline)
        return reply

    def close(self) -> None:
        """End the worker: an idle one leaves by itself when the connection closes, a busy one is killed."""
        self._connection.close()
        self._end(grace_s=0.5)

    def kill(self) -> None:
        """End the worker now, with all that it started. May be called from another thread: the one that waits sees its death."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def _ask(self, request: Request, deadline: float | None = None) -> Reply:
        left_s = self._timeout_s if deadline is None else deadline - time.monotonic()
        try:
            self._connection.send(request)
            if not self._connection.poll(max(0.0, left_s)):
                self._end()
                raise JobLost(
                    Status.timeout,
                    f"no answer within timeout_s={self._timeout_s:g}, so the worker was ended; raise timeout_s if it only was slow",
                )
            reply: Reply = self._connection.recv()
        except (EOFError, OSError) as error:
            raise self._lost() from error
        if isinstance(reply, JobLost):
            raise self._located(reply)
        return reply

    def _lost(self) -> JobLost:
        """The worker died."""
        self._end(grace_s=0.2)  # a dying process may still be on its way out, and its own exit code tells more
        return self._located(of_death("the worker", self._process.returncode, self._oom_kills))

    def _located(self, lost: JobLost) -> JobLost:
        return JobLost(lost.status, f"{lost}; its output is in {self._log}") if lost.status is Status.crashed else lost

    def _end(self, grace_s: float = 0.0) -> None:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(grace_s)
        self.kill()  # also what an ended worker left behind
        self._process.wait()


def _environment(run: RunConfig, slot: Slot, memory_bytes: int | None, fd: int) -> dict[str, str]:
    ours = {
        "PYTHONFAULTHANDLER": "1",
        FD_VARIABLE: str(fd),
        **slot.environment,
    }
    if run.hardware.threads:
        ours["OMP_NUM_THREADS"] = str(run.hardware.threads)
    if slot.cpus:
        ours[CPUS_VARIABLE] = ",".join(map(str, slot.cpus))
    if memory_bytes:
        ours[MEMORY_VARIABLE] = str(memory_bytes)
    return {**machine.child_environment(environments.python_of(run.framework)), **ours, **run.hardware.env}


def memory_limit_bytes(run: RunConfig) -> int | None:
    """What the worker may take of the host's memory. None on a GPU, where host memory is not what runs out."""
    if run.hardware.memory_limit_gb is not None:
        return int(run.hardware.memory_limit_gb * 1e9)
    return None if devices_for(run).on_gpu(run) else machine.memory_left_bytes()
