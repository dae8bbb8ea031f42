"""From Hydra's composed config to RunConfigs: quickly for a thousand points, and with messages that help."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType, ValueType
from hydra.errors import ConfigCompositionException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException, ValidationError
from yaml import YAMLError  # type: ignore[import-untyped]

from bench.config import RunConfig, Weights, require_path
from bench.errors import InvalidSetting, UnknownName, UnknownSetting
from bench.frameworks import registered_frameworks, settings_by_name
from bench.frameworks.transformers.pretrained import architecture_in

if TYPE_CHECKING:
    from hydra.core.config_loader import ConfigLoader

_PACKAGE = Path(__file__).parents[1]
# In a wheel the YAML files lie inside the package, in a checkout beside it.
CONF = _PACKAGE / "conf" if (_PACKAGE / "conf").is_dir() else _PACKAGE.parent / "conf"


def register_schemas() -> None:
    """Tell Hydra the types, so that an unknown key or a wrong type stops before anything runs."""
    store = ConfigStore.instance()
    store.store(group="schema", name="run", node=_schema(RunConfig), provider="bench")
    for name, settings in settings_by_name().items():
        store.store(group="schema/framework", name=name, node=_schema(settings), provider="bench")
    for name in registered_frameworks():
        node = {"defaults": [f"/schema/framework/{name}@_here_"], "name": name}
        store.store(group="framework", name=name, node=node, provider="bench")


def _schema(settings: type) -> DictConfig:
    """A settings class whose free-form dictionaries (hardware.env, ...) take new keys without Hydra's plus."""
    schema = OmegaConf.structured(settings)
    _open_dictionaries(schema)
    return cast("DictConfig", schema)


def _open_dictionaries(node: DictConfig) -> None:
    for child in [node._get_node(key) for key in node]:
        if isinstance(child, DictConfig) and is_dataclass(OmegaConf.get_type(child)):
            _open_dictionaries(child)
        elif isinstance(child, DictConfig):
            OmegaConf.set_struct(child, False)


def to_run_config(task: DictConfig) -> RunConfig:
    """The typed and checked config of one point, without Hydra's own part.

    Raises UnknownSetting for a key that nobody reads, and InvalidSetting where a value is missing
    or settings contradict each other.
    """
    _refuse_unknown_keys(task)
    return _typed(task)


def _typed(task: DictConfig) -> RunConfig:
    _adopt_architecture(task, task.model.architecture)
    missing = sorted(OmegaConf.missing_keys(task))
    if missing:
        raise InvalidSetting(missing[0], "???", f"has no value; set {missing[0]}=... on the command line or in your YAML")
    run = OmegaConf.to_object(task)
    assert isinstance(run, RunConfig)
    return run


def _adopt_architecture(task: DictConfig, configured: DictConfig) -> None:
    """A pretrained model brings its own architecture: the checks and the plan are to see that one, not a group's."""
    if task.model.weights is Weights.pretrained:
        require_path(task.model.path)  # now: without it, a name that is made of the path cannot be resolved
        task.model.architecture = architecture_in(task.model.path)
    else:
        task.model.architecture = configured


class Composer:
    """Composes the points of one sweep.

    Hydra takes about 60 ms to compose a config. That is only done once per set of group choices; plain
    key=value overrides are set on the composed config, with the same type checks.
    """

    def __init__(self, loader: ConfigLoader, master: DictConfig) -> None:
        self._loader = loader
        self._master = master
        self._parser = OverridesParser.create(config_loader=loader)
        self._parsed: dict[str, Override] = {}
        self._groups: dict[str, bool] = {}
        self._composed: dict[tuple[tuple[str, ...], ...], _Composed] = {}

    def compose(self, overrides: Sequence[str]) -> RunConfig:
        """The point that these overrides (`key=value`) select. Raises what Hydra and to_run_config raise."""
        values: list[Override] = []
        choices: list[Override] = []
        for line in overrides:
            override = self._parse(line)
            (values if self._is_plain_value(override) else choices).append(override)
        lines = tuple(override.input_line or "" for override in choices)
        key = (lines, tuple(override.key_or_group for override in values))
        if key not in self._composed:
            self._composed[key] = self._load(lines)
        return self._composed[key].with_values(values)

    def _parse(self, line: str) -> Override:
        if line not in self._parsed:
            self._parsed[line] = _number(line) or self._parser.parse_override(line)
        return self._parsed[line]

    def _load(self, choices: tuple[str, ...]) -> _Composed:
        config = self._loader.load_sweep_config(self._master, list(choices))
        with open_dict(config):
            del config["hydra"]
        _refuse_unknown_keys(config)
        return _Composed(config)

    def _is_plain_value(self, override: Override) -> bool:
        key = override.key_or_group
        changes_structure = override.is_add() or override.is_force_add() or override.is_delete() or override.package is not None
        return not changes_structure and not key.startswith("hydra.") and not self._is_group(key)

    def _is_group(self, key: str) -> bool:
        if key not in self._groups:
            self._groups[key] = bool(self._loader.get_group_options(key, results_filter=None))
        return self._groups[key]


def _number(line: str) -> Override | None:
    """`key=12`, what most points differ in: Hydra's grammar takes a quarter of a millisecond to see the same in it."""
    found = re.fullmatch(r"([a-z_]+(?:\.[a-z_]+)*)=(0|[1-9][0-9]*)", line)
    if not found:
        return None
    key, digits = found.groups()
    return Override(OverrideType.CHANGE, key, ValueType.ELEMENT, int(digits), input_line=line)


class _Composed:
    """One set of group choices, for points that all set the same keys, so that each starts from the one before."""

    def __init__(self, config: DictConfig) -> None:
        self._config = config
        self._computed = _interpolated_keys(config)  # keys like outputs/${name}, that follow others
        self._formulas = " ".join(str(_raw(config, key)) for key in self._computed)
        self._applied: dict[str, str | None] = {}
        self._architecture = config.model.architecture.copy()
        self._last: RunConfig | None = None

    def with_values(self, overrides: Sequence[Override]) -> RunConfig:
        changed = [override for override in overrides if self._applied.get(override.key_or_group) != override.input_line]
        for override in changed:
            self._set(override)
        if self._last is None:
            self._last = _typed(self._config)
        else:
            keys = [override.key_or_group for override in changed]
            if any(key.rpartition(".")[2] in self._formulas for key in keys):
                keys += self._computed
            if any(key.startswith("model.") for key in keys):  # weights or path may have changed
                _adopt_architecture(self._config, self._architecture)
                keys.append("model.architecture")
            self._last = _replace(self._last, _as_tree({key: _plain(OmegaConf.select(self._config, key)) for key in keys}))
        return self._last

    def _set(self, override: Override) -> None:
        try:
            OmegaConf.update(self._config, override.key_or_group, override.value(), merge=True, force_add=False)
        except OmegaConfBaseException as error:
            raise ConfigCompositionException(f"Error merging override {override.input_line}") from error
        self._applied[override.key_or_group] = override.input_line


def _interpolated_keys(config: DictConfig, prefix: str = "") -> list[str]:
    keys: list[str] = []
    for key in map(str, config):
        node = config._get_node(key)
        if OmegaConf.is_interpolation(config, key):
            keys.append(prefix + key)
        elif isinstance(node, DictConfig) and not node._is_none() and not node._is_missing():
            keys += _interpolated_keys(node, f"{prefix}{key}.")
    return keys


def _raw(config: DictConfig, key: str) -> object:
    """The text of an interpolation, unresolved."""
    *path, last = key.split(".")
    parent = OmegaConf.select(config, ".".join(path)) if path else config
    node: Any = parent._get_node(last)
    return node._value()


def _plain(value: Any) -> Any:
    return OmegaConf.to_object(value) if OmegaConf.is_config(value) else value


def _as_tree(values: Mapping[str, Any]) -> dict[str, Any]:
    """{"model.dtype": x} as {"model": {"dtype": x}}."""
    tree: dict[str, Any] = {}
    for key, value in values.items():
        *path, last = key.split(".")
        branch = tree
        for part in path:
            branch = branch.setdefault(part, _Branch())
        branch[last] = value
    return tree


Settings = TypeVar("Settings")


class _Branch(dict[str, Any]):
    """Settings below a key, in contrast to a dict that is itself a value."""


def _replace(settings: Settings, changes: Mapping[str, Any]) -> Settings:
    """A copy of a dataclass (or dict) with the values of a tree; the checks run again."""
    get = settings.get if isinstance(settings, dict) else partial(getattr, settings)
    new = {key: _replace(get(key), value) if isinstance(value, _Branch) else value for key, value in changes.items()}
    return cast("Settings", {**settings, **new} if isinstance(settings, dict) else replace(cast("Any", settings), **new))


def explain(error: Exception) -> str:
    """One message for what went wrong while composing: the key, its value, and what to do about it."""
    if isinstance(error, MissingConfigException) and error.missing_cfg_file and error.options:
        group, _, name = str(error.missing_cfg_file).rpartition("/")
        return str(UnknownName(group, name, error.options, f"or add conf/{group}/{name}.yaml"))
    if isinstance(error, OverrideParseException):
        form = "write key=value without spaces (batch_size=1,2,4), put what has spaces or brackets into quotes"
        return f"{error.override!r} is no setting: {form}, and name a sweep as +sweeps=demo"
    if isinstance(error, YAMLError):
        return f"a file is no YAML: {' '.join(str(error).split())}; mend it there"
    file = re.match(r"In '(.+)': \w+ raised", str(error))
    cause = next((each for each in (error.__cause__, error.__context__) if isinstance(each, OmegaConfBaseException)), error)
    told = _explain_value(error, cause) if isinstance(cause, OmegaConfBaseException) else None
    return f"{f'conf/{file[1]}.yaml: ' if file and told else ''}{told or str(error).strip()}"


def _explain_value(error: Exception, cause: OmegaConfBaseException) -> str | None:
    key, problem = cause.full_key, str(cause).splitlines()[0]
    if isinstance(cause, (ConfigKeyError, ConfigAttributeError)) and key and is_dataclass(cause.object_type):
        return str(UnknownSetting(key, [field.name for field in fields(cause.object_type) if not field.name.startswith("_")]))
    if isinstance(cause, ValidationError) and isinstance(group := cause.child_node, DictConfig) and is_dataclass(OmegaConf.get_type(group)):
        parts = ", ".join(f"{key}.{name}" for name in map(str, group))
        return f"{key} is a group of settings, and has no value of its own; set one of {parts}"
    if isinstance(cause, ValidationError) and key:
        setting = str(error).splitlines()[0].removeprefix("Error merging override ") if str(error).startswith("Error merging") else key
        return f"{setting}: {problem[0].lower()}{problem[1:]}"
    if isinstance(cause, ValidationError) and "is not a subclass of" in problem:
        return f"{problem}; a file chooses a group in its list of defaults, as in `- override /framework: fake`"
    return None


def _refuse_unknown_keys(node: DictConfig, prefix: str = "") -> None:
    """Hydra lets `+key=value` through; a setting that nobody reads is a mistake."""
    kind = OmegaConf.get_type(node)
    if not is_dataclass(kind):
        return
    known = [field.name for field in fields(kind)]
    for key in map(str, node):
        if key not in known:
            raise UnknownSetting(prefix + key, known)
        if not OmegaConf.is_missing(node, key) and isinstance(child := node._get_node(key), DictConfig) and not child._is_none():
            _refuse_unknown_keys(child, f"{prefix}{key}.")
