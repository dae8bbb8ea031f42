"""The environment that an engine is installed in: this one, that of framework.python, or the one that `make engines` built."""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path

from bench.config import FrameworkConfig
from bench.errors import MissingEngine
from bench.host.machine import cache_folder


def python_of(framework: FrameworkConfig) -> str | None:
    """The interpreter of a worker for this engine; None: the one that runs this."""
    built = interpreter(framework.name) if missing(framework) else None
    return framework.python or (str(built) if built else None)


def interpreter(engine: str) -> Path | None:
    """Of the environment that `make engines` has built: a stamp says that it is whole."""
    folder = cache_folder() / "engines" / engine
    return folder / "bin" / "python" if any(folder.glob(".built-*")) else None


def missing(framework: FrameworkConfig) -> list[str]:
    """The modules of the engine that cannot be imported here."""
    return [module for module in framework.modules if not _is_here(module)]


def require(framework: FrameworkConfig) -> None:
    """Raise MissingEngine where the engine is not installed."""
    if lacking := missing(framework):
        raise MissingEngine(framework.name, ", ".join(lacking))


@cache
def _is_here(module: str) -> bool:
    return importlib.util.find_spec(module) is not None
