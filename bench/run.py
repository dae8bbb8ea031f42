"""python -m bench.run: measure one point, or a whole grid."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import hydra
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError  # type: ignore[import-untyped]

from bench import __version__
from bench.compose import schemas
from bench.compose.help import help_page
from bench.compose.messages import explain
from bench.compose.request import compose, for_hydra, is_question
from bench.config import Decode
from bench.errors import BenchError, one_message
from bench.host.machine import COMMAND_VARIABLE


def run(arguments: Sequence[str]) -> None:
    """Run a sweep, then show its table and draw its charts. Raises BenchError, as PointsFailed where a point has no result."""
    request = compose(arguments)
    from rich.console import Console

    from bench.sweep.conductor import launch

    console = Console()
    sweep = launch(request, console)
    if sweep.elsewhere:
        console.print(f"{sweep.elsewhere} jobs are under way; the same command collects them", highlight=False)
    elif request.points[0].report:
        from bench.report import show

        is_search = any(point.is_search for point in request.points)  # its probes are points of their own
        show(sweep.folder, console, None if is_search else {point.point_id for point in request.points})
    else:
        console.print(f"rows are in {sweep.folder}; python -m bench.report {sweep.folder} draws them", highlight=False, markup=False)
    if any(point.measure.decode is Decode.sampled for point in request.points) and not sweep.elsewhere:
        from bench.report import tell_sampling

        tell_sampling(sweep.folder, console)
    sweep.check()


def answer(arguments: Sequence[str]) -> None:
    """Hydra shows a config, completes a word, ...: whatever it can do without running anything."""
    schemas.register()
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra would print its own exceptions in its own way; this hands them to us instead
    sys.argv[1:] = for_hydra(arguments)
    hydra.main(version_base="1.3", config_path=str(schemas.CONF), config_name="config")(lambda config: None)()


def main() -> None:
    typed = sys.argv[1:]
    with one_message("bench-run", interrupted="interrupted; the same command goes on from here"):
        if not {"-h", "--help"}.isdisjoint(typed):  # Hydra's own page takes it three times as long, to say less
            print(help_page([schemas.CONF, Path("conf")], min(shutil.get_terminal_size().columns, 100)), end="")
        elif "--version" in typed:
            print(__version__)
        else:
            _run_or_answer(typed)


def _run_or_answer(typed: Sequence[str]) -> None:
    from bench.importers import with_sweep_from_file
    from bench.importers.named_sweep import as_text

    os.environ[COMMAND_VARIABLE] = shlex.join(["python", "-m", "bench.run", *typed])
    wants_traceback = os.environ.get("HYDRA_FULL_ERROR") == "1"
    try:
        with TemporaryDirectory(prefix="bench-from-") as folder:
            arguments = with_sweep_from_file(typed, Path(folder), lambda notes: print(as_text(notes), file=sys.stderr))
            (answer if is_question(typed) else run)(arguments)
    except (BenchError, HydraException, OmegaConfBaseException, YAMLError) as error:
        if wants_traceback:
            traceback.print_exc()
        raise error if isinstance(error, BenchError) else BenchError(explain(error)) from error


if __name__ == "__main__":
    main()
