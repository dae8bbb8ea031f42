"""Data that travels with the package: public-domain prose, and the tokenizer that was trained on it."""

from pathlib import Path
from typing import Any


def embedded_tokenizer() -> Any:
    from transformers import PreTrainedTokenizerFast

    file = Path(__file__).parent / "tokenizer.json"
    return PreTrainedTokenizerFast(tokenizer_file=str(file), unk_token="<unk>", bos_token="<s>", eos_token="</s>", pad_token="<pad>")
