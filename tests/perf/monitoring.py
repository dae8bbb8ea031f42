"""What watching costs: the system monitor beside a generation, the counters around a repeat, and the seam against a bare loop."""

from __future__ import annotations

import gc
import signal
import subprocess
import sys
from functools import partial
from time import perf_counter

import numpy as np

from bench import sweep
from bench.frameworks.hf import HuggingFace
from bench.host.disturbance import HostReader
from bench.intervals import median_interval
from bench.measure.point import measure
from tests.perf.figures import ROOT, Figure, extra_of
from tests.perf.orchestration import bare_generate_s

_MONITOR = "import time; from bench.host.monitors import SystemMonitor; SystemMonitor(1.0).start(); print(flush=True); time.sleep(1e6)"


def cost_of_watching(turns: int = 15, new_tokens: int = 100) -> list[Figure]:
    """Latency beside a running monitor over latency beside a stopped one, in turns; and stopped over stopped, which tells the noise."""
    [run] = sweep.points("hardware=cpu", f"output_tokens={new_tokens}", "input_tokens=32")
    framework = HuggingFace(run)
    framework.load()
    framework.prepare(run)
    prompts = np.full((1, 32), 7, dtype=np.int64)
    with subprocess.Popen([sys.executable, "-c", _MONITOR], cwd=ROOT, stdout=subprocess.PIPE) as monitor:

        def beside(state: signal.Signals) -> float:
            monitor.send_signal(state)
            return bare_generate_s(framework, prompts, new_tokens)

        watched, alone = partial(beside, signal.SIGCONT), partial(beside, signal.SIGSTOP)
        try:
            assert monitor.stdout is not None
            monitor.stdout.readline()  # it has started
            alone()
            extra, noise = extra_of(watched, alone, turns), extra_of(alone, alone, turns)
        finally:
            monitor.kill()
    return [
        Figure("latency beside the system monitor (1 s) over latency without", str(extra), *extra.bound(0.005, noise)),
        Figure("without over itself (noise)", str(noise)),
        _cost_of_counters(),
    ]


def _cost_of_counters(reads: int = 200) -> Figure:
    reader = HostReader()
    reader.read()
    started = perf_counter()
    for _ in range(reads):
        reader.read()
    return Figure("reading the host's counters, untimed, twice a repeat", f"{1e3 * (perf_counter() - started) / reads:.2f} ms")


def agreement_with_a_bare_loop(rounds: int = 9) -> list[Figure]:
    """What measure() reports for hf over ten lines around `generate`, in turns."""
    [run] = sweep.points("hardware=cpu", "input_tokens=32", "output_tokens=33", "warmup_runs=0", "num_runs=1")
    framework = HuggingFace(run)
    shape = framework.load()
    gc.freeze()
    prompts = np.full((1, 32), 7, dtype=np.int64)
    ratios = []
    for _ in range(rounds):
        ours = measure(run, framework, shape, 0.0, lambda *_: None).latencies_s[0]
        ratios.append(ours / bare_generate_s(framework, prompts, run.output_tokens))
    low, high = median_interval(ratios) or (0.0, float("inf"))
    return [Figure("latency of hf over a bare loop around generate", f"{low:.3f} to {high:.3f}", "holds 1", low <= 1.005 and high >= 0.995)]
