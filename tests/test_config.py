"""A config that exists makes sense, and says what it is by its hashes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from math import inf, nan
from typing import Any

import pytest

from bench.config import DataConfig, GenerationConfig, MeasureConfig, ModelConfig, PromptSource, RunConfig, Weights
from bench.errors import InvalidSetting
from bench.frameworks import settings_by_name
from tests.conftest import TINY, fake_run


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"batch_size": 0}, "batch_size=0: must be a whole number from 1, or max"),
        ({"num_runs": 0}, "num_runs=0"),
        ({"name": "../elsewhere"}, "name=../elsewhere"),
        ({"warmup_runs": -1}, "warmup_runs=-1"),
        ({"timeout_s": 0.0}, "timeout_s=0.0"),
        ({"hardware": {"threads": 0}}, "hardware.threads=0"),
        ({"measure": {"interval_s": 0.0}}, "measure.interval_s=0.0"),
        ({"input_tokens": 200, "output_tokens": 57}, "257 is more than the 256 positions of tiny"),
        ({"generation": {"num_beams": 2}}, "framework=fake has no beam search"),
        ({"generation": {"do_sample": True, "temperature": 0.0}}, "generation.temperature=0.0"),
        ({"generation": {"top_p": 0.0}}, "generation.top_p=0.0"),
        ({"data": {"source": PromptSource.dataset}}, "data.path=None"),
        ({"model": {"weights": Weights.pretrained}}, "model.path=None"),
        ({"model": {"architecture": {}}}, "model.architecture={}"),
    ],
)
def test_settings_that_contradict_each_other_are_refused_with_key_and_value(settings: dict[str, Any], told: str) -> None:
    run = fake_run()
    with pytest.raises(InvalidSetting) as refused:
        replace(run, **{key: replace(getattr(run, key), **value) if isinstance(value, dict) else value for key, value in settings.items()})
    assert told in str(refused.value)


def _numbers(settings: Any, group: str = "") -> Iterator[str]:
    """The settings that may be fractions, as they are typed."""
    for each in fields(settings):
        if is_dataclass(value := getattr(settings, each.name)):
            yield from _numbers(value, f"{group}{each.name}.")
        elif "float" in str(each.type):
            yield group + each.name


@pytest.mark.parametrize("framework", settings_by_name())
@pytest.mark.parametrize("odd", [nan, inf, -inf])
def test_a_number_without_end_is_refused_wherever_it_stands(framework: str, odd: float) -> None:
    run = fake_run()
    run = replace(run, framework=settings_by_name()[framework](name=framework))
    keys = list(_numbers(run))
    assert {"precision", "max_seconds", "noise_wait_s", "timeout_s", "hardware.memory_limit_gb", "generation.temperature"} <= set(keys)
    for key in keys:
        group, _, name = key.rpartition(".")
        with pytest.raises(InvalidSetting, match=f"^{key}={odd}: must "):
            replace(run, **({group: replace(getattr(run, group), **{name: odd})} if group else {name: odd}))


def test_what_a_family_says_of_its_own_sizes_may_be_without_end() -> None:
    mamba = ModelConfig(name="mamba", architecture={**TINY, "time_step_limit": [0.0, inf], "rope_theta": inf})
    assert replace(fake_run(), model=mamba).model.architecture["rope_theta"] == inf


def test_the_longest_prompt_that_fits_is_accepted() -> None:
    assert fake_run(input_tokens=200, output_tokens=56).input_tokens == 200


def test_a_points_hash_tells_what_is_measured_and_not_how_often() -> None:
    point = fake_run()
    assert fake_run(num_runs=3, name="other", timeout_s=5.0).point_id == point.point_id
    assert fake_run(num_runs=3).config_id != point.config_id
    assert fake_run(name="other", timeout_s=5.0, rounds=3).config_id == point.config_id
    assert fake_run(batch_size=2).point_id != point.point_id


def test_a_setting_without_effect_measures_nothing_again() -> None:
    def differ(*settings: dict[str, Any]) -> bool:
        return len({replace(fake_run(), **each).config_id for each in settings}) > 1

    def measured(**settings: Any) -> dict[str, Any]:
        return {"measure": MeasureConfig(**settings)}

    def generated(**settings: Any) -> dict[str, Any]:
        return {"generation": GenerationConfig(**settings)}

    def prompted(**settings: Any) -> dict[str, Any]:
        return {"data": DataConfig(**settings)}

    assert not differ({}, {"precision": 0.5}, {"max_seconds": 5.0}, measured(interval_s=9.0), generated(top_k=1), prompted(column="x"))
    assert differ({"num_runs": "auto"}, {"num_runs": "auto", "precision": 0.5})
    assert differ({"warmup_runs": "auto"}, {"warmup_runs": "auto", "max_seconds": 5.0})
    assert differ(measured(system_metrics=True), measured(system_metrics=True, interval_s=9.0))
    assert differ(generated(do_sample=True), generated(do_sample=True, top_k=1))
    assert differ(*(prompted(source=PromptSource.dataset, path="x", column=column) for column in "xy"))


def test_points_share_a_loaded_model_unless_something_else_must_be_loaded() -> None:
    key = fake_run().load_key
    assert fake_run(batch_size=8, output_tokens=1).load_key == key
    assert fake_run(load_s=1.0).load_key != key
    other = RunConfig(model=ModelConfig(name="tiny", architecture={**TINY, "num_hidden_layers": 3}), framework=fake_run().framework)
    assert other.load_key != key


def test_positions_are_found_under_every_familys_name() -> None:
    for key in ("max_position_embeddings", "max_seq_len", "n_positions"):
        assert ModelConfig(architecture={key: 64}).max_positions == 64
    assert ModelConfig().max_positions is None
