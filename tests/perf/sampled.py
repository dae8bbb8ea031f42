"""python -m tests.perf.sampled [ENGINE ...]: what sampled decoding is off by and costs, by sweeps both ways, interleaved."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from bench import sweep
from bench.analysis.sampling import MEASURED, SAMPLED, holdout
from bench.analysis.settings import read_jobs
from bench.host import machine
from tests.perf.figures import Figure

ENGINES = {
    "hf": ("framework=hf",),
    "hf_bf16": ("framework=hf", "model.dtype=bf16"),
    "hf_static": ("framework=hf", "framework.cache=static"),
    "decode_loop": ("framework=hf", "framework.loop=decode_loop"),
    "pace": ("framework=pace", "model.dtype=bf16"),
    "mpt_29m": ("framework=hf", "model=mpt_29m"),
    "falcon_26m": ("framework=hf", "model=falcon_26m"),
}
GRID = ("batch_size=1,4,16", "input_tokens=32,128,512", "output_tokens=1,101,401,1001")
_QUICK = ("batch_size=1,4", "input_tokens=32,128", "output_tokens=1,101,401")  # minutes instead of hours
_HOW = ("hardware=cpu", "hardware.threads=1", "num_runs=3", "warmup_runs=1", "rounds=3", "ceilings=false", "report=false")


def sampling() -> list[Figure]:
    """The quick grid on two engines; the whole matrix takes hours: python -m tests.perf.sampled --grid full."""
    return [figure for name in ("hf", "pace") for figure in figures(name, _QUICK)]


def figures(name: str, grid: Sequence[str], folder: Path | None = None) -> list[Figure]:
    """One sweep with every point both ways, in the same rounds. With a folder, its rows stay, and count when it goes on."""
    with tempfile.TemporaryDirectory() as temporary:
        out = (folder or Path(temporary)) / name
        sweep.run(*_HOW, *ENGINES[name], *grid, "measure.decode=sampled,full", f"output_dir={out}")
        jobs = read_jobs([out], settle=False)
    found = holdout(jobs)
    if found.errors is None:
        return [Figure(f"{name}: sampled against measured", "no point both ways", "", False)]
    both = jobs[jobs["point_id"].isin(jobs.loc[jobs["source"] == SAMPLED, "point_id"])]
    spent_s = both.groupby("source")["spent_s"].sum()
    cost = float(spent_s[SAMPLED] / spent_s[MEASURED])
    errors = found.errors
    twice = [each for each in (found.twice, found.sampled_twice) if each is not None]
    dearest = 0.15 if both["output_tokens"].max() >= 1001 else 0.25
    bounds = [
        ("median", abs(errors.median), 0.015, max((abs(each.median) for each in twice), default=0.0)),
        ("90th percentile", errors.p90, 0.03, max((each.p90 for each in twice), default=0.0)),
        ("largest", abs(errors.largest), 0.05, max((abs(each.largest) for each in twice), default=0.0)),
    ]
    what = f"{name}: {errors.points} points sampled and measured, {found.rounds} rounds"
    return [
        *(
            Figure(f"{what}: {kind} error", f"{size:.1%}", f"≤ {max(most, same):.1%} (the same twice: {same:.1%})", size <= max(most, same))
            for kind, size, most, same in bounds
        ),
        Figure(f"{name}: signed", str(errors)),
        Figure(f"{name}: the same measured twice", str(found.twice)),
        Figure(f"{name}: the same sampled twice", str(found.sampled_twice)),
        Figure(f"{name}: time of the windows over that in full", f"{cost:.0%}", f"≤ {dearest:.0%}", cost <= dearest),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.perf.sampled", description=__doc__)
    parser.add_argument("engines", nargs="*", choices=[[], *ENGINES], help="default: all")
    parser.add_argument(
        "--grid", nargs="+", default=list(_QUICK), help="overrides like batch_size=1,4 rounds=5, or full for the whole grid"
    )
    parser.add_argument("--folder", type=Path, help="keep the rows here, and go on with them")
    arguments = parser.parse_args()
    grid = GRID if arguments.grid == ["full"] else (*_QUICK, *arguments.grid)
    chosen = {override.partition("=")[0]: override for override in grid}  # the last one counts
    console = Console()
    console.print(machine.describe().summary)
    for name in arguments.engines or ENGINES:
        for figure in figures(name, list(chosen.values()), arguments.folder):
            console.print(f"{figure.what}: {figure.value} {figure.bound} {figure.verdict}", highlight=False, soft_wrap=True)


if __name__ == "__main__":
    main()
