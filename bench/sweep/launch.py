"""Runs the points that were asked for, by our launcher, which keeps models loaded, or by one of Hydra's own."""

from __future__ import annotations

from hydra._internal.callbacks import Callbacks
from hydra.core.plugins import Plugins
from hydra.types import HydraContext
from omegaconf import DictConfig
from rich.console import Console

from bench.compose.composer import to_run_config
from bench.compose.request import Request
from bench.sweep.conductor import Finished, run_sweep


def launch(request: Request, console: Console) -> Finished:
    """Raises what run_sweep raises."""
    return run_sweep(request.points, console, request.placement) if request.placement else _launch_by_hydra(request)


def _launch_by_hydra(request: Request) -> Finished:
    """hydra/launcher=basic, joblib, submitit_slurm, ...: each point by itself, with a fresh load."""
    context = HydraContext(config_loader=request.loader, callbacks=Callbacks())
    launcher = Plugins.instance().instantiate_launcher(hydra_context=context, task_function=_one_point, config=request.master)
    done: list[Finished] = [job.return_value for job in launcher.launch(request.overrides, initial_job_idx=0)]
    ran, failed, elsewhere = (sum(getattr(each, count) for each in done) for count in ("ran", "failed", "elsewhere"))
    return Finished(done[0].folder, ran, failed, elsewhere, all(each.unsupported for each in done))


def _one_point(config: DictConfig) -> Finished:
    return run_sweep([to_run_config(config)], Console())
