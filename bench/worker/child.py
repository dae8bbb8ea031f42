"""The measured process: loads one model, then measures the points it is sent. Started by resident.py, and by nothing else."""

from __future__ import annotations

import gc
import os
import resource
import sys
import traceback
from multiprocessing.connection import Connection
from time import perf_counter

from bench.config import RunConfig
from bench.frameworks import make_framework
from bench.frameworks.base import Framework
from bench.frameworks.failure import of_exception
from bench.frameworks.ranks import Ranks
from bench.host.machine import die_with_parent
from bench.host.monitors import finish_device_work
from bench.measure.point import Measurement, measure
from bench.measure.sampled import Line, sample
from bench.roofline import ModelShape
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
    Sample,
)


class Worker:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._framework: Framework | None = None
        self._shape: ModelShape | None = None
        self._load_s = 0.0

    def serve(self) -> None:
        """Answer requests until the launching process closes its end."""
        while True:
            try:
                request = self._connection.recv()
            except (EOFError, ConnectionResetError):
                return
            self._connection.send(self._answer(request))

    def _answer(self, request: Load | Measure | Sample) -> Reply:
        try:
            if isinstance(request, Load):
                return self._load(request.run)
            return self._sample(request.points) if isinstance(request, Sample) else self._measure(request.run)
        except Exception as error:  # the boundary: whatever an engine raises becomes a row
            traceback.print_exc()
            return of_exception(error)

    def _load(self, run: RunConfig) -> Loaded:
        started = perf_counter()
        self._framework = make_framework(run)
        self._shape = self._framework.load()
        finish_device_work()
        self._load_s = perf_counter() - started
        gc.collect()
        gc.freeze()  # the loaded model is no garbage: without this, each collection walks all of it
        return Loaded(self._load_s)

    def _measure(self, run: RunConfig) -> Measurement:
        assert self._framework is not None, "Load comes before Measure"
        return measure(run, self._framework, self._shape, self._load_s, self._ask_to_repeat)

    def _sample(self, points: tuple[RunConfig, ...]) -> Line:
        assert self._framework is not None, "Load comes before Sample"
        return sample(points, self._framework, self._shape, self._load_s, self._ask_to_repeat)

    def _ask_to_repeat(self, kind: str, number: int, count: int | None) -> None:
        self._connection.send(AboutToRepeat(kind, number, count))
        answer = self._connection.recv()
        assert isinstance(answer, Go)


def _confine(cpus: str | None, memory_bytes: str | None) -> None:
    """Keep to the given cores, and to the given memory: then an allocation fails here, before the kernel kills something else."""
    if cpus:
        os.sched_setaffinity(0, [int(cpu) for cpu in cpus.split(",")])
    if memory_bytes:
        _, most = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (int(memory_bytes), most))


def main() -> None:
    die_with_parent()
    connection = Connection(int(os.environ.pop(FD_VARIABLE)))
    _confine(os.environ.pop(CPUS_VARIABLE, None), os.environ.pop(MEMORY_VARIABLE, None))
    Ranks.last_words = connection.send
    Worker(connection).serve()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # engines leave threads and atexit hooks behind that can hang a normal exit


if __name__ == "__main__":
    main()
