"""A foreign configuration, key by key: whatever nobody takes is told in the end, so that nothing is dropped silently."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from math import inf
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from bench.errors import InvalidSetting

_MOST_VALUES = 100_000


class Reader:
    """The values of a file under dotted keys. Each is taken once; `notes` says what became of the others."""

    def __init__(self, tree: Mapping[str, Any]) -> None:
        self._left = dict(_flat(tree))
        self.notes: list[str] = []
        self.last, self.value = "FILE", ""  # what was taken last

    def has(self, prefix: str) -> bool:
        return bool(self._below(prefix))

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
    """Raises InvalidSetting where aliases of aliases stand for more values than memory holds, or for themselves.

    What is no YAML is left to the parser.
    """
    with suppress(yaml.YAMLError, RecursionError):
        if _values(yaml.compose(text, yaml.SafeLoader), {}) > _MOST_VALUES:
            raise InvalidSetting(
                "FILE", file, f"has aliases (*name) that stand for more than {_MOST_VALUES:,} values; write out what is meant"
            )


def _values(node: yaml.Node | None, known: dict[int, float]) -> float:
    if id(node) not in known:
        known[id(node)] = inf  # as long as it is looked into: then it holds itself
        inside = (
            (each for pair in node.value for each in (pair if isinstance(pair, tuple) else [pair]))
            if isinstance(node, yaml.CollectionNode)
            else ()
        )
        known[id(node)] = 1 + sum(_values(each, known) for each in inside)
    return known[id(node)]


def _flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _spelled(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
