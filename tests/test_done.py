"""Which rows count for a point: those of its own config, hardware, and versions of what its framework runs on."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from bench.config import Device, HardwareConfig, ModelConfig, RunConfig
from bench.frameworks import deepspeed_tp, hf
from bench.frameworks.transformers.quantize import Quantization
from bench.results import Row, Status
from bench.sweep.done import rows_that_count
from bench.sweep.outcome import Outcome, host_of, to_row
from bench.sweep.plan import Job
from tests.conftest import TINY


def point(framework: Any = None, **settings: Any) -> RunConfig:
    return RunConfig(model=ModelConfig(name="tiny", architecture=dict(TINY)), framework=framework or hf.Settings(name="hf"), **settings)


def row_of(run: RunConfig, packages: dict[str, str] | None = None, **values: Any) -> Row:
    host = host_of(run)
    host = replace(host, packages={**host.packages, **(packages or {})})
    return to_row(Job(run, 0), Outcome(Status.ok), datetime.now(UTC), host) | values


def counts(row: Row, run: RunConfig, *others: RunConfig, here: bool = True) -> bool:
    return bool(rows_that_count([run, *others], [row], here))


def test_another_version_of_what_a_framework_runs_on_measures_again() -> None:
    assert counts(row_of(point()), point())
    assert not counts(row_of(point(), {"torch": "1.0"}), point())


def test_what_else_is_installed_counts_for_nothing() -> None:
    """As in rows of a program that noted every engine."""
    assert counts(row_of(point(), {"deepspeed": "0.1", "amd-pace": "1.0"}), point())
    quantized = point(hf.Settings(name="hf", quantization=Quantization.int8))
    assert not counts(row_of(quantized, {"torchao": "0.1"}), quantized, point())
    assert not counts(row_of(point(deepspeed_tp.Settings(name="deepspeed_tp")), {"deepspeed": "0.1"}), point())


def test_other_hardware_measures_again() -> None:
    row = row_of(point())
    row["environment"] = json.dumps(json.loads(row["environment"]) | {"cpu": "another"})
    assert not counts(row, point())
    assert counts(row, point(), here=False)  # a cluster chooses its hosts


@pytest.mark.parametrize(
    ("hardware", "made_on", "done"),
    [
        (HardwareConfig(device=Device.cuda), "NVIDIA A100", True),
        (HardwareConfig(device=Device.cuda), "cpu", False),
        (HardwareConfig(device=Device.cpu), "NVIDIA A100", False),
        (HardwareConfig(device=Device.auto), "NVIDIA A100", True),
        (HardwareConfig(name="1xH100", device=Device.cuda), "NVIDIA A100", False),
    ],
)
def test_on_a_cluster_a_row_counts_for_the_kind_of_device_it_was_made_on(hardware: HardwareConfig, made_on: str, done: bool) -> None:
    run = point(hardware=hardware)
    row = row_of(run, device=made_on, hardware=f"1x{made_on}")
    assert counts(row, run, here=False) is done


def test_a_row_that_says_no_environment_counts_for_nobody() -> None:
    assert not counts(row_of(point(), environment=None), point())
