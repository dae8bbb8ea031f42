"""A foreign configuration, key by key: whatever nobody takes is told in the end, so that nothing is dropped silently."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from math import inf
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from bench.errors import InvalidSetting
from bench.identity import flat

_MOST_VALUES, _MOST_CHARACTERS = 100_000, 100_000_000  # for which a file may stand


class Reader:
    """The values of a file under dotted keys. Each is taken once; `notes` says what became of the others."""

    def __init__(self, tree: Mapping[str, Any]) -> None:
        self._left = dict(flat(tree))
        self.notes: list[str] = []
        self.last, self.value = "FILE", ""  # what was taken last

    def take(self, key: str, default: Any = None) -> Any:
        self.last, self.value = key, self._left.pop(key, default)
        return self.value

    def need(self, key: str) -> str:
        """Take what cannot be left out. Raises InvalidSetting."""
        value = self.take(key)
        if not value:
            raise InvalidSetting(key, value, "is missing; add it to the file")
        return str(value)

    def take_all(self, prefix: str) -> dict[str, Any]:
        """Everything below a key, under what follows it."""
        return {key.removeprefix(f"{prefix}."): self._left.pop(key) for key in self._below(prefix)}

    def note(self, prefix: str, why: str, unless: tuple[Any, ...] = (None,)) -> None:
        """Take a key, or everything below it, and say why it is not carried over, unless its value goes without saying."""
        for key in self._below(prefix):
            value = self._left.pop(key)
            if value not in unless:
                self.notes.append(f"{key}={_spelled(value)}: {why}")

    def finish(self) -> list[str]:
        """All notes, those on keys that nobody knows at the end."""
        for key in list(self._left):
            self.note(key, "an unknown key, so it is left out", unless=())
        return self.notes

    def _below(self, prefix: str) -> list[str]:
        return [key for key in self._left if key == prefix or key.startswith(f"{prefix}.")]


def read(file: Path) -> dict[str, Any]:
    """The content of a YAML or JSON file, its interpolations resolved. Raises InvalidSetting."""
    try:
        text = file.read_text()
        refuse_a_bomb(text, file)
        tree = OmegaConf.create(json.loads(text) if file.suffix == ".json" else text)
        content = OmegaConf.to_container(tree, resolve=True)
    except OSError as error:
        raise InvalidSetting("FILE", file, f"cannot be read ({error.strerror}); name a YAML or JSON file") from error
    except (ValueError, TypeError, RecursionError, yaml.YAMLError, OmegaConfBaseException) as error:
        raise InvalidSetting("FILE", file, f"is neither YAML nor JSON: {str(error).splitlines()[0]}") from error
    if not isinstance(content, dict):
        raise InvalidSetting("FILE", file, "holds a list; a benchmark configuration has keys and values")
    return {str(key): value for key, value in content.items()}


def refuse_a_bomb(text: str, file: Path) -> None:
    """Raises InvalidSetting where aliases of aliases, or formulas of formulas, stand for more than memory holds, or for themselves.

    What is no YAML is left to the parser.
    """
    with suppress(yaml.YAMLError, RecursionError):
        root = yaml.compose(text, yaml.SafeLoader)
        counts = (lambda _: 1, lambda node: _text(node).count("${"), lambda node: len(_text(node)))
        values, formulas, characters = (_total(root, count, {}) for count in counts)
        if values > _MOST_VALUES:
            problem = f"has aliases (*name) that stand for more than {_MOST_VALUES:,} values; write out what is meant"
            raise InvalidSetting("FILE", file, problem)
        # Of all ways in which so many formulas can lead to each other, levels of three repeat most.
        if characters * 3 ** min(formulas / 3, 100) > _MOST_CHARACTERS:
            problem = f"has {formulas} formulas (${{name}}), which may stand for more than memory holds; write out what is meant"
            raise InvalidSetting("FILE", file, problem)


def _total(node: yaml.Node | None, count: Callable[[yaml.Node | None], int], known: dict[int, float]) -> float:
    """Of this count of each node, as often as aliases repeat it."""
    if id(node) not in known:
        known[id(node)] = inf  # as long as it is looked into: then it holds itself
        parts = node.value if isinstance(node, yaml.CollectionNode) else ()
        inside = (each for part in parts for each in (part if isinstance(part, tuple) else (part,)))
        known[id(node)] = count(node) + sum(_total(each, count, known) for each in inside)
    return known[id(node)]


def _text(node: yaml.Node | None) -> str:
    return str(node.value) if isinstance(node, yaml.ScalarNode) else ""


def _spelled(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
