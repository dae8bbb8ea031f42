"""The engines under test, one file each. A new one is a file, a line in this table and a YAML in conf/framework/."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

from bench.config import FrameworkConfig, RunConfig
from bench.errors import InvalidSetting, UnknownName

if TYPE_CHECKING:
    from bench.frameworks.base import Framework

# name -> module:what makes a Framework of a RunConfig; beside it the module holds `Settings`, a FrameworkConfig.
# These modules import their engines late: everyone who asks for help imports them.
FRAMEWORKS = {
    "hf": "bench.frameworks.hf:engine",
    "deepspeed_tp": "bench.frameworks.deepspeed_tp:engine",
    "pace": "bench.frameworks.pace:Pace",
    "vllm": "bench.frameworks.vllm:Vllm",
    "llama_cpp": "bench.frameworks.llama_cpp:LlamaCpp",
    "openvino": "bench.frameworks.openvino:OpenVino",
    "fake": "bench.frameworks.fake:Fake",
}
ENTRY_POINTS = "bench.frameworks"


def known_frameworks() -> dict[str, str]:
    """Our own and those that installed packages register under the entry point group `bench.frameworks`."""
    registered = {point.name: point.value for point in entry_points(group=ENTRY_POINTS)}
    return {**registered, **FRAMEWORKS}


def make_framework(run: RunConfig) -> Framework:
    name, known = run.framework.name, known_frameworks()
    if name not in known:
        raise UnknownName("framework", name, known, f"or register one under the entry point group {ENTRY_POINTS!r}")
    module, attribute = known[name].split(":")
    framework: Framework = getattr(importlib.import_module(module), attribute)(run)
    return framework


def settings_by_name() -> dict[str, type[FrameworkConfig]]:
    return {name: _settings(name, value.split(":")[0]) for name, value in known_frameworks().items()}


def _settings(name: str, module: str) -> type[FrameworkConfig]:
    try:
        settings: type[FrameworkConfig] = importlib.import_module(module).Settings
    except Exception as error:  # the boundary: whatever another package raises, the other frameworks go on
        if name in FRAMEWORKS:
            raise
        return _broken(name, module, error)
    return settings


def _broken(name: str, module: str, error: Exception) -> type[FrameworkConfig]:
    """Settings for a framework that cannot be imported: whoever chooses it is told why."""

    @dataclass
    class Broken(FrameworkConfig):
        def check(self, run: RunConfig) -> None:
            problem = f"{module} has no usable Settings ({type(error).__name__}: {error}); mend or uninstall the package that registers it"
            raise InvalidSetting("framework", name, problem)

    return Broken
