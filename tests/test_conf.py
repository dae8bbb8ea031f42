"""Every file in the groups of conf/ that describe engines, models and rigs makes a valid point."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from unittest.mock import patch

import pytest
from hydra import compose, initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl

from bench import sweep
from bench.compose.composer import to_run_config
from bench.compose.schemas import CONF, register
from bench.config import RunConfig
from bench.errors import BenchError, InvalidSetting
from bench.importers import with_sweep_from_file
from tests.conftest import ROOT

NEEDS = {"model=pretrained": ["model.path=some/model"]}
NEEDS |= {f"hardware={n}xA100-{size}GB": ["framework=deepspeed_tp"] for n, size in product((2, 4), (40, 80))}
FILES = [f"{group}={path.stem}" for group in ("model", "framework", "hardware") for path in sorted((ROOT / "conf" / group).glob("*.yaml"))]


@pytest.mark.parametrize("choice", FILES)
def test_every_choice_makes_a_point(choice: str) -> None:
    (point,) = sweep.points(choice, *NEEDS.get(choice, []))
    group, _, name = choice.partition("=")
    if group == "framework":
        assert name.startswith(point.framework.name)
    elif group == "hardware" and name[0].isdigit():
        assert point.hardware.name == name


def test_ranks_are_told_apart_by_presets_that_stand_beside_other_frameworks() -> None:
    points = sweep.points("framework=hf,deepspeed_tp,deepspeed_tp2,deepspeed_tp8")
    assert [getattr(point.framework, "tp", 1) for point in points] == [1, 1, 2, 8]


@pytest.mark.parametrize("plus", ["", "+"])
def test_the_keys_of_a_free_dictionary_are_settings_like_others(plus: str) -> None:
    operators = ["framework=pace", f"{plus}framework.llm_operators={{Norm: NATIVE, MLP: TPP}}", f"{plus}framework.llm_operators.RoPE=JIT"]
    points = sweep.points(*operators, f"{plus}hardware.env.OMP_WAIT_POLICY=active,passive", "framework.spec_config.model_name=amd/PARD")
    assert [point.hardware.env["OMP_WAIT_POLICY"] for point in points] == ["active", "passive"]
    for point in points:
        assert point.as_dict["framework"]["llm_operators"] == {"Norm": "NATIVE", "MLP": "TPP", "RoPE": "JIT"}
        assert point.as_dict["framework"]["spec_config"]["model_name"] == "amd/PARD"


@pytest.mark.parametrize(
    "axes",
    [
        ["batch_size=1,2", "input_tokens=16,128"],
        ["model=llama_28m,opt_30m", "output_tokens=011,7"],
        ["model.dtype=fp32,bf16", "generation.temperature=1,0.5", "seed=11,7"],
        ["name=12,a12", "num_runs=auto,7", "hardware.threads=null,1"],
    ],
)
def test_a_point_of_a_grid_is_the_one_that_its_settings_make_alone(axes: list[str]) -> None:
    """A grid sets numbers on a config composed before; a point alone is composed by Hydra from the start."""
    keys = [axis.partition("=")[0] for axis in axes]
    for values in product(*(axis.partition("=")[2].split(",") for axis in axes)):
        alone = composed_by_hydra([f"{key}={value}" for key, value in zip(keys, values, strict=True)])
        assert alone in sweep.points(*axes)


@pytest.mark.parametrize("formula", ["input_tokens=${output_tokens}", "hydra.sweeper.params.input_tokens=${output_tokens}"])
def test_a_formula_takes_the_values_of_its_point_and_not_those_of_the_sweep(formula: str) -> None:
    points = sweep.points(f"+{formula}" if formula.startswith("hydra") else formula, "output_tokens=4,8", "name=out-${output_tokens}")
    assert [(point.input_tokens, point.output_tokens, point.name) for point in points] == [(4, 4, "out-4"), (8, 8, "out-8")]


@pytest.mark.parametrize("typed", [["+sweeps=demo,llama"], ["sweeps=demo", "batch_size=1", "+sweeps=llama"]])
def test_several_named_sweeps_are_not_one(typed: list[str]) -> None:
    with pytest.raises(InvalidSetting, match="sweeps=demo,llama: are several: run each by itself"):
        sweep.points(*typed)
    with pytest.raises(InvalidSetting, match=r"from=mine\.yaml, yours\.yaml: are several: run each by itself"):
        with_sweep_from_file(["+from=mine.yaml", "from=yours.yaml"], Path())


def composed_by_hydra(settings: list[str]) -> RunConfig:
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return to_run_config(compose("config", settings))


@pytest.mark.parametrize(
    ("compositions", "typed"), [(1, ["model=llama_5m", "batch_size=1,2", "+hardware.env.X=1"]), (3, ["model=llama_5m,opt_30m"])]
)
def test_hydra_composes_a_sweep_and_each_choice_that_it_sweeps_once(compositions: int, typed: list[str]) -> None:
    load = ConfigLoaderImpl.load_configuration
    with patch.object(ConfigLoaderImpl, "load_configuration", autospec=True, side_effect=load) as composed:
        sweep.points(*typed)
    assert composed.call_count == compositions


def test_what_a_file_leaves_open_is_chosen_by_what_is_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "conf" / "sweeps").mkdir(parents=True)
    (tmp_path / "conf" / "sweeps" / "open.yaml").write_text("defaults:\n  - override /model: ???")
    monkeypatch.chdir(tmp_path)
    assert len(sweep.points("+sweeps=open", "model=llama_5m,opt_30m")) == 2
    with pytest.raises(BenchError, match="You must specify 'model'"):
        sweep.points("+sweeps=open")


@pytest.mark.parametrize(
    ("file", "content", "told"),
    [
        ("model/mine", "name: X\ndtyp: bf16", "conf/model/mine.yaml: no setting named 'model.dtyp'; did you mean 'dtype'?"),
        ("model/mine", "name: X\n dtype: bf16", 'mine.yaml", line 2'),
        ("sweeps/mine", "framework: fake", "conf/sweeps/mine.yaml: .*a file chooses a group in its list of defaults"),
        ("sweeps/mine", "batch_size: [1, 2]", "in a file by hydra.sweeper.params"),
    ],
)
def test_a_mistake_in_a_file_of_ones_own_is_told_with_what_to_write_instead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, content: str, told: str
) -> None:
    path = tmp_path / "conf" / f"{file}.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(content)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BenchError, match=told):
        sweep.points(file.replace("/", "="))


def test_a_file_of_ones_own_comes_before_a_built_in_one_of_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "conf" / "model").mkdir(parents=True)
    built_in = (ROOT / "conf" / "model" / "llama_28m.yaml").read_text()
    (tmp_path / "conf" / "model" / "llama_28m.yaml").write_text(built_in.replace("LLaMA-28M", "mine"))
    monkeypatch.chdir(tmp_path)
    assert [point.model.name for point in sweep.points("model=llama_28m,opt_30m")] == ["mine", "OPT-30M"]


def test_hardware_in_the_grid_brings_its_ranks_and_its_name_measures_nothing_twice() -> None:
    points = sweep.points("hardware=1xA100-80GB,4xA100-80GB", "framework=deepspeed_tp")
    assert [getattr(point.framework, "tp", 1) for point in points] == [1, 4]
    (named,) = sweep.points("hardware=4xA100-80GB", "framework=deepspeed_tp")
    (unnamed,) = sweep.points("hardware=cuda", "framework=deepspeed_tp", "framework.tp=4")
    assert (named.point_id, named.config_id, named.load_key) == (unnamed.point_id, unnamed.config_id, unnamed.load_key)


def test_a_name_that_promises_more_devices_than_are_used_is_refused_unless_it_is_a_label() -> None:
    with pytest.raises(BenchError, match=r"names 4 devices.*framework\.tp=2 uses 2.*is_label"):
        sweep.points("hardware=4xA100-80GB", "framework=deepspeed_tp", "framework.tp=2")
    sweep.points("hardware=4xA100-80GB", "framework=deepspeed_tp", "framework.tp=2", "hardware.is_label=true")
