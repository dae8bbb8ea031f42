"""What a command line asks for: checked points, and where they are to run."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass

from hydra import initialize_config_dir
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from bench.compose import schemas
from bench.compose.composer import Composer
from bench.compose.grid import grid, line_of, typed_overrides
from bench.compose.messages import explain
from bench.compose.schemas import Placement
from bench.config import PromptSource, RunConfig, Weights
from bench.errors import BenchError, InvalidSetting, require

_RUN = ("-m", "--multirun", "-r", "--run")  # all the same here: one point is a small sweep
_QUESTIONS = ("-c", "--cfg", "-i", "--info", "-sc", "--shell-completion", "--hydra-help")
_WITH_QUESTIONS = ("-p", "--package", "--resolve")
_SWEEP = re.compile(r"^(?:\+?sweeps|\+sweep)=")
_DOTS = re.compile(r"(?<=\d), *(?:\.\.|\.{4,}|…) *,(?= *[\d-])")  # what people type for ...


@dataclass(frozen=True)
class Request:
    points: list[RunConfig]
    placement: Placement | None  # None: hydra/launcher chose one of Hydra's own
    # What Hydra's own launchers need, to compose each point again where they run it.
    loader: ConfigLoader
    master: DictConfig
    overrides: list[list[str]]


def compose(arguments: Sequence[str]) -> Request:
    """The sweep of `bench-run ARGUMENTS`, not run. Raises BenchError."""
    schemas.register()
    try:
        with initialize_config_dir(str(schemas.CONF), job_name="bench", version_base="1.3"):
            loader = GlobalHydra.instance().config_loader()
            master = loader.load_configuration("config", for_hydra(arguments), RunMode.MULTIRUN)
            typed = typed_overrides(loader, master)
            overrides = grid(loader, master, typed)
            composer = Composer(loader, master, typed)
            points = [composer.compose(point) for point in overrides]
            _refuse_unread_paths(points)
            placement = OmegaConf.to_object(master.hydra.launcher)
            ours = placement if isinstance(placement, Placement) else None
            return Request(points, ours, loader, master, [list(map(line_of, point)) for point in overrides])
    except BenchError:
        raise
    except Exception as error:  # the boundary: Hydra and OmegaConf fail in many ways on what they did not expect
        raise BenchError(explain(error, arguments)) from error


def _refuse_unread_paths(points: Sequence[RunConfig]) -> None:
    """Whoever names a folder wants it read: a sweep of something else would answer another question. Raises InvalidSetting."""
    models, data = [point.model for point in points], [point.data for point in points]
    model_path = next((model.path for model in models if model.path), None)
    is_read = not model_path or any(model.weights is Weights.pretrained for model in models)
    require(is_read, "model.path", model_path, f"is read by no point; write model=pretrained model.path={model_path}, or model.path=null")
    data_path = next((each.path for each in data if each.path), None)
    is_read = not data_path or any(each.source is PromptSource.dataset for each in data)
    require(is_read, "data.path", data_path, f"is read by no point; write data=dataset data.path={data_path}, or data.path=null")


def for_hydra(typed: Sequence[str]) -> list[str]:
    """The arguments with what a user need not think of. Raises InvalidSetting.

    That is -m, wherever it stands, the plus of a named sweep, and that such a file sets keys of the root, not of a group `sweeps`.
    """
    _refuse_unknown_options(typed)
    spelled = [_SWEEP.sub("+sweeps@_global_=", _DOTS.sub(",...,", argument)) for argument in typed]
    sweeps = ",".join(argument.partition("=")[2] for argument in spelled if argument.startswith("+sweeps@_global_="))
    require("," not in sweeps, "+sweeps", sweeps, "are several: run each by itself, since each has a grid of its own")
    return [argument for argument in spelled if argument not in _RUN]


def is_question(typed: Sequence[str]) -> bool:
    """Whether Hydra shall show the config, complete a word, ...: nothing is run then."""
    return any(argument.partition("=")[0] in _QUESTIONS for argument in typed)


def _refuse_unknown_options(typed: Sequence[str]) -> None:
    known = ["--help", "--version", *_RUN, *_QUESTIONS, *(_WITH_QUESTIONS if is_question(typed) else ())]
    for argument in typed:
        name = argument.partition("=")[0]
        if name.startswith("-") and name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            meant = f"did you mean {near[0]}? A" if near else "a"
            raise InvalidSetting("option", name, f"is none of bench-run; {meant} setting is written as key=value: batch_size=4. See --help")
