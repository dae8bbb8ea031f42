"""What the program itself costs: per point of a sweep, per token, and until the help page stands."""

from __future__ import annotations

import json
import tempfile
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np

from bench import sweep
from bench.config import RunConfig
from bench.frameworks.base import Framework
from bench.frameworks.hf import HuggingFace
from bench.results import Row, Store
from bench.sweep.group import GroupRunner
from bench.sweep.plan import Job, make_plan
from tests.perf.figures import Cost, Figure, cost_of, extra_of

NO_OP = ["framework=fake", "report=false", "num_runs=1", "warmup_runs=0", "output_tokens=1"]


def cost_of_a_point(few: int = 100, many: int = 1100) -> list[Figure]:
    """The difference between a long and a short sweep, so that starting up is not counted."""
    ours = [_per_point(["-m", "bench.run", "-m", *NO_OP, "name={name}"], few, many) for _ in range(3)]
    hydras = _per_point(["-m", "tests.perf.noop_app", "-m", *NO_OP, "hydra/launcher=basic", "hydra/sweeper=basic"], 5, 25)
    cpu_ms, wall_ms = (1e3 * median(getattr(cost, key) for cost in ours) for key in ("cpu_s", "wall_s"))
    ratio = 1e3 * hydras.cpu_s / cpu_ms
    return [
        Figure("orchestration of a no-op point, row written and synced: CPU", f"{cpu_ms:.1f} ms", "≤ 4 ms", cpu_ms <= 4),
        Figure("the same: wall", f"{wall_ms:.1f} ms", "≤ 10 ms", wall_ms <= 10),
        Figure("Hydra's own launcher, no row: CPU", f"{1e3 * hydras.cpu_s:.0f} ms"),
        Figure("the same: wall", f"{1e3 * hydras.wall_s:.0f} ms"),
        Figure("Hydra's own over ours, CPU: on a slower host this holds", f"{ratio:.0f}x"),
    ]


def _per_point(command: list[str], few: int, many: int) -> Cost:
    costs = []
    with tempfile.TemporaryDirectory() as folder:
        for count in (few, many):
            named = [part.format(name=f"points-{count}") for part in command]
            costs.append(cost_of([*named, f"input_tokens=range(1,{count + 1})"], Path(folder)))
    short, long = costs
    return Cost((long.cpu_s - short.cpu_s) / (many - few), (long.wall_s - short.wall_s) / (many - few))


class _Watch:
    """An Observer that notes when the first repeat began and the last job ended."""

    def __init__(self) -> None:
        self.began_at: float | None = None
        self.ended_at = 0.0
        self.spent_s = 0.0

    def note(self, text: str) -> None:
        pass

    def loading(self, job: Job) -> None:
        pass

    def repeating(self, job: Job, kind: str, number: int, count: int | None) -> None:
        self.began_at = self.began_at or perf_counter()

    def finished(self, job: Job, row: Row) -> None:
        self.ended_at = perf_counter()
        self.spent_s += row["spent_s"]


def sweep_efficiency() -> list[Figure]:
    """Share of the demo's wall time, after its model is loaded, that is spent inside warm-ups and repeats."""
    points = sweep.points("+sweeps=demo")
    watch = _Watch()
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))
        store.prepare()
        GroupRunner(store, watch).run(make_plan(points, []).todo)
    assert watch.began_at is not None
    share = watch.spent_s / (watch.ended_at - watch.began_at)
    return [Figure(f"demo, {len(points)} points: share of wall time inside warm-ups and repeats", f"{share:.1%}", "≥ 95 %", share >= 0.95)]


def cost_of_token_times(turns: int = 25, new_tokens: int = 33) -> list[Figure]:
    """generate with and without per-token times, in turns; and one kind against itself, which tells the noise."""
    [run] = sweep.points("hardware=cpu", f"output_tokens={new_tokens}", "input_tokens=32")
    framework = HuggingFace(run)
    framework.load()
    framework.prepare(run)
    bare = [_latency_s(framework, run, watched=False) for _ in range(3)]
    timed, plain = (partial(_latency_s, framework, run, watched=watched) for watched in (True, False))
    extra, noise = extra_of(timed, plain, turns), extra_of(plain, plain, turns)
    at = f"at {1e3 * min(bare) / new_tokens:.1f} ms a token"
    return [
        Figure(f"latency with per-token times over bare generate, {at}", str(extra), *extra.bound(0.005, noise)),
        Figure("bare generate over itself (noise)", str(noise)),
    ]


def _latency_s(framework: Framework, run: RunConfig, *, watched: bool) -> float:
    prompts = np.full((run.batch_size, run.input_tokens), 7, dtype=np.int64)
    if not watched:
        return bare_generate_s(framework, prompts, run.output_tokens)
    step_s: list[float] = []
    started = perf_counter()
    framework.generate(prompts, run.output_tokens, lambda at_s=None: step_s.append(perf_counter() - started))
    return perf_counter() - started


def bare_generate_s(framework: Framework, prompts: np.ndarray[tuple[int, int], np.dtype[np.int64]], new_tokens: int) -> float:
    """What a user would write: no streamer, no seam."""
    import torch

    model = framework._model  # type: ignore[attr-defined]
    ids = torch.from_numpy(prompts)
    started = perf_counter()
    model.generate(
        input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=new_tokens, eos_token_id=None, pad_token_id=0, do_sample=False
    )
    return perf_counter() - started


_BARE = """
import json, sys, torch, transformers
from transformers import AutoConfig, AutoModelForCausalLM
sizes = json.loads(sys.argv[1])
model = AutoModelForCausalLM.from_config(AutoConfig.for_model(sizes.pop("model_type"), **sizes)).eval()
ids = torch.full((1, 128), 7)
model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=2, eos_token_id=None, pad_token_id=0, do_sample=False)
"""


def start(turns: int = 7) -> list[Figure]:
    """A run of one point with one repeat of two tokens, from Enter to the prompt, next to what a user would write, in turns."""
    settings = ["hardware=cpu", "output_tokens=2", "num_runs=1", "warmup_runs=0", "report=false", "ceilings=false", "rerun=all"]
    [run] = sweep.points("hardware=cpu")
    ours, bare = [], []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(turns):
            bare.append(cost_of(["-c", _BARE, json.dumps(run.model.architecture)], Path(folder)))
            ours.append(cost_of(["-m", "bench.run", *settings], Path(folder)))
    our_s, bare_s = (median(cost.wall_s for cost in side) for side in (ours, bare))
    our_cpu_s, bare_cpu_s = (median(cost.cpu_s for cost in side) for side in (ours, bare))
    ratio = our_s / bare_s
    return [
        Figure(
            f"from Enter to the end of a run with one repeat of {run.model.name}, over a script that does the same with transformers",
            f"{ratio:.2f}x ({our_s:.1f} s against {bare_s:.1f} s)",
            "≤ 1.5x",
            ratio <= 1.5,
        ),
        Figure("the same: CPU", f"{our_cpu_s / bare_cpu_s:.2f}x ({our_cpu_s:.1f} s against {bare_cpu_s:.1f} s)"),
    ]


def help_page() -> list[Figure]:
    wall_s = median(cost_of(["-m", "bench.run", "--help"], Path.cwd()).wall_s for _ in range(7))
    return [Figure("bench-run --help", f"{wall_s:.2f} s", "≤ 0.7 s", wall_s <= 0.7)]
