"""The launching side of a worker: start it, send it work, and tell how it died."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from bench.config import Device, RunConfig
from bench.frameworks import environments
from bench.frameworks.channel import Channel, Forged
from bench.frameworks.failure import JobLost, Witness
from bench.host import machine
from bench.host.devices import VISIBLE, Slot, devices_for
from bench.host.monitors import Standstill
from bench.host.processes import child_environment
from bench.measure.point import Measurement, OnRepeat, Upcoming
from bench.measure.sampled import Line
from bench.status import Status

_LOOK_S = 1.0  # between two looks at a worker that loads


class ResidentWorker:
    """One child process that holds one loaded model. load, measure and sample may raise JobLost."""

    def __init__(self, run: RunConfig, log: Path, slot: Slot) -> None:
        self._log, self._cpus = log, slot.cpus
        self.memory_bytes = memory_limit_bytes(run)  # of the host, before anything is loaded
        self._channel, theirs = Channel.pair()
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            self._witness = Witness(log)
            self._process = subprocess.Popen(
                [environments.python_of(run.framework) or sys.executable, "-m", "bench.worker.child", str(theirs.fileno())],
                env=_environment(run, slot),
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C reaches the launching process alone; killpg takes an engine's children along
            )
        theirs.close()

    @property
    def pid(self) -> int:
        return self._process.pid

    def load(self, run: RunConfig) -> float:
        """Load the model of this point; returns the seconds it took."""
        watch = Standstill(self.pid, self.memory_bytes) if self.memory_bytes else None
        load_s: float = self._call("load", run, self._cpus, self.memory_bytes, timeout_s=run.timeout_s, watch=watch)
        return load_s

    def measure(self, run: RunConfig, on_repeat: OnRepeat) -> Measurement:
        seen: Measurement = self._call("measure", run, timeout_s=run.timeout_s, on_repeat=on_repeat)
        return seen

    def sample(self, points: Sequence[RunConfig], on_repeat: OnRepeat) -> Line:
        """The windows of points that differ in their lengths alone; together they have the time of one job."""
        line: Line = self._call("sample", tuple(points), timeout_s=points[0].timeout_s, on_repeat=on_repeat)
        return line

    def close(self) -> None:
        """End the worker: an idle one leaves by itself when the connection closes, a busy one is killed."""
        self._channel.close()
        self._end(grace_s=0.5)

    def kill(self) -> None:
        """End the worker now, with all that it started. May be called from another thread: the one that waits sees its death."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def _call(
        self, method: str, *arguments: Any, timeout_s: float, on_repeat: OnRepeat = lambda _: None, watch: Standstill | None = None
    ) -> Any:
        """What this method of child.Worker returns. `watch` looks at the worker meanwhile: for loading only, not to disturb repeats."""
        deadline = time.monotonic() + timeout_s
        reply = self._reply((method, arguments), deadline, watch)
        while isinstance(reply, Upcoming):
            on_repeat(reply)
            reply = self._reply(reply, deadline)
        if reply is None:
            self._end()
            told = f"no answer within timeout_s={timeout_s:g}, so the worker was ended; raise timeout_s if it only was slow"
            raise JobLost(Status.timeout, told)
        if isinstance(reply, JobLost):
            raise self._located(reply)
        return reply

    def _reply(self, said: Any, deadline: float, watch: Standstill | None = None) -> Any:
        """None where there is none in time."""
        try:
            self._channel.send(said)
            while watch and time.monotonic() < deadline and not self._channel.can_receive(_LOOK_S):
                if stood := watch.look():
                    return JobLost(
                        Status.oom, f"the worker {stood}, trying again what does not fit; raise hardware.memory_limit_gb, or free memory"
                    )
            return self._channel.recv(deadline)
        except TimeoutError:
            return None
        except Forged as error:
            self._end()
            raise self._located(JobLost(Status.crashed, f"{error}: its engine, or what that started; so the worker was ended")) from error
        except (EOFError, OSError) as error:
            raise self._lost() from error

    def _lost(self) -> JobLost:
        """The worker died."""
        self._end(grace_s=0.2)  # a dying process may still be on its way out, and its own exit code tells more
        return self._located(self._witness.of_death("the worker", self._process.returncode))

    def _located(self, lost: JobLost) -> JobLost:
        return JobLost(lost.status, f"{lost}; its output is in {self._log}") if lost.status is Status.crashed else lost

    def _end(self, grace_s: float = 0.0) -> None:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(grace_s)
        self.kill()  # also what an ended worker left behind
        self._process.wait()


def _environment(run: RunConfig, slot: Slot) -> dict[str, str]:
    ours = {"PYTHONFAULTHANDLER": "1", **slot.environment}
    if run.hardware.threads:
        ours["OMP_NUM_THREADS"] = str(run.hardware.threads)
    theirs = dict(run.hardware.env)
    if run.hardware.device is Device.cpu:
        theirs[VISIBLE] = ""  # what runs on the CPU finds no GPU to take
    return {**child_environment(environments.python_of(run.framework)), **ours, **theirs}


def memory_limit_bytes(run: RunConfig) -> int | None:
    """What the worker may take of the host's memory. None on a GPU, where host memory is not what runs out."""
    if run.hardware.memory_limit_gb is not None:
        return int(run.hardware.memory_limit_gb * 1e9)
    return None if devices_for(run).on_gpu(run) else machine.memory_left_bytes()
