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

# file: hidden size, layers, heads, KV heads, feed-forward size, vocabulary, positions, and parameters in millions.
# Sizes: the config.json (LLaMA: the paper) that each file names. Parameters: what the safetensors files on the hub hold, without
# the second copy of a head that is tied to the embedding; to fewer digits where only a model card or a paper tells.
PUBLISHED: dict[str, tuple[int, int, int, int, int, int, int, float]] = {
    "mpt_1b": (2048, 24, 16, 16, 8192, 50368, 2048, 1_300),  # card
    "mpt_7b": (4096, 32, 32, 32, 16384, 50432, 2048, 6_700),  # card
    "mpt_30b": (7168, 48, 64, 64, 28672, 50432, 8192, 29_950),  # card
    "llama_7b": (4096, 32, 32, 32, 11008, 32000, 2048, 6_700),  # arXiv:2302.13971, table 2
    "llama_13b": (5120, 40, 40, 40, 13824, 32000, 2048, 13_000),  # the same
    "llama_30b": (6656, 60, 52, 52, 17920, 32000, 2048, 32_500),  # the same
    "falcon_7b": (4544, 32, 71, 1, 18176, 65024, 2048, 7_217.190 - 65024 * 4544 / 1e6),
    "falcon_40b": (8192, 60, 128, 8, 32768, 65024, 2048, 41_835.971 - 65024 * 8192 / 1e6),
    "llama_3_1_8b": (4096, 32, 32, 8, 14336, 128256, 131072, 8_030.261),
    "llama_3_2_1b": (2048, 16, 32, 8, 8192, 128256, 131072, 1_235.814),
    "smollm2_135m": (576, 30, 9, 3, 1536, 49152, 8192, 134.515),
    "opt_125m": (768, 12, 12, 12, 3072, 50272, 2048, 125.239),
    "opt_1_3b": (2048, 24, 32, 32, 8192, 50272, 2048, 1_315.758),
    "qwen3_0_6b": (1024, 28, 16, 8, 3072, 151936, 40960, 751.632 - 151936 * 1024 / 1e6),
    "qwen3_8b": (4096, 36, 32, 8, 12288, 151936, 40960, 8_190.735),
    "phi_4_mini": (3072, 32, 24, 8, 8192, 200064, 131072, 3_836.022),
    "mixtral_8x7b": (4096, 32, 32, 8, 14336, 32000, 32768, 46_702.793),
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
    assert [shape.hidden, shape.layers, shape.heads, shape.kv_heads, shape.intermediate, shape.vocab, model.max_positions] == sizes
    assert counted_millions(model) == pytest.approx(millions, rel=0.01)


@pytest.mark.parametrize("name", SMALL)
def test_a_small_sibling_has_the_parameters_that_its_name_says(name: str) -> None:
    millions = counted_millions(read(name))
    assert 1 < millions < 40
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
