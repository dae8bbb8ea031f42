"""Data that travels with the package: public-domain prose, and the tokenizer that was trained on it."""

import json
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


def prose() -> list[str]:
    """The embedded public-domain passages, in order; README.md names their sources."""
    files = sorted(HERE.glob("*.jsonl"))
    return [json.loads(line)["text"] for file in files for line in file.read_text(encoding="utf-8").splitlines()]


def embedded_tokenizer() -> Any:
    from transformers import PreTrainedTokenizerFast

    file = HERE / "tokenizer.json"
    return PreTrainedTokenizerFast(tokenizer_file=str(file), unk_token="<unk>", bos_token="<s>", eos_token="</s>", pad_token="<pad>")
