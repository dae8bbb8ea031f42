"""The documentation is true: what is generated is up to date, links lead somewhere, and commands are ones that the program takes."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench import compare, convert, hardware, report, sweep
from bench.compose.help import declared
from bench.config import RunConfig
from bench.errors import InvalidSetting
from bench.frameworks import FRAMEWORKS, settings_by_name
from bench.frameworks.base import Framework
from tests import reference_page
from tests.conftest import ROOT, fake_run

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
# Only an example of how to write it: a word in capitals stands for something of the reader's.
_PLACEHOLDER = re.compile(r"\b[A-Z][A-Z_]{2,}\b(?!=)")
_COMMAND = re.compile(r"^ +((?:python -m bench\.|bench-)(run|report|compare|convert|hardware)\b[^#\n]*)", re.MULTILINE)
_LINK = re.compile(r"\]\((?!https?:)([^)#]+)")


def commands(page: Path) -> list[list[str]]:
    found = [shlex.split(match[1]) for match in _COMMAND.finditer(page.read_text()) if not _PLACEHOLDER.search(match[1])]
    return [[command[0], *command[1:]] for command in found]


def test_the_reference_is_up_to_date() -> None:
    assert reference_page.PAGE.read_text() == reference_page.page(), "run python -m tests.reference_page"
    assert reference_page.ENGINES_PAGE.read_text() == reference_page.engines_page(), "run python -m tests.reference_page"


GROUPS = [kind for _, kind in reference_page.GROUPS.values()]


@pytest.mark.parametrize("kind", [RunConfig, *GROUPS, *(settings_by_name()[name] for name in FRAMEWORKS)])
def test_every_setting_says_what_it_is(kind: type) -> None:
    groups = ("model", "framework", "hardware", "generation", "data", "measure", "sweep", "spec_config")
    assert not [key for key, _, meaning in declared(kind) if not meaning and key not in groups]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page: Path) -> None:
    assert not [link for link in _LINK.findall(page.read_text()) if not (page.parent / link).exists()]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_sweep_in_the_text_can_be_composed(page: Path) -> None:
    for line in commands(page):
        arguments = line[3:] if line[0] == "python" else line[1:]
        if "run" in line[0] or "bench.run" in line:
            overrides = [argument for argument in arguments if not argument.startswith("-") and not argument.startswith("hydra.")]
            assert "--help" in arguments or sweep.points(*overrides), line


def test_the_commands_of_the_readme_do_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All but those on files of the reader's, in its order; two quick fakes stand in for the engines."""
    monkeypatch.chdir(tmp_path)
    for _, _, module, *arguments in commands(ROOT / "README.md"):
        if module == "bench.run" and "--help" not in arguments:
            typed = [argument.replace("framework=hf,pace", "framework.step_s=0,0.001") for argument in arguments]
            assert sweep.run(*typed, "framework=fake", ceilings=False).joinpath("rows").is_dir()
        elif module == "bench.compare":
            shown = [argument.replace("framework", "framework.step_s") for argument in arguments]
            assert compare.run(compare._parser().parse_args(shown)) in (0, 1, 2)
        elif module == "bench.report":
            monkeypatch.setattr("sys.argv", [module, *arguments])
            report.main()
    assert (tmp_path / "outputs" / "demo" / "report.html").exists()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_option_in_the_text_exists(page: Path) -> None:
    helps = {
        name: _help(module) for name, module in (("report", report), ("compare", compare), ("convert", convert), ("hardware", hardware))
    }
    for line in commands(page):
        name = re.split(r"[.-]", line[2] if line[0] == "python" else line[0])[-1]
        options = [argument for argument in line if argument.startswith("--") and argument != "--help"]
        assert name == "run" or all(option in helps[name] for option in options), line


def test_the_sweep_of_the_documentation_is_a_whole_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = re.search(r"```yaml\n(.+?)```", reference_page.PAGE.read_text(), re.DOTALL)
    assert content
    (tmp_path / "conf" / "sweeps").mkdir(parents=True)
    (tmp_path / "conf" / "sweeps" / "mine.yaml").write_text(content[1])
    monkeypatch.chdir(tmp_path)
    assert len(sweep.points("+sweeps=mine")) == 2 * 5 * 2
    assert len(sweep.points("+sweeps=mine", "framework=fake", "num_runs=6")) == 5 * 2


def test_the_framework_of_the_documentation_is_a_whole_one() -> None:
    code = re.search(r"```python\n(.+?)```", (ROOT / "docs" / "frameworks.md").read_text(), re.DOTALL)
    assert code
    names: dict[str, Any] = {"__name__": __name__}
    exec(code[1], names)
    run = fake_run(output_tokens=3)
    engine, steps = names["Echo"](run), []
    engine.load()
    engine.prepare(run)
    tokens = engine.generate(np.array([[1, 2], [3, 4]]), 3, lambda at_s=None: steps.append(at_s))
    assert (tokens.tolist(), len(steps)) == ([[2] * 3, [4] * 3], 3)
    assert set(vars(Framework)) & {"load", "prepare", "generate", "describe"} <= set(dir(engine))
    with pytest.raises(InvalidSetting, match=r"framework.pages=0"):
        names["Settings"](name="echo", pages=0).check(run)


def _help(module: object) -> str:
    return Path(str(module.__file__)).read_text()  # type: ignore[attr-defined]
