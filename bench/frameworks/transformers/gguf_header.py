"""What a GGUF file says of itself: read without any package, since the process that plans a sweep has none for it."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any, BinaryIO

from bench.errors import Unavailable, Unsupported

# The format: github.com/ggml-org/ggml/blob/master/docs/gguf.md. Kinds of values by number, as struct spells them; the others have parts.
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
# Its names for sizes, and those of a transformers config.
_SIZES = {
    "context_length": "max_position_embeddings",
    "embedding_length": "hidden_size",
    "block_count": "num_hidden_layers",
    "feed_forward_length": "intermediate_size",
    "attention.head_count": "num_attention_heads",
    "attention.head_count_kv": "num_key_value_heads",
    "attention.key_length": "head_dim",
    "vocab_size": "vocab_size",
    "expert_count": "num_local_experts",
    "expert_used_count": "num_experts_per_tok",
}
_SPECIAL = {"bos": "bos", "eos": "eos", "unknown": "unk", "padding": "pad"}


def is_gguf(path: str | None) -> bool:
    return str(path or "").endswith(".gguf")


def architecture(path: str) -> dict[str, Any]:
    """The sizes of the model in this file, as its transformers config would name them. Raises Unsupported."""
    told = metadata(path)
    family = str(told.get("general.architecture", "unknown"))
    sizes = {ours: told[key] for theirs, ours in _SIZES.items() if (key := f"{family}.{theirs}") in told}
    special = {f"{ours}_token_id": told[key] for theirs, ours in _SPECIAL.items() if (key := f"tokenizer.ggml.{theirs}_token_id") in told}
    vocabulary = told.get("tokenizer.ggml.tokens")
    return {"model_type": family, **sizes, **({"vocab_size": vocabulary} if vocabulary else {}), **special}


def metadata(path: str) -> dict[str, Any]:
    """Key and value of everything in the header; of an array only its length. Raises Unsupported for what is no such file."""
    try:
        with Path(path).open("rb") as file:
            if file.read(4) != b"GGUF":
                raise Unsupported(f"model.path={path} is no GGUF file: it does not begin with GGUF; name another file")
            _, _, count = struct.unpack("<IQQ", file.read(20))
            return {_text(file): _value(file, *struct.unpack("<I", file.read(4))) for _ in range(count)}
    except OSError as error:
        raise Unavailable(f"model.path={path} cannot be read ({error.strerror}); name a file that is there") from error
    except (struct.error, UnicodeDecodeError, KeyError, OverflowError, MemoryError, RecursionError) as error:
        raise Unsupported(f"model.path={path} cannot be read as a GGUF file ({error or type(error).__name__}); name a whole one") from error


def _text(file: BinaryIO) -> str:
    (length,) = struct.unpack("<Q", file.read(8))
    return file.read(length).decode()


def _value(file: BinaryIO, kind: int) -> Any:
    if kind == _STRING:
        return _text(file)
    if kind == _ARRAY:
        each, length = struct.unpack("<IQ", file.read(12))
        if each in _SCALARS:
            file.seek(length * struct.calcsize(f"<{_SCALARS[each]}"), 1)
        else:
            for _ in range(length):
                _value(file, each)
        return length
    (value,) = struct.unpack(f"<{_SCALARS[kind]}", file.read(struct.calcsize(f"<{_SCALARS[kind]}")))
    return value
