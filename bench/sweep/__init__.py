"""Which points, in what order, in which process. From Python: sweep.run(batch_size=[1, 2, 4])."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bench.config import RunConfig


def run(*arguments: str, **settings: Any) -> Path:
    """Measure a grid as `bench-run` does, and return the folder with its rows.

    A list is swept: run(model="llama_28m", batch_size=[1, 2, 4]). Arguments are those of the command
    line: run("+sweeps=demo", "batch_size=1,2,4,...,64", "model.dtype=bf16"). Jobs that have their row
    are not run again. Raises BenchError, as PointsFailed where a point has no result.
    """
    from rich.console import Console

    from bench.compose.grid import spelled
    from bench.compose.request import compose
    from bench.sweep.conductor import launch

    request = compose([*arguments, *(spelled(key, value) for key, value in settings.items())])
    sweep = launch(request, Console(force_terminal=False, force_jupyter=False))
    sweep.check()
    return sweep.folder


def points(*arguments: str) -> list[RunConfig]:
    """The points of `bench-run ARGUMENTS`, checked and not run. Raises BenchError."""
    from bench.compose.request import compose

    return compose(arguments).points
