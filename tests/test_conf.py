"""Every file in the groups of conf/ that describe engines, models and rigs makes a valid point."""

from __future__ import annotations

import pytest

from bench.sweep.grid import compose_sweep
from tests.conftest import ROOT

NEEDS = {"model=pretrained": ["model.path=some/model"]}
FILES = [f"{group}={path.stem}" for group in ("model", "framework", "hardware") for path in sorted((ROOT / "conf" / group).glob("*.yaml"))]


@pytest.mark.parametrize("choice", FILES)
def test_every_choice_makes_a_point(choice: str) -> None:
    (point,) = compose_sweep([choice, *NEEDS.get(choice, [])])
    group, _, name = choice.partition("=")
    if group == "framework":
        assert name.startswith(point.framework.name)
    elif group == "hardware" and name[0].isdigit():
        assert point.hardware.name == name


def test_ranks_are_told_apart_by_presets_that_stand_beside_other_frameworks() -> None:
    points = compose_sweep(["framework=hf,deepspeed_tp,deepspeed_tp2,deepspeed_tp8"])
    assert [getattr(point.framework, "tp", 1) for point in points] == [1, 1, 2, 8]


def test_operators_and_drafts_can_be_typed_on_the_command_line() -> None:
    (point,) = compose_sweep(
        ["framework=pace", "+framework.llm_operators={Norm: NATIVE, MLP: TPP}", "framework.spec_config.model_name=amd/PARD-Llama-3.2-1B"]
    )
    assert point.as_dict["framework"]["llm_operators"] == {"Norm": "NATIVE", "MLP": "TPP"}
    assert point.as_dict["framework"]["spec_config"]["model_name"] == "amd/PARD-Llama-3.2-1B"
