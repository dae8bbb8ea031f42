"""The measured process: loads one model, then measures the points it is sent. Started by resident.py, and by nothing else."""

from __future__ import annotations

import gc
import os
import resource
import sys
from time import perf_counter

from bench.config import RunConfig
from bench.frameworks import environments, make_framework
from bench.frameworks.base import Framework
from bench.frameworks.calls import answer_calls
from bench.frameworks.channel import Channel
from bench.frameworks.ranks import Ranks
from bench.host.monitors import finish_device_work
from bench.host.processes import die_with_parent
from bench.measure.point import Measurement, Upcoming, measure
from bench.measure.sampled import Line, sample
from bench.roofline import ModelShape


class Worker:
    """What the launching process calls: `load` once, then `measure` and `sample` for each point with that model."""

    _framework: Framework
    _shape: ModelShape | None

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def load(self, run: RunConfig, cpus: tuple[int, ...], memory_bytes: int | None) -> float:
        """On these CPUs, with this much memory; empty or None: all. Returns the seconds it took."""
        _confine(cpus, memory_bytes)
        environments.require(run.framework)
        started = perf_counter()
        self._framework = make_framework(run)
        self._shape = self._framework.load()
        finish_device_work()
        self._load_s = perf_counter() - started
        gc.collect()
        gc.freeze()  # the loaded model is no garbage: without this, each collection walks all of it
        return self._load_s

    def measure(self, run: RunConfig) -> Measurement:
        return measure(run, self._framework, self._shape, self._load_s, self._announce)

    def sample(self, points: tuple[RunConfig, ...]) -> Line:
        return sample(points, self._framework, self._shape, self._load_s, self._announce)

    def _announce(self, repeat: Upcoming) -> None:
        """Wait until it is sent back: what the launching process draws now is drawn while nothing is timed."""
        self._channel.send(repeat)
        self._channel.recv()


def _confine(cpus: tuple[int, ...], memory_bytes: int | None) -> None:
    """Keep to the given cores, and to the given memory: then an allocation fails here, before the kernel kills something else."""
    if cpus:
        os.sched_setaffinity(0, cpus)
    if memory_bytes:
        _, most = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, most))


def main(descriptor: int) -> None:
    die_with_parent()
    channel = Channel.inherited(descriptor)
    Ranks.last_words = channel.send
    answer_calls(channel, Worker(channel))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # engines leave threads and atexit hooks behind that can hang a normal exit


if __name__ == "__main__":
    main(int(sys.argv[1]))
