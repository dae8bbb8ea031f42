"""Pretrained weights from a local folder or a hub id: what can be missing, and one message for each."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import shorten
from typing import Any

from bench.config import ModelConfig, Weights
from bench.errors import Unavailable, Unsupported
from bench.frameworks.transformers import gguf_header

WEIGHT_FILES = ("*.safetensors", "*.bin", "*.gguf")
TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model")
_HUB_SNAPSHOT = re.compile(r"models--(.+)--(.+)/snapshots/[^/]+$")  # how the hub's cache names its folders


def check_folder(path: str) -> None:
    """Raise Unavailable where a local folder lacks what a model needs. A hub id passes: it is asked for when it is loaded."""
    folder = Path(path)
    if gguf_header.is_gguf(path):
        raise Unsupported(f"model.path={path}: only framework=llama_cpp runs a GGUF file; choose that, or name a folder or a hub id")
    if not folder.is_dir():
        if folder.is_file():
            raise Unsupported(f"model.path={path} is a file; name a folder with a model, a hub id, or with framework=llama_cpp a FILE.gguf")
        if folder.is_absolute() or path.startswith((".", "~")):
            raise Unavailable(f"model.path={path}: there is no such folder; name a folder that exists, or a hub id like facebook/opt-125m")
        return
    if not (folder / "config.json").is_file():
        raise Unavailable(
            f"model.path={path}: the folder has no config.json; save a model there with save_pretrained, or name another folder"
        )
    if not any(file for pattern in WEIGHT_FILES for file in folder.glob(pattern)):
        raise Unavailable(
            f"model.path={path}: the folder has a config.json, but no weights ({', '.join(WEIGHT_FILES)}); "
            "put them there, or choose a model of conf/model, which has random ones"
        )


def lacks_tokenizer(path: str) -> bool:
    """Whether this is a local folder without one. Nobody knows of a hub id before it is asked for."""
    return Path(path).is_dir() and not any((Path(path) / name).is_file() for name in TOKENIZER_FILES)


def name_of(path: str) -> str:
    """A model's name: the hub's id, or the name of its folder or file."""
    if not Path(path).exists():
        return path
    folder = Path(path).resolve()
    snapshot = _HUB_SNAPSHOT.search(str(folder))
    return "/".join(snapshot.groups()) if snapshot else folder.name.removesuffix(".gguf")


def architecture_in(path: str | None) -> dict[str, Any]:
    """What a GGUF file, or the config.json of a local folder, says; nothing where there is none, which is told when the model is loaded."""
    try:
        if gguf_header.is_gguf(path):
            return gguf_header.architecture(str(path))
        architecture = json.loads((Path(path or "") / "config.json").read_text())
    except (OSError, ValueError, Unsupported):
        return {}
    return architecture if isinstance(architecture, dict) else {}


def folder_of(model: ModelConfig) -> Path:
    """The folder with this pretrained model, taken from the hub where it is not a local one. Raises Unavailable."""
    path = str(model.path)
    with explained(model):
        if Path(path).is_dir():
            return Path(path)
        from huggingface_hub import snapshot_download

        return Path(snapshot_download(path, allow_patterns=["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja"]))


@contextmanager
def explained(model: ModelConfig) -> Iterator[None]:
    """Turn what transformers raises about a model into one message that says what to do."""
    if model.weights is Weights.pretrained and model.path:
        check_folder(model.path)
    try:
        yield
    except (ImportError, ValueError, OSError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not _unreachable(model, error):
            raise  # out of memory, among others
        raise _explanation(model, error) from error


def _explanation(model: ModelConfig, error: Exception) -> Unsupported:
    said = shorten(" ".join(str(error).split()), 300, placeholder=" ...").rstrip(".")  # it lists hundreds of families where one is unknown
    if isinstance(error, ImportError):
        return Unavailable(f"transformers needs a package for {model.name}: {said}; install it, or change the setting that asks for it")
    if model.weights is Weights.random:
        return Unsupported(
            f"transformers cannot build {model.name}: {said}; change the setting that it names, in framework or model.architecture"
        )
    if "gated repo" in said.lower():
        return Unavailable(
            f"model.path={model.path}: the model is gated; accept its terms on huggingface.co/{model.path}, "
            "then run `hf auth login` or set HF_TOKEN"
        )
    if _unreachable(model, error):
        return Unavailable(
            f"model.path={model.path}: not in the local cache, and the hub cannot be reached or has no such model; "
            "download it where there is a network, then set model.path to its folder"
        )
    return Unsupported(f"transformers cannot load {model.path}: {said}; mend that, or set model.path to another folder or hub id")


def _unreachable(model: ModelConfig, error: Exception) -> bool:
    """Whether this is how a hub id ends without a network: transformers and huggingface_hub have many ways to say it."""
    if model.weights is Weights.random or Path(str(model.path)).exists():
        return False
    return bool(re.search(r"offline|connect|resolve|reach|network|cannot send a request|can't load the conf", str(error), re.IGNORECASE))
