"""The description of the host, its ceilings, and what they say about a row."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from bench import hardware
from bench.config import ModelConfig, RunConfig, Weights
from bench.frameworks.fake import Settings as FakeSettings
from bench.frameworks.hf import Settings
from bench.host import ceilings, machine
from bench.host.ceilings import CeilingKeeper, DeviceCeilings, HostCeilings, NoCeilings
from bench.measure.limits import draft_marks, limits, routing_marks
from bench.measure.point import Measurement
from bench.roofline import prefill_flops, shape_of
from tests.nvml import fake_nvml
from tests.test_roofline import LLAMA, QWEN_MOE

CPU = DeviceCeilings("cpu", 2, 2e9, 1e9, {"fp32": 1e12}, 0)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def test_ceilings_are_measured_once_and_kept() -> None:
    host = machine.describe()
    assert ceilings.cached(host) is None
    found = ceilings.measure(host, seconds_per_kernel=0.01)
    assert ceilings.cached(host) == found
    cpu = found.of("cpu")
    assert cpu is not None
    assert cpu.read_bytes_per_s > 1e8
    assert cpu.flops_per_s["fp32"] > 1e8
    assert ceilings.cached(replace(host, cpu="another")) is None


def test_a_file_of_another_version_is_measured_again(tmp_path: Path) -> None:
    host = machine.describe()
    ceilings._keep(HostCeilings("now", (CPU,)), ceilings._file(host))
    [file] = tmp_path.rglob("*.json")
    file.write_text('{"devices": [{"unknown": 1}], "measured_at": "now"}')
    assert ceilings.cached(host) is None


def test_the_best_of_two_measurements_counts() -> None:
    busy = DeviceCeilings("cpu", 2, 1e9, 3e9, {"fp32": 2e12, "bf16": 1.0}, 0)
    best = CPU.best_of(busy)
    assert (best.read_bytes_per_s, best.copy_bytes_per_s) == (2e9, 3e9)
    assert best.flops_per_s == {"fp32": 2e12, "bf16": 1.0}


def test_what_was_seen_of_another_device_is_kept() -> None:
    gpu = DeviceCeilings("NVIDIA H100", None, 3e12, 3e12, {"bf16": 8e14}, 50_000_000)
    best = HostCeilings("now", (CPU,)).best_of(HostCeilings("before", (CPU, gpu)))
    assert [device.device for device in best.devices] == ["cpu", "NVIDIA H100"]


def test_kept_ceilings_that_lack_the_device_are_measured_again(monkeypatch: pytest.MonkeyPatch) -> None:
    keeper, said = keeper_that_measures(monkeypatch)
    monkeypatch.setattr(ceilings, "cached", lambda host: HostCeilings("before", (CPU,)))
    keeper.ensure(run(), said.append)
    assert said == []
    with fake_nvml(monkeypatch):
        keeper.ensure(run(), said.append)  # after a point on the CPU
        CeilingKeeper().ensure(run(), said.append)
    assert len(said) == 2


def keeper_that_measures(monkeypatch: pytest.MonkeyPatch, may_repeat: bool = True) -> tuple[CeilingKeeper, list[str]]:
    monkeypatch.setattr(ceilings, "measure", lambda host, before: HostCeilings("now", (CPU,)))
    return CeilingKeeper(may_repeat=may_repeat), []


def test_ceilings_are_measured_before_the_first_job_and_once_more_when_a_row_beats_them(monkeypatch: pytest.MonkeyPatch) -> None:
    keeper, said = keeper_that_measures(monkeypatch)
    for _ in range(3):
        keeper.ensure(run(), said.append)
    assert keeper.known is not None
    assert len(said) == 1
    assert [keeper.raised(run(), said.append) for _ in range(3)] == [True, False, False]
    assert len(said) == 2


def test_nothing_is_measured_for_who_does_not_want_it_or_beside_other_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    keeper, said = keeper_that_measures(monkeypatch, may_repeat=False)
    keeper.ensure(run(ceilings=False), said.append)
    keeper.ensure(RunConfig(ModelConfig(name="tiny", architecture=LLAMA), FakeSettings(name="fake")), said.append)
    assert keeper.known is None
    assert not keeper.raised(run(), said.append)
    assert said == []


def test_a_probe_that_fails_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "/bin/false")
    with pytest.raises(NoCeilings, match=r"exit code 1.*ceilings=false"):
        ceilings.measure(machine.describe())


def test_the_command_prints_json_and_a_table(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    ceilings._keep(HostCeilings("2026-11-22", (CPU,)), ceilings._file(machine.describe()))
    monkeypatch.setenv("COLUMNS", "80")
    hardware.main(["--json"])
    printed = json.loads(capsys.readouterr().out)
    assert printed["host"]["cpus"] == machine.describe().cpus
    assert printed["ceilings"]["devices"][0]["read_bytes_per_s"] == 2e9
    hardware.main([])
    table = capsys.readouterr().out
    assert "2.0" in table
    assert max(len(line.rstrip()) for line in table.splitlines()) <= 80


def run(**settings: object) -> RunConfig:
    return RunConfig(ModelConfig(name="tiny", architecture=LLAMA), Settings(name="hf"), input_tokens=16, output_tokens=3, **settings)  # type: ignore[arg-type]


def seen(latency_s: float) -> Measurement:
    shape = shape_of(LLAMA)
    assert shape is not None
    times = ((latency_s / 2, latency_s * 3 / 4, latency_s),)
    return Measurement((latency_s,), times, "", shape, 0.0, latency_s, engine={"device": "cpu"})


def test_mfu_and_mbu_are_shares_of_the_ceilings() -> None:
    point = run()
    columns = limits(point, seen(1.0), 1.0, ttft_s=0.5, tpot_s=0.25, host=HostCeilings("now", (CPU,)))
    shape = seen(1.0).shape
    assert shape is not None
    assert columns["prefill_mfu"] == pytest.approx(prefill_flops(shape, 1, 16) / 0.5 / 1e12)
    kv_bytes = 2 * 3 * 32 * 4
    assert columns["decode_mbu"] == pytest.approx((shape.matmul_params * 4 + 17.5 * kv_bytes) / 0.25 / 2e9)
    assert columns["floor_s"] < 1.0
    assert columns["suspect"] == []


def test_a_row_below_its_floor_is_suspect() -> None:
    columns = limits(run(), seen(2e-5), 2e-5, ttft_s=1e-5, tpot_s=5e-6, host=HostCeilings("now", (CPU,)))
    assert columns["floor_s"] > 2e-5
    assert columns["decode_mbu"] > 1
    assert len(columns["suspect"]) == 2


def test_an_engine_that_does_not_know_its_devices_has_one() -> None:
    gpu = replace(CPU, device="NVIDIA X")
    unsure = replace(seen(1.0), engine={"device": gpu.device, "n_devices": None})
    columns = limits(run(), unsure, 1.0, 0.5, 0.25, HostCeilings("now", (gpu,)))
    assert columns["ceiling_bytes_per_s"] == gpu.bytes_per_s


def test_without_ceilings_nothing_is_guessed() -> None:
    columns = limits(run(), seen(1.0), 1.0, 0.5, 0.25, host=None)
    assert columns == {"suspect": []}
    pretending = RunConfig(ModelConfig(name="tiny", architecture=LLAMA), FakeSettings(name="fake"))
    assert limits(pretending, seen(1e-4), 1e-4, None, None, HostCeilings("now", (CPU,))) == {"suspect": []}


def test_a_point_whose_steps_need_not_read_every_weight_is_held_against_no_ceiling() -> None:
    point = replace(run(), framework=Settings(name="hf", draft="some-draft"))
    drafted = limits(point, seen(1.0), 1.0, 0.5, 0.25, HostCeilings("now", (CPU,)))
    assert drafted == {"suspect": [], "limits_unknown": "with these settings a step need not read every weight in the model's dtype"}


@pytest.mark.parametrize("n_params", [None, 2_000_000])
def test_a_model_whose_layers_are_not_known_is_held_against_no_ceiling_and_the_row_says_why(n_params: int | None) -> None:
    shape = shape_of(LLAMA)
    assert shape is not None
    unknown = replace(seen(1.0), shape=replace(shape, n_params=n_params) if n_params else None)
    columns = limits(run(), unknown, 1.0, 0.5, 0.25, HostCeilings("now", (CPU,)))
    assert set(columns) == {"suspect", "limits_unknown"}
    assert "bench/roofline.py does not know" in columns["limits_unknown"]


def test_provenance_tells_what_explains_a_number() -> None:
    host = machine.describe()
    assert host.details["affinity"]
    assert machine._ranges([0, 1, 2, 5]) == "0-2,5"


@pytest.mark.parametrize(("share", "flagged"), [(None, False), (0.15, False), (0.6, True)])
def test_lopsided_experts_are_remarked(share: float | None, flagged: bool) -> None:
    measurement = replace(seen(1.0), shape=shape_of(QWEN_MOE), engine={"busiest_expert": share})
    assert bool(routing_marks(measurement)) is flagged


def test_a_draft_that_guesses_what_random_weights_say_is_remarked() -> None:
    drafted = replace(run(), framework=Settings(name="hf", draft="some-draft"))
    trained = replace(drafted, model=replace(drafted.model, weights=Weights.pretrained, path="some-model"))
    assert "says nothing of trained ones" in draft_marks(drafted)[0]
    assert draft_marks(trained) == draft_marks(run()) == []
