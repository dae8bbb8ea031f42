"""What the tests share: running the real commands, and small configs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.config import ModelConfig, RunConfig
from bench.frameworks.fake import Settings as FakeSettings

ROOT = Path(__file__).parents[1]
# For the processes that tests start: this checkout, and the framework that fails as it is told to.
PYTHONPATH = f"{ROOT}{os.pathsep}{ROOT / 'tests' / 'plugin'}"
TINY = {
    "model_type": "llama",
    "vocab_size": 512,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
}

Command = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def bench_run(tmp_path: Path) -> Command:
    """`python -m bench.run ARGUMENTS` in an empty folder."""

    def run(*arguments: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": PYTHONPATH, "COLUMNS": "200"}
        command = [sys.executable, "-m", "bench.run", *arguments]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=timeout)

    return run


def fake_run(**settings: object) -> RunConfig:
    """A point of the fake framework; `step_s` and the like go to the framework, the rest to the point."""
    framework = {key: settings.pop(key) for key in list(settings) if key in FakeSettings.__dataclass_fields__ and key != "name"}
    settings = {"output_tokens": 4, "input_tokens": 8, **settings}
    return RunConfig(
        model=ModelConfig(name="tiny", architecture=dict(TINY)),
        framework=FakeSettings(name="fake", **framework),  # type: ignore[arg-type]
        **settings,  # type: ignore[arg-type]
    )
