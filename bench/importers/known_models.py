"""Which entry of conf/model/ a foreign configuration means, by its hub name or by its sizes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from omegaconf import OmegaConf

from bench.compose.schemas import CONF

# What hub names append to models of the same architecture.
_VARIANT = re.compile(r"-(instruct|chat|it|hf|base|v\d+\.\d+)$", re.IGNORECASE)


@dataclass(frozen=True)
class KnownModel:
    option: str  # in conf/model/
    name: str  # as people write it
    architecture: Mapping[str, Any]


def by_hub_name(hub_name: str) -> KnownModel | None:
    """The entry of this name: meta-llama/Llama-3.1-8B-Instruct has the architecture of Llama-3.1-8B."""
    known = {model.name.casefold(): model for model in _entries()}
    wanted = hub_name.rpartition("/")[2].casefold()
    while wanted not in known and _VARIANT.search(wanted):
        wanted = _VARIANT.sub("", wanted)
    return known.get(wanted)


def nearest(architecture: Mapping[str, Any]) -> KnownModel | None:
    """The entry of the same family that agrees in most sizes; None for an unknown family."""
    family = [model for model in _entries() if model.architecture.get("model_type") == architecture["model_type"]]
    return max(family, key=lambda model: len(architecture) - len(differences(architecture, model)), default=None)


def differences(architecture: Mapping[str, Any], model: KnownModel) -> dict[str, Any]:
    return {key: value for key, value in architecture.items() if model.architecture.get(key) != value}


@cache
def _entries() -> list[KnownModel]:
    files = sorted((CONF / "model").glob("*.yaml"))
    contents: dict[str, Any] = {file.stem: OmegaConf.to_container(OmegaConf.load(file)) for file in files}
    return [
        KnownModel(option, content["name"], content["architecture"]) for option, content in contents.items() if "architecture" in content
    ]
