"""From overrides to RunConfigs: quickly for thousands of points."""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from dataclasses import fields, is_dataclass, replace
from functools import cache
from typing import TYPE_CHECKING

from hydra.core.override_parser.types import Override, OverrideType
from hydra.errors import ConfigCompositionException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from bench.compose.grid import line_of, values_of
from bench.compose.messages import unknown_setting
from bench.config import GROUPS, PromptSource, RunConfig, Weights, require_path
from bench.errors import InvalidSetting
from bench.frameworks.transformers.pretrained import TOKENIZER_FILES, architecture_in, lacks_tokenizer, name_of

if TYPE_CHECKING:
    from hydra.core.config_loader import ConfigLoader


def to_run_config(task: DictConfig) -> RunConfig:
    """The typed and checked config of one point; `task` has Hydra's part taken out.

    Raises UnknownSetting for a key that nobody reads, and InvalidSetting where a value is missing or settings contradict each other.
    """
    _refuse_unknown_keys(task)
    if task.model.weights is Weights.pretrained:  # it brings its own architecture: the checks and the plan are to see that one
        require_path(task.model.path)  # now: without it, a name that is made of the path cannot be resolved
        task.model.architecture = architecture_in(task.model.path)
        if OmegaConf.is_missing(task.model, "name"):
            task.model.name = name_of(task.model.path)
    if missing := sorted(OmegaConf.missing_keys(task)):
        raise InvalidSetting(missing[0], "???", f"has no value; set {missing[0]}=... on the command line or in your YAML")
    run = OmegaConf.to_object(task)
    assert isinstance(run, RunConfig)
    _refuse_text_without_tokenizer(run)
    return run


def _refuse_text_without_tokenizer(run: RunConfig) -> None:
    model, needs_none = run.model, run.data.source is PromptSource.random
    if needs_none or model.tokenizer or model.weights is Weights.random or not lacks_tokenizer(str(model.path)):
        return
    files = ", ".join(TOKENIZER_FILES)
    raise InvalidSetting(
        "data.source", run.data.source, f"{model.path} has no tokenizer ({files}); save one there, set model.tokenizer, or use data=random"
    )


class Composer:
    """Composes the points of one sweep.

    Hydra takes about 60 ms to compose a config, and OmegaConf 4 ms to check it and turn it into objects. The first is done once per set
    of group choices, the second once per set of settings inside of groups: most points differ in a batch size or a length alone.
    Where no choice is swept, the config of the whole sweep, with what was typed with one value, holds the choices of each point.
    """

    def __init__(self, loader: ConfigLoader, master: DictConfig, typed: Sequence[Override]) -> None:
        self._loader = loader
        self._master = master
        self._is_group = cache(lambda key: any(source.is_group(key) for source in loader.get_sources()))
        self._chosen: dict[tuple[str, ...], DictConfig] = {}
        self._alike: dict[tuple[tuple[str, ...], ...], _Alike] = {}
        if not OmegaConf.missing_keys(master.hydra.runtime.choices):  # Hydra leaves out what a sweep has yet to choose
            fixed = [values_of(override)[0] for override in typed if not override.is_sweep_override()]  # Hydra has set them in `master`
            self._chosen[self._choices(fixed)] = _without_hydra(copy.deepcopy(master))

    def compose(self, overrides: Sequence[Override]) -> RunConfig:
        """The point that these overrides select. Raises BenchError, and what Hydra and OmegaConf raise."""
        of_root: list[Override] = []
        others: list[Override] = []
        for override in overrides:
            (of_root if _sets_a_root_value(override) else others).append(override)
        kind = (tuple(map(line_of, others)), tuple(override.key_or_group for override in of_root))
        if kind not in self._alike:
            self._alike[kind] = _Alike(self._config(others))
        return self._alike[kind].with_values(of_root)

    def _config(self, overrides: Sequence[Override]) -> DictConfig:
        choices = self._choices(overrides)
        if choices not in self._chosen:
            self._chosen[choices] = _without_hydra(self._loader.load_sweep_config(self._master, list(choices)))
        config = copy.deepcopy(self._chosen[choices])
        for override in filter(self._is_plain_value, overrides):
            _set(config, override)
        return config

    def _choices(self, overrides: Sequence[Override]) -> tuple[str, ...]:
        return tuple(line_of(override) for override in overrides if not self._is_plain_value(override))

    def _is_plain_value(self, override: Override) -> bool:
        return _changes_a_value(override) and not self._is_group(override.key_or_group)


def _without_hydra(config: DictConfig) -> DictConfig:
    with open_dict(config):
        del config["hydra"]
    return config


class _Alike:
    """Points that differ only in the values of the same root settings, so that each is the one before with these replaced."""

    def __init__(self, config: DictConfig) -> None:
        self._config = config
        self._followed = set(_NAME.findall(" ".join(_FORMULA.findall(OmegaConf.to_yaml(config)))))
        self._last: RunConfig | None = None
        self._values: dict[str, Override] = {}  # the last point's

    def with_values(self, overrides: Sequence[Override]) -> RunConfig:
        values = {override.key_or_group: override for override in overrides}
        changed = {key: override for key, override in values.items() if override is not self._values.get(key)}
        for override in changed.values():
            _set(self._config, override)
        self._values = values
        if self._last is None or not self._followed.isdisjoint(changed):
            self._last = to_run_config(self._config)
        else:
            self._last = replace(self._last, **{key: self._config[key] for key in changed})
        return self._last


_FORMULA = re.compile(r"\$\{([^}]*)")  # as in outputs/${name}
_NAME = re.compile(r"\w+")
_ROOT = frozenset(field.name for field in fields(RunConfig)) - GROUPS.keys()


def _sets_a_root_value(override: Override) -> bool:
    value = override.value()
    is_formula = isinstance(value, str) and "${" in value
    return override.key_or_group in _ROOT and _changes_a_value(override) and isinstance(value, (int, float, str)) and not is_formula


def _changes_a_value(override: Override) -> bool:
    return override.type is OverrideType.CHANGE and override.package is None and not override.is_hydra_override()


def _set(config: DictConfig, override: Override) -> None:
    try:
        OmegaConf.update(config, override.key_or_group, override.value(), merge=True, force_add=False)
    except OmegaConfBaseException as error:
        raise ConfigCompositionException(f"Error merging override {override.input_line}") from error  # as Hydra says it


def _refuse_unknown_keys(node: DictConfig, prefix: str = "") -> None:
    """Hydra lets `+key=value` through; a setting that nobody reads is a mistake."""
    kind = OmegaConf.get_type(node)
    if not is_dataclass(kind):
        return
    known = [field.name for field in fields(kind)]
    for key in map(str, node):
        if key not in known:
            raise unknown_setting(prefix + key, kind)
        has_value = not OmegaConf.is_missing(node, key) and not OmegaConf.is_interpolation(node, key)
        if has_value and isinstance(child := node[key], DictConfig):
            _refuse_unknown_keys(child, f"{prefix}{key}.")
