"""What files of a stranger can do: nothing outside of their folder, no code, and nothing in a terminal or a browser."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from bench import compare, convert, report, sweep
from bench.analysis.charts import save, standard_pictures
from bench.analysis.page import write_page
from bench.analysis.settings import pool_rounds, read_jobs
from bench.errors import BenchError, InvalidSetting
from bench.files import refuse_links
from bench.importers import with_sweep_from_file
from bench.results import Row, Store
from bench.row import COLUMNS
from tests import synthetic
from tests.fuzzing import ends_well
from tests.test_html import Cells
from tests.test_importers import FOUNDRY, PACE

EVIL = [
    *('"><img src=x onerror=alert(1)>', "</script><script>alert(1)</script>", "javascript:alert(1)", "' onmouseover='alert(1)", "{{7*7}}"),
    *("../../../evil", "/evil", "\x1b[2J\x1b]0;evil\x07", "\u202egnp.exe", "$\\frac{x}$", "=cmd|' /C calc'!A0", "[/b]", "x" * 10**5),
]
TEXTS = [name for name, kind, _ in COLUMNS if kind == pa.string() and name not in ("point_id", "config_id", "status")]


def everything_in(folder: Path) -> dict[Path, bytes | None]:
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*") if not path.is_symlink()}


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    return synthetic.write(tmp_path / "theirs", synthetic.sweep(framework=["hf", "pace"]))


def prepare(*typed: str) -> None:
    [point] = sweep.points("framework=fake", *typed)
    Store(Path(point.output_dir)).prepare()


@pytest.mark.parametrize("name", ["../../x", "a/b", "/tmp/x", "..", ".", ".hidden", "", "a\nb", "a\x00b", "\x1b[2J", "é" * 300])
def test_a_name_is_one_folder_below_outputs_or_refused(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BenchError):
        prepare(f"name='{name}'")
    assert [path.name for path in tmp_path.rglob("*")] in ([], ["outputs"])


@pytest.mark.parametrize("folder", ["/somewhere/else", "../elsewhere", "a/../../elsewhere"])
def test_a_converted_file_chooses_no_folder_outside_of_the_current_one(folder: str, tmp_path: Path) -> None:
    file = tmp_path / "old.json"
    file.write_text(json.dumps({**PACE, "output_dir": folder}))
    told: list[str] = []
    points = sweep.points(*with_sweep_from_file([f"+from={file}"], tmp_path, told.extend))
    assert {point.output_dir for point in points} == {"outputs/old"}
    assert any(folder in line for line in told)


@pytest.mark.parametrize("name", ["rows", "charts", "report.html", "logs", ".lock", ".slurm.json"])
def test_a_link_in_an_output_folder_is_neither_read_nor_written_through(theirs: Path, tmp_path: Path, name: str) -> None:
    outside = tmp_path / "outside"
    shutil.copytree(theirs / "rows", outside)
    before = everything_in(outside)
    if name == "rows":
        shutil.rmtree(theirs / "rows")
    (theirs / name).symlink_to(outside)
    if name in ("rows", "charts", "report.html"):
        code, _ = ends_well(report.main, theirs)
        assert code == 1
    with pytest.raises(InvalidSetting, match="which leads elsewhere; remove it"):
        Store(theirs).prepare()
    assert everything_in(outside) == before


def test_a_link_to_a_file_beside_it_is_no_stranger(theirs: Path) -> None:
    (theirs / "logs").mkdir(exist_ok=True)
    (theirs / "logs" / "job.sh").touch()
    (theirs / "logs" / ".submission.sh").symlink_to(theirs / "logs" / "job.sh")
    refuse_links(theirs)
    (theirs / "logs" / ".submission.sh").unlink()
    (theirs / "logs" / ".submission.sh").symlink_to(theirs / "rows" / "job.sh")
    with pytest.raises(InvalidSetting, match="leads elsewhere"):
        refuse_links(theirs)


def test_logs_are_looked_at_by_listing_their_folder_and_not_one_by_one(theirs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (theirs / "logs" / "slurm").mkdir(parents=True)
    for number in range(1000):
        (theirs / "logs" / "slurm" / f"{number}.log").touch()
    looked_at = []

    def counted(call: Callable[..., Any]) -> Callable[..., Any]:
        def look(*given: Any, **named: Any) -> Any:
            looked_at.append(given)
            return call(*given, **named)

        return look

    for name in ("stat", "lstat", "readlink"):
        monkeypatch.setattr(os, name, counted(getattr(os, name)))
    refuse_links(theirs)
    assert len(looked_at) < 10


def test_charts_that_are_links_are_not_overwritten(theirs: Path, tmp_path: Path) -> None:
    assert ends_well(report.main, theirs)[0] == 0
    precious = tmp_path / "precious"
    precious.write_text("precious")
    chart = next((theirs / "charts").glob("*.png"))
    chart.unlink()
    chart.symlink_to(precious)
    assert ends_well(report.main, theirs)[0] == 1
    assert ends_well(compare.main, theirs, theirs)[0] == 2
    assert precious.read_text() == "precious"


def test_a_list_of_drawn_charts_removes_nothing_outside(theirs: Path, tmp_path: Path) -> None:
    (tmp_path / "precious").touch()
    (theirs / "charts" / "kept").mkdir(parents=True)
    (theirs / "charts" / ".drawn").write_bytes(b"../../precious\n/etc/passwd\n..\n.\n\xff\nkept\n")
    assert ends_well(report.main, theirs)[0] == 0
    assert (tmp_path / "precious").exists()


@pytest.mark.parametrize("target", ["/etc/passwd", "/nowhere", "the rows of somebody else"])
def test_a_row_that_is_a_link_is_not_read(theirs: Path, tmp_path: Path, target: str) -> None:
    [rows] = (theirs / "rows").iterdir()
    elsewhere = shutil.copy(rows, tmp_path / "elsewhere.parquet")
    (theirs / "rows" / "link.parquet").symlink_to(target if target.startswith("/") else elsewhere)
    code, printed = ends_well(report.main, theirs)
    assert code == 0
    assert "link.parquet: a link, a folder or a device" in printed
    assert "root:" not in printed


def evil_rows() -> list[Row]:
    """Every text of every row says something evil, and so does every text in its config."""
    rows = synthetic.sweep(model=EVIL, output_tokens=[11], batch_size=[1], most_tokens=1000)
    groups = [{group: {"name": evil, evil[:99]: evil} for group in ("model", "framework", "hardware", "data")} for evil in EVIL]
    return [
        {**row, **dict.fromkeys(TEXTS, evil), "name": "x", "noise": [evil], "noisy": True, "suspect": [evil], "config": json.dumps(group)}
        for row, evil, group in zip(rows, EVIL, groups, strict=True)
    ]


def test_hostile_rows_are_inert_in_a_terminal_and_a_page_and_their_pictures_stay_in_their_folder(tmp_path: Path) -> None:
    folder = synthetic.write(tmp_path / "theirs", evil_rows())
    code, printed = ends_well(report.main, folder, "--format", "markdown")
    assert (code, len(printed) < 50_000) == (0, True)
    assert not set("\x1b\x07\u202e") & set(printed)
    settings = pool_rounds(jobs := read_jobs([folder]))
    page = write_page(jobs, settings, folder / "report.html").read_text()
    tags = Cells(page).tags
    assert (tags.count("script"), tags.count("img"), tags.count("a")) == (2, 0, 0)
    assert "default-src 'none'" in unescape(page)
    before = set(tmp_path.iterdir())
    for picture in standard_pictures(settings)[:: len(EVIL)]:
        assert re.fullmatch(r"[\w.-]{1,150}", picture.name)
        save([picture], folder / "charts")
        assert "<img" not in (folder / "charts" / f"{picture.name}.svg").read_text()
    assert set(tmp_path.iterdir()) == before


def files_that_ask_for_their_code(tmp_path: Path) -> list[Path]:
    foundry: dict[str, Any] = {
        **FOUNDRY,
        "model": {
            "name": "hf_causal_lm",
            "pretrained": False,
            "pretrained_model_name_or_path": "mosaicml/mpt-7b",
            "trust_remote_code": True,
        },
    }
    named = "# @package _global_\ndefaults:\n  - override /framework: fake\nmodel: {trust_remote_code: true}\n"
    swept = "# @package _global_\nhydra: {sweeper: {params: {model.trust_remote_code: 'true,false'}}}\n"
    part = (
        "# @package _global_\nhydra: {sweeper: {params: {batch_size: '1,2'}}}\n"
        "sweep: {also: {batch_size=1: [model.trust_remote_code=true]}}\n"
    )
    escaped = '# @package _global_\nmodel: {"trust\\x5fremote_code": true}\n'
    contents = {"foundry.yaml": json.dumps(foundry), "named.yaml": named, "swept.yaml": swept, "part.yaml": part, "escaped.yaml": escaped}
    for name, content in contents.items():
        (tmp_path / name).write_text(content)
    return [tmp_path / name for name in contents]


def test_code_that_comes_with_a_model_runs_only_where_one_typed_so(tmp_path: Path) -> None:
    for number, file in enumerate(files_that_ask_for_their_code(tmp_path)):
        told: list[str] = []
        made = tmp_path / f"made{number}"
        arguments = with_sweep_from_file([f"+from={file}", "framework=fake", "model=mpt_5m"], made, told.extend)
        assert {point.model.trust_remote_code for point in sweep.points(*arguments)} == {False}
        assert any("trust_remote_code" in line for line in told) or file.stem == "escaped"
        own = [*arguments, "model.trust_remote_code=true"]
        assert {point.model.trust_remote_code for point in sweep.points(*own)} == {True}


def test_a_file_name_does_nothing_to_a_terminal(theirs: Path) -> None:
    (theirs / "rows" / "\x1b[2J\udcff.parquet").write_text("no rows")
    code, printed = ends_well(report.main, theirs)
    assert code == 0
    assert "\x1b" not in printed
    assert "skipped" in printed
    assert ends_well(convert.main, theirs, "--to", "csv")[0] == 0
