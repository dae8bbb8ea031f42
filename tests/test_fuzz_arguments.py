"""Whatever is typed behind report, compare, convert and hardware: they end well."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]

pytest.importorskip("hypothesis")
from hypothesis import example, given
from hypothesis import strategies as st

from bench import compare, convert, hardware, report
from bench.analysis.columns import GRID
from bench.row import SCHEMA
from tests import synthetic
from tests.fuzzing import ends_well, fuzz
from tests.test_fuzz import WORDS
from tests.test_importers import FOUNDRY, PACE

# Beside the words of a command line; no argument of a process can hold a null byte.
ODD = [word for word in WORDS if "\x00" not in word] + [
    "--",
    "-",
    "-x",
    "--out",
    "é" * 300,
    "nowhere",
    "made-up",
    "file",
    ".",
    "..",
    "\x1b[2J",
    "\udcff",
]
PATHS = ["made-up", "made-up", "other", "other", "made-up/rows", "old.yaml", "old.json", "link", "empty", "/proc/x", "/dev/null"]
COLUMNS = [*GRID, "latency_s", "output_tok_s", "ttft_s", "model", "framework", "framework.kv_cache", *SCHEMA.names]
CONDITIONS = [
    "batch_size > 1",
    "framework == 'hf'",
    "latency_s",
    "1/0",
    "@x",
    "(",
    "batch_size ==",
    "`framework.x` == 1",
    "index",
    "True",
    "[1]",
]
CONDITIONS += [
    "model.str.len() > 1",
    "batch_size = 3",
    "x = y",
    "lambda: 0",
    "import os",
    "framework in ['hf']",
    "status == 'oom'",
    "noise == noise",
]

# Of surrogates, a command line has only those by which Python spells bytes that are no text.
letters = st.characters(exclude_characters="\0", exclude_categories=["Cs"]) | st.characters(min_codepoint=0xDC80, max_codepoint=0xDCFF)
odd = st.sampled_from(ODD) | st.text(letters, max_size=5)
paths = st.sampled_from(PATHS) | odd
columns = st.sampled_from(COLUMNS) | odd


def option(name: str, *values: st.SearchStrategy[str]) -> st.SearchStrategy[list[str]]:
    return st.tuples(*values).map(lambda chosen: [name, *chosen])


def command_line(*options: st.SearchStrategy[list[str]]) -> st.SearchStrategy[list[str]]:
    return st.builds(
        lambda folders, chosen: [*folders, *chain.from_iterable(chosen)],
        st.lists(paths, max_size=2),
        st.lists(st.one_of(*options), max_size=3),
    )


REPORT = command_line(
    *(option("--x", columns), option("--y", columns), option("--line", columns), option("--line", columns, columns)),
    *(option("--facet", columns), option("--facet", columns, columns), option("--facet", columns, columns, columns)),
    *(option("--where", st.sampled_from(CONDITIONS) | odd), option("--out", paths), option("--format", st.just("markdown") | odd)),
    *[st.just(["--format", "markdown"])] * 6,  # drawing takes seconds
    *(option(name) for name in ("--all", "--compare", "--published", "--nonsense")),
)
COMPARE = command_line(
    *(option("--min-effect", st.sampled_from(["3%", "0.5", "nan", "inf", "-1", "1e-320", "%", "300%"]) | odd), option("--by", columns)),
    *(
        option("--base", st.sampled_from(["1", "hf", "pace"]) | odd),
        option("--environment", st.sampled_from(["torch=2.13.0", "torch"]) | odd),
    ),
    *(option("--out", paths), option("--json"), option("--json"), option("--mixed"), option("--trust-noisy"), option("--nonsense")),
)
CONVERT = command_line(option("--to", st.sampled_from([*convert.FORMATS]) | odd), option("--out", paths), option("--nonsense"))
HARDWARE = st.lists(st.sampled_from(["--json", "--fresh=1", "--nonsense", "-h", "x"]) | odd, max_size=3)


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """The current folder meanwhile."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as made:
        os.chdir(made)
        synthetic.write(
            Path("made-up"), synthetic.sweep(framework=["hf", "pace"], output_tokens=[11], batch_size=[1, 2, 4], most_tokens=500)
        )
        synthetic.write(Path("other"), synthetic.sweep(output_tokens=[11], batch_size=[1]))
        Path("empty").mkdir()
        Path("file").touch()
        Path("old.yaml").write_text(yaml.safe_dump(FOUNDRY))
        Path("old.json").write_text(json.dumps(PACE))
        Path("link").symlink_to("made-up")
        yield Path(made)
        os.chdir(before)


def check(main: Callable[..., None], arguments: list[str], folder: Path) -> None:
    rows = {file: file.read_bytes() for file in folder.glob("*/rows/*.parquet")}
    ends_well(main, *arguments)
    assert {file: file.read_bytes() for file in rows} == rows  # charts may stand beside them, where --out says so


@fuzz
@example(arguments=["x" * 5000])
@given(arguments=REPORT)
def test_any_arguments_of_report_end_well(folder: Path, arguments: list[str]) -> None:
    check(report.main, arguments, folder)


@fuzz
@example(arguments=["x" * 5000])  # a name that no folder can have
@given(arguments=COMPARE)
def test_any_arguments_of_compare_end_well(folder: Path, arguments: list[str]) -> None:
    check(compare.main, arguments, folder)


@fuzz
@given(arguments=CONVERT)
def test_any_arguments_of_convert_end_well(folder: Path, arguments: list[str]) -> None:
    check(convert.main, arguments, folder)


@fuzz
@given(arguments=HARDWARE.filter(lambda arguments: "--fresh" not in arguments))
def test_any_arguments_of_hardware_end_well(arguments: list[str]) -> None:
    ends_well(hardware.main, *arguments)
