"""conf/model/ holds what its names promise: the published sizes, and small siblings of the same families."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from bench.config import ModelConfig
from bench.roofline import shape_of

torch = pytest.importorskip("torch", reason="counting a model's parameters needs torch")
transformers = pytest.importorskip("transformers", reason="building a model needs transformers")

CONF = Path(__file__).parents[1] / "conf" / "model"

# file: hidden size, layers, heads, KV heads, vocabulary, positions, and parameters in millions.
# From the config.json and the weights of the model that each file names, or the paper that it names.
PUBLISHED: dict[str, tuple[int, int, int, int, int, int, float]] = {
    "mpt_1b": (2048, 24, 16, 16, 50368, 2048, 1_311),
    "mpt_7b": (4096, 32, 32, 32, 50432, 2048, 6_649),
    "mpt_30b": (7168, 48, 64, 64, 50432, 8192, 29_957),
    "llama_7b": (4096, 32, 32, 32, 32000, 2048, 6_738),
    "llama_13b": (5120, 40, 40, 40, 32000, 2048, 13_016),
    "llama_30b": (6656, 60, 52, 52, 32000, 2048, 32_529),
    "falcon_7b": (4544, 32, 71, 1, 65024, 2048, 6_922),
    "falcon_40b": (8192, 60, 128, 8, 65024, 2048, 41_303),
    "llama_3_1_8b": (4096, 32, 32, 8, 128256, 131072, 8_030),
    "llama_3_2_1b": (2048, 16, 32, 8, 128256, 131072, 1_236),
    "smollm2_135m": (576, 30, 9, 3, 49152, 8192, 134.5),
    "opt_125m": (768, 12, 12, 12, 50272, 2048, 125.2),
    "opt_1_3b": (2048, 24, 32, 32, 50272, 2048, 1_316),
    "qwen3_0_6b": (1024, 28, 16, 8, 151936, 40960, 596.0),
    "qwen3_8b": (4096, 36, 32, 8, 151936, 40960, 8_191),
    "phi_4_mini": (3072, 32, 24, 8, 200064, 131072, 3_836),
    "mixtral_8x7b": (4096, 32, 32, 8, 32000, 32768, 46_703),
}
FILES = sorted(path.stem for path in CONF.glob("*.yaml") if path.stem != "pretrained")
SMALL = [name for name in FILES if name not in PUBLISHED]


def read(name: str) -> ModelConfig:
    model = OmegaConf.to_object(OmegaConf.merge(ModelConfig, OmegaConf.load(CONF / f"{name}.yaml")))
    assert isinstance(model, ModelConfig)
    return model


def counted_millions(model: ModelConfig) -> float:
    sizes: dict[str, Any] = {key: value for key, value in model.architecture.items() if key != "model_type"}
    config = transformers.AutoConfig.for_model(model.family, **sizes)
    with torch.device("meta"):
        built = transformers.AutoModelForCausalLM.from_config(config)
    return float(sum(parameter.numel() for parameter in built.parameters())) / 1e6


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_model_has_its_published_sizes(name: str) -> None:
    model = read(name)
    shape = shape_of(model.architecture)
    assert shape is not None
    *sizes, millions = PUBLISHED[name]
    assert [shape.hidden, shape.layers, shape.heads, shape.kv_heads, shape.vocab, model.max_positions] == sizes
    assert counted_millions(model) == pytest.approx(millions, rel=0.01)


@pytest.mark.parametrize("name", SMALL)
def test_a_small_sibling_has_the_parameters_that_its_name_says(name: str) -> None:
    millions = counted_millions(read(name))
    assert 20 < millions < 40
    if not name.startswith("mixtral"):
        assert round(millions) == int(name.rpartition("_")[2].removesuffix("m"))


def test_every_family_has_a_small_sibling_for_tests_without_a_gpu() -> None:
    assert {read(name).family for name in SMALL} == {read(name).family for name in PUBLISHED}


@pytest.mark.parametrize("name", FILES)
def test_the_shape_of_a_model_adds_up_to_its_parameters(name: str) -> None:
    """Up to biases, norms and learned positions, which the roofline leaves out: most for a small OPT."""
    model = read(name)
    shape = shape_of(model.architecture)
    assert shape is not None
    assert shape.n_params / 1e6 == pytest.approx(counted_millions(model), rel=0.04 if model.family == "opt" else 0.001)
