"""A foreign configuration, key by key: whatever nobody takes is told in the end, so that nothing is dropped silently."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError  # type: ignore[import-untyped]

from bench.errors import InvalidSetting


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
        tree = OmegaConf.create(json.loads(text) if file.suffix == ".json" else text)
        content = OmegaConf.to_container(tree, resolve=True)
    except OSError as error:
        raise InvalidSetting("FILE", file, f"cannot be read ({error.strerror}); name a YAML or JSON file") from error
    except (ValueError, TypeError, RecursionError, YAMLError, OmegaConfBaseException) as error:
        raise InvalidSetting("FILE", file, f"is neither YAML nor JSON: {str(error).splitlines()[0]}") from error
    if not isinstance(content, dict):
        raise InvalidSetting("FILE", file, "holds a list; a benchmark configuration has keys and values")
    return {str(key): value for key, value in content.items()}


def _flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _spelled(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
