"""Whatever is typed or opened ends well: with points, or with one message of ours. `make fuzz` takes 10,000 examples of each."""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

pytest.importorskip("hypothesis")
from hypothesis import example, given
from hypothesis import strategies as st

from bench import sweep
from bench.compose.schemas import Placement
from bench.config import RunConfig
from bench.errors import BenchError
from bench.importers import with_sweep_from_file
from tests.fuzzing import fuzz, in_time, message_of
from tests.test_importers import FOUNDRY, PACE


def keys_of(kind: type, prefix: str = "") -> list[str]:
    found = []
    for field in fields(kind):
        found.append(prefix + field.name)
        if is_dataclass(field.default_factory):
            found += keys_of(field.default_factory, f"{prefix}{field.name}.")
    return found


KEYS = [
    *(key for key in keys_of(RunConfig) if key != "framework.python"),
    *(f"hydra.launcher.{field.name}" for field in fields(Placement)),
    *("sweeps", "from", "hydra.sweeper", "hydra.sweeper.params", "hydra/launcher", "hydra.mode", "hydra", "hydra.searchpath", "schema"),
    *("framework.nonsense", "framework.cache", "model.architecture.num_hidden_layers", "model.architecture.max_position_embeddings"),
    *("hardware.env.X", "nonsense", "model@foo", ""),
]
WORDS = [
    "glob(*)",
    "choice(1,2)",
    "range(1,4)",
    "range(4,1)",
    "range(1,1000000000000)",
    "interval(0,1)",
    "sort(3,1)",
    "1,3,9",
    "1,2,...,8",
    "1,2,4,...,8",
    "...",
    "${name}",
    "${x}",
]
WORDS += [
    "${oc.env:HOME}",
    "${.name}",
    "???",
    "null",
    "true",
    "auto",
    "max",
    "",
    " ",
    "-1",
    "0",
    "1e400",
    "nan",
    "inf",
    "[]",
    "[1,[2]]",
    "{}",
]
WORDS += [
    "{a:1}",
    "{a:{b:c}}",
    "'",
    '"a b"',
    "a b",
    "../../x",
    "/dev/null",
    "é",
    "\x00",
    "a=b",
    "cuda",
    "llama_28m",
    "pretrained",
    "fake",
    "hf,pace",
]
WORDS += ["greedy,beams", "random", "['a,b']", "{framework=pace:[x=1]}", "9" * 30, "x" * 3000, "\\", "@", "demo", "1,", ",", "(", "mpt_5m"]
OPTIONS = ["-m", "--multirun", "--cfg", "--config-dir=/", "--x", "-h", "demo", "~model", "~batch_size", "=", "+", "1,2"]

values = st.sampled_from(WORDS) | st.integers(-3, 5000).map(str) | st.floats().map(str) | st.text(max_size=6)
assignments = st.builds("{}{}={}".format, st.sampled_from(["", "", "", "+", "++", "~"]), st.sampled_from(KEYS), values)
odd = st.none() | st.booleans() | st.integers(-5, 10**9) | st.floats() | st.sampled_from(WORDS) | st.text(max_size=5)
odd_trees = st.recursive(
    odd,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@fuzz
@given(st.lists(assignments | st.sampled_from(OPTIONS), min_size=1, max_size=3))
@example(["batch_size=range(4,1)"])
@example(["model=glob(zzz*)"])
@example(["batch_size=1,2", "sweep.exclude=['batch_size=1','batch_size=2']"])
@example(["batch_size=shuffle(range(1,1000000000000))"])
@example(["model.x=range(0.0,1.0,0)"])
@example(["batch_size=range(1,9000)", "input_tokens=range(1,9000)"])
def test_any_command_line_makes_points_or_one_message(typed: list[str]) -> None:
    try:
        with in_time():
            assert sweep.points(*typed)
    except BenchError as error:
        message_of(error)


def opened(text: str, name: str) -> None:
    """What `bench-run +from=FILE` makes of a file."""
    folder = Path(tempfile.mkdtemp())
    try:
        file = folder / name
        file.write_text(text)
        with in_time():
            assert sweep.points(*with_sweep_from_file([f"+from={file}"], folder))
    except BenchError as error:
        message_of(error)
    finally:
        shutil.rmtree(folder)


@fuzz
@given(st.dictionaries(st.sampled_from([*KEYS, "defaults"]), odd_trees, max_size=3), st.text(max_size=3))
def test_any_sweep_in_yaml_makes_points_or_one_message(content: dict[str, Any], tail: str) -> None:
    tree: dict[str, Any] = {}
    for key, value in content.items():
        *path, last = key.split(".")
        branch = tree
        for part in path:
            branch = branch[part] if isinstance(branch.get(part), dict) else branch.setdefault(f"{part}", {}) if part not in branch else {}
        branch[last] = value
    opened("# @package _global_\n" + yaml.safe_dump(tree, allow_unicode=True) + tail, "mine.yaml")


def mutated(tree: dict[str, Any], path: list[int], value: Any) -> dict[str, Any]:
    """A copy with one value, found by these numbers, replaced."""
    copy = json.loads(json.dumps(tree))
    branch = copy
    for number in path:
        key = list(branch)[number % len(branch)]
        if not isinstance(branch[key], dict) or not branch[key]:
            break
        branch = branch[key]
    branch[key] = value
    return dict(copy)


@fuzz
@given(st.sampled_from([FOUNDRY, PACE]), st.lists(st.tuples(st.lists(st.integers(0, 40), min_size=1, max_size=3), odd_trees), max_size=3))
def test_any_foreign_config_is_converted_or_refused_with_one_message(
    original: dict[str, Any], changes: list[tuple[list[int], Any]]
) -> None:
    content = original
    for path, value in changes:
        content = mutated(content, path, value)
    is_json = original is PACE
    opened(json.dumps(content) if is_json else yaml.safe_dump(content), "old.json" if is_json else "old.yaml")


def test_a_file_that_refers_to_itself_is_refused() -> None:
    opened(yaml.safe_dump({**FOUNDRY, "max_seq_len": "${max_seq_len}"}), "old.yaml")


_NESTED = "a0: &a0 [1]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 30))


_LEVELS = range(40)
_DOUBLED = "".join(f'a{i}: "${{a{i + 1}}}${{a{i + 1}}}"\n' for i in _LEVELS) + "a40: x\n"
_IN_GROUPS = "".join(f"g{i}: {{x: '${{g{i + 1}}}', y: '${{.x}}'}}\n" for i in _LEVELS) + "g40: {x: 1}\n"
_BY_FORMULA = "".join(f"a{i}: ${{a${{n{i}}}}}${{oc.select:a{i + 1}}}\nn{i}: {i + 1}\n" for i in _LEVELS) + "a40: x\n"


@pytest.mark.parametrize("more", [_DOUBLED, _IN_GROUPS, _BY_FORMULA, _DOUBLED.replace("$", "\\x24"), f"{_DOUBLED}hydra:\n"])
def test_formulas_of_formulas_that_stand_for_more_than_memory_holds_are_refused(more: str, tmp_path: Path) -> None:
    file = tmp_path / "old.yaml"
    file.write_text(yaml.safe_dump(FOUNDRY) + more)
    with in_time(), pytest.raises(BenchError, match=r"formulas \(\$\{name\}\), which may stand for more"):
        with_sweep_from_file([f"+from={file}"], tmp_path)


@pytest.mark.parametrize(
    "more", [_NESTED, _NESTED.replace("1", "", 1), f"{_NESTED}hydra:\n", "loop: &loop [*loop]\n"]
)  # the third is a named sweep
def test_aliases_that_stand_for_more_than_memory_holds_are_refused(more: str, tmp_path: Path) -> None:
    file = tmp_path / "old.yaml"
    file.write_text(yaml.safe_dump(FOUNDRY) + more)
    with in_time(), pytest.raises(BenchError, match=r"aliases \(\*name\) that stand for more than"):
        with_sweep_from_file([f"+from={file}"], tmp_path)
