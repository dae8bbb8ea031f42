"""Models of families that no file names: config and weights in a folder, no tokenizer. All of transformers': make families."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import sweep
from bench.errors import InvalidSetting

pytest.importorskip("transformers", reason="building a model needs transformers")

from tests.families import run_tiny

FAMILIES = ("bloom", "deepseek_v3", "gemma2", "gemma3_text", "glm4", "gpt2", "gpt_neox", "mamba", "olmo2", "qwen2", "qwen3_moe", "stablelm")


@pytest.mark.parametrize("family", FAMILIES)
def test_a_model_without_a_tokenizer_runs_on_random_prompts(family: str, tmp_path: Path) -> None:
    tokens, shape = run_tiny(family, tmp_path / "model")
    assert tokens.shape == (2, 3)
    assert (shape is None) == (family in ("deepseek_v3", "mamba"))  # without formulas its limits are null, and it is measured all the same


def test_a_model_is_called_by_its_folder_or_its_hub_id(tmp_path: Path) -> None:
    snapshot = tmp_path / "models--some--one" / "snapshots" / "0123abc"
    for folder in (tmp_path / "my-model", snapshot):
        folder.mkdir(parents=True)
    points = sweep.points("model=pretrained", f"model.path={tmp_path}/my-model/,{snapshot},facebook/opt-125m", "framework=fake")
    assert [point.model.name for point in points] == ["my-model", "some/one", "facebook/opt-125m"]
    assert points[0].model.path == f"{tmp_path}/my-model/"
    assert sweep.points("model=pretrained", "model.path=some/one", "model.name=mine")[0].model.name == "mine"


def test_text_without_a_tokenizer_is_refused_before_loading(tmp_path: Path) -> None:
    with pytest.raises(InvalidSetting, match=r"data.source=prose: .* has no tokenizer .*set model.tokenizer, or use data=random"):
        sweep.points("model=pretrained", f"model.path={tmp_path}", "data=prose")
