"""bench-convert as its user meets it: what it writes, prints and refuses."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from bench import convert
from bench.errors import one_message
from bench.importers import OWN_SWEEPS, run_argument
from tests.conftest import ROOT
from tests.test_importers import FOUNDRY, PACE, changed, write


def command(monkeypatch: pytest.MonkeyPatch, folder: Path, *arguments: str) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["bench-convert", *arguments])
    convert.main()


def test_a_file_becomes_a_named_sweep_and_the_next_command_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command(monkeypatch, tmp_path, str(write(tmp_path, FOUNDRY)))
    sweep = f"conf/sweeps/{FOUNDRY['benchmark_name']}.yaml"
    assert (tmp_path / sweep).is_file()
    printed = capsys.readouterr().out
    assert "attn_impl=triton" in printed
    assert f"wrote {sweep}, a sweep of 7 points" in printed
    assert f"python -m bench.run +sweeps={FOUNDRY['benchmark_name']}" in printed


def test_the_name_follows_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command(monkeypatch, tmp_path, str(write(tmp_path, PACE)), "--out", "mine.yaml")
    assert "\nname: mine\n" in (tmp_path / "mine.yaml").read_text()


def test_in_a_checkout_the_sweep_lies_beside_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert OWN_SWEEPS.resolve() == Path("sweeps").resolve()
    assert run_argument(Path("sweeps/demo.yaml")) == "+sweeps=demo"
    assert run_argument(Path("mine.yaml")) == "+from=mine.yaml"


def test_an_edited_sweep_is_not_overwritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    old = write(tmp_path, FOUNDRY)
    command(monkeypatch, tmp_path, str(old), "--out", "mine.yaml")
    command(monkeypatch, tmp_path, str(old), "--out", "mine.yaml")
    (tmp_path / "mine.yaml").write_text("name: edited\n")
    with pytest.raises(SystemExit, match="1"):
        command(monkeypatch, tmp_path, str(old), "--out", "mine.yaml")
    assert "mine.yaml: is there already, with other content" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("missing.yaml",), r"bench-convert: FILE=missing.yaml: cannot be read \(No such file"),
        (("old.yaml", "--to", "csv"), r"--to=csv: exports a folder of results"),
        (("old.yaml", "--out", "/proc/mine.yaml"), r"--out=/proc/mine.yaml: cannot be written"),
        (("old.yaml", "--out", "."), r"--out=\.: cannot be written \(Is a directory\); name a file"),
        (("old.yaml", "--out", "image.png"), r"--out=image.png: is there already, with other content"),
    ],
)
def test_mistakes_are_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
) -> None:
    write(tmp_path, changed(FOUNDRY))
    (tmp_path / "image.png").write_bytes(b"\x89PNG")  # no text
    with pytest.raises(SystemExit, match="1"):
        command(monkeypatch, tmp_path, *arguments)
    [told] = capsys.readouterr().err.splitlines()
    assert re.search(message, told)


def test_ctrl_c_ends_a_command_with_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="130"), one_message("bench-report"):
        raise KeyboardInterrupt
    assert capsys.readouterr().err == "bench-report: interrupted\n"


@pytest.mark.parametrize("printed", ["x", "x" * 100_000])
def test_output_that_nobody_reads_to_its_end_ends_a_command_without_a_word(printed: str) -> None:
    script = f"from bench.errors import one_message\nwith one_message('bench-compare', 2): input(); print('{printed[:1]}' * {len(printed)})"
    with subprocess.Popen(
        [sys.executable, "-c", script], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as ran:
        assert ran.stdin and ran.stdout and ran.stderr
        ran.stdout.close()
        ran.stdin.write(b"\n")
        ran.stdin.close()
        assert (ran.wait(), ran.stderr.read()) == (141, b"")
