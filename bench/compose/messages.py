"""What went wrong while composing, as one message that names the key, its value, and what to do about it."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from textwrap import shorten

from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException, ValidationError
from yaml import YAMLError  # type: ignore[import-untyped]

from bench.config import GROUPS
from bench.errors import UnknownName, UnknownSetting
from bench.frameworks import settings_by_name


def unknown_setting(key: str, group: type) -> UnknownSetting:
    """`group` is the type that has no such key."""
    name = key.rpartition(".")[2]
    engines = settings_by_name()
    kinds = [*GROUPS.items(), *(("framework", settings) for settings in engines.values())]
    elsewhere = list(dict.fromkeys(f"{part}.{name}" for part, kind in kinds if name in (field.name for field in fields(kind))))
    if key in elsewhere:  # other frameworks have it
        having = [engine for engine, kind in engines.items() if name in (field.name for field in fields(kind))]
        elsewhere = [f"{key} of framework={' or '.join(having)}"]
    known = [field.name for field in fields(group) if not field.name.startswith("_")]
    return UnknownSetting(key, known, elsewhere if name not in known else ())


def explain(error: Exception, typed: Sequence[str] = ()) -> str:
    """One message for what went wrong while composing what was typed: the key, its value, and what to do about it."""
    if not isinstance(error, (HydraException, OmegaConfBaseException, YAMLError)):
        said = shorten(" ".join(f"{type(error).__name__}: {error}".split()), 200, placeholder=" ...")
        settings = shorten(" ".join(typed), 200, placeholder=" ...")
        return f"{settings or 'the settings'}: cannot be composed ({said}); write each as key=value with a key and a value of --help"
    if isinstance(error, MissingConfigException) and error.missing_cfg_file and error.options:
        group, _, name = str(error.missing_cfg_file).rpartition("/")
        kind, _, path = str(error.missing_cfg_file).partition("/")
        if kind in _OF_YOURS and ("/" in path or os.path.exists(path)):
            return f"{kind}={path}: is no file in conf/{kind}; write {_OF_YOURS[kind]}={path} for a file, a folder or a hub id"
        return str(UnknownName(group.removesuffix("s"), name, error.options, f"or add conf/{group}/{name}.yaml"))
    if isinstance(error, OverrideParseException):
        form = "write key=value without spaces (batch_size=1,2,4), put what has spaces or brackets into quotes"
        return f"{error.override!r} is no setting: {form}, and name a sweep as +sweeps=demo"
    if isinstance(error, YAMLError):
        return f"a file is no YAML: {' '.join(str(error).split())}; mend it there"
    file = re.match(r"In '(.+)': \w+ raised", str(error))
    cause = next((each for each in (error.__cause__, error.__context__) if isinstance(each, OmegaConfBaseException)), error)
    told = _explain_value(error, cause) if isinstance(cause, OmegaConfBaseException) else None
    return f"{f'conf/{file[1]}.yaml: ' if file and told else ''}{told or ' '.join(str(error).split()) or _WITHOUT_WORDS}"


_OF_YOURS = {"model": "model=pretrained model.path", "data": "data=dataset data.path", "sweeps": "+from"}
_KINDS = {"to Integer": "a whole number", "to Float": "a number", "not a valid bool (type str)": "true or false"}
_WITHOUT_WORDS = (
    "a part of the configuration has the wrong shape, such as a list where settings are expected; compare yours with conf/config.yaml"
)


def _explain_value(error: Exception, cause: OmegaConfBaseException) -> str | None:
    key, problem = cause.full_key, str(cause).splitlines()[0]
    if isinstance(cause, (ConfigKeyError, ConfigAttributeError)) and key and is_dataclass(cause.object_type):
        return str(unknown_setting(key, cause.object_type))
    if isinstance(cause, ValidationError) and isinstance(group := cause.child_node, DictConfig) and is_dataclass(OmegaConf.get_type(group)):
        parts = ", ".join(f"{key}.{name}" for name in map(str, group))
        named = "; a named sweep is +sweeps=demo" if key == "sweep" else ""
        return f"{key} is a group of settings, and has no value of its own; set one of {parts}{named}"
    if isinstance(cause, ValidationError) and key:
        setting = str(error).splitlines()[0].removeprefix("Error merging override ") if str(error).startswith("Error merging") else key
        if listed := re.search(r"=\[(.+)\]$", setting):
            return f"{setting}: is a list; leave out the brackets to sweep its values: {key}={listed[1]}"
        kind = next((meant for theirs, meant in _KINDS.items() if problem.endswith(theirs)), None)
        return f"{setting}: {f'must be {kind}' if kind else problem[0].lower() + problem[1:]}"
    if isinstance(cause, ValidationError) and "is not a subclass of" in problem:
        return f"{problem}; a file chooses a group in its list of defaults, as in `- override /framework: fake`"
    return None
