"""python -m bench.run: measure one point, or a whole grid."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import hydra
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException
from rich.console import Console
from yaml import YAMLError  # type: ignore[import-untyped]

from bench import __version__
from bench.compose.command_line import for_hydra
from bench.compose.composer import CONF, explain, register_schemas, to_run_config
from bench.compose.help import help_page
from bench.config import MAX_BATCH, RunConfig
from bench.errors import BenchError, PointsFailed
from bench.host.machine import COMMAND_VARIABLE

if TYPE_CHECKING:
    from bench.sweep.conductor import Placement


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")
def one_point(config: DictConfig) -> None:
    """What Hydra's own launchers call for each point of a sweep; ours gets them all at once."""
    run_points([to_run_config(config)])


def run_points(points: Sequence[RunConfig], placement: Placement | None = None) -> None:
    """Run a sweep, then show its table and draw its charts. Raises PointsFailed where a point has no result."""
    from bench.sweep.conductor import run_sweep

    console = Console()
    sweep = run_sweep(points, console, placement)
    if sweep.elsewhere:
        console.print(f"{sweep.elsewhere} jobs are under way; the same command collects them", highlight=False)
    elif points[0].report:
        from bench.report import show

        is_search = any(point.batch_size == MAX_BATCH for point in points)  # its probes are points of their own
        show(sweep.folder, console, None if is_search else {point.point_id for point in points})
    if sweep.failed:
        raise PointsFailed(sweep.failed, sweep.ran, sweep.folder)


def main() -> None:
    if not {"-h", "--help"}.isdisjoint(sys.argv[1:]):  # Hydra's own page takes it three times as long, to say less
        print(help_page([CONF, Path("conf")], min(shutil.get_terminal_size().columns, 100)), end="")
        return
    if "--version" in sys.argv[1:]:
        print(__version__)
        return
    from bench.importers import with_sweep_from_file
    from bench.importers.named_sweep import as_text

    register_schemas()
    os.environ[COMMAND_VARIABLE] = shlex.join(["python", "-m", "bench.run", *sys.argv[1:]])
    # Hydra would print its own exceptions in its own way; this makes it hand them to us instead.
    wants_traceback = os.environ.get("HYDRA_FULL_ERROR") == "1"
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        with TemporaryDirectory(prefix="bench-from-") as folder:
            sys.argv[1:] = with_sweep_from_file(for_hydra(sys.argv[1:]), Path(folder), lambda notes: print(as_text(notes), file=sys.stderr))
            one_point()
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from here", file=sys.stderr)
        sys.exit(130)
    except (BenchError, HydraException, OmegaConfBaseException, YAMLError) as error:
        if wants_traceback:
            raise
        sys.exit(f"bench-run: {explain(error)}")


if __name__ == "__main__":
    main()
