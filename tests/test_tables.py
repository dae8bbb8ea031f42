"""Rows to tables: which row counts, what tells settings apart, and what the terminal shows."""

from __future__ import annotations

import io
from datetime import timedelta
from pathlib import Path

import pytest
from rich.console import Console

from bench.analysis import terminal
from bench.analysis.draw import line_names
from bench.analysis.settings import facts, interval_in_words, pool_rounds, pooled_in_words, read_jobs, telling_apart
from bench.errors import NoRows
from tests import synthetic


def printed(folder: Path, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width)
    jobs = read_jobs([folder])
    terminal.print_results(pool_rounds(jobs), console)
    terminal.say(console, *terminal.failures(jobs))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_latest_row_of_a_job_counts(tmp_path: Path) -> None:
    rows = synthetic.sweep(batch_size=[1], output_tokens=[11])
    again = {**rows[0], "started_at": rows[0]["started_at"] + timedelta(hours=1), "latencies_s": [9.0]}
    settings = pool_rounds(read_jobs([synthetic.write(tmp_path, [again, *rows])]))
    assert settings["latency_s"].tolist() == [9.0]


def test_rounds_are_pooled_and_their_whole_spread_is_kept(tmp_path: Path) -> None:
    first = {**synthetic.sweep(batch_size=[2], output_tokens=[10])[0], "latencies_s": [1.0, 2.0]}
    second = {**first, "round": 1, "latencies_s": [4.0]}
    [setting] = pool_rounds(read_jobs([synthetic.write(tmp_path, [first, second])])).to_dict("records")
    assert (setting["latency_s"], setting["latency_s_min"], setting["latency_s_max"], setting["repeats"]) == (2.0, 1.0, 4.0, 3)
    assert setting["output_tok_s"] == 2 * 10 / 2.0
    assert (setting["output_tok_s_min"], setting["output_tok_s_max"]) == (5.0, 20.0)


@pytest.mark.parametrize(
    ("rounds", "kind", "ends"),
    [
        ([[1.0, 2.0]], "min to max", (1.0, 2.0)),
        ([[1.0, 2.0], [5.0, 6.0]], "min to max", (1.0, 6.0)),
        ([[5.0, 1.0, 2.0, 3.0, 4.0, 6.0, 9.0, 7.0, 8.0]], "95 % interval", (2.0, 8.0)),
        ([[1.0], [1.1], [0.9], [1.05], [0.95]], "95 % interval over rounds", (0.904, 1.101)),
    ],
)
def test_the_interval_is_over_rounds_where_there_are_enough_else_over_repeats_else_the_range(
    tmp_path: Path, rounds: list[list[float]], kind: str, ends: tuple[float, float]
) -> None:
    first = synthetic.sweep(batch_size=[1], output_tokens=[11])[0]
    rows = [{**first, "round": number, "latencies_s": latencies_s} for number, latencies_s in enumerate(rounds)]
    settings = pool_rounds(read_jobs([synthetic.write(tmp_path, rows)]))
    assert interval_in_words(settings) == kind
    assert settings[["latency_s_low", "latency_s_high"]].iloc[0].tolist() == pytest.approx(ends, abs=1e-3)


def test_a_failed_round_does_not_hide_a_good_one(tmp_path: Path) -> None:
    good = synthetic.sweep(batch_size=[1], output_tokens=[11])[0]
    bad = {**good, "round": 1, "status": "crashed", "latencies_s": None, "started_at": good["started_at"] + timedelta(hours=1)}
    settings = pool_rounds(read_jobs([synthetic.write(tmp_path, [good, bad])]))
    assert settings["status"].tolist() == ["ok"]


def test_a_changed_environment_is_another_setting_told_by_its_version(tmp_path: Path) -> None:
    before = synthetic.sweep()
    later = timedelta(hours=1)
    after = [{**row, "environment_id": "there", "torch": "2.14.0", "started_at": row["started_at"] + later} for row in before]
    settings = pool_rounds(read_jobs([synthetic.write(tmp_path, [*before, *after])]))
    assert len(settings) == 2 * len(before)
    assert telling_apart(settings) == ["torch"]


@pytest.mark.parametrize("names", [("base", "new"), ("same", "same")])
def test_two_sweeps_of_one_grid_are_never_pooled_and_each_line_says_which_it_is(tmp_path: Path, names: tuple[str, str]) -> None:
    """By their names, or where these are the same by their folders."""
    rounds = [[{**row, "round": number} for number in range(5)] for row in synthetic.sweep(name=names[0], batch_size=[1, 2])]
    base = synthetic.write(tmp_path / "base", [row for each in rounds for row in each])
    new = synthetic.write(tmp_path / "new", synthetic.sweep(name=names[1], batch_size=[1, 2]))
    settings = pool_rounds(read_jobs([base, new]))
    assert telling_apart(settings) == ["sweep"]
    assert settings.groupby("sweep")["rounds"].unique().map(list).to_dict() == {"base": [5], "new": [1]}
    assert set(line_names(settings, ["sweep"])) == {"sweep base", "sweep new"}


def test_a_crash_when_a_round_is_run_again_hides_no_earlier_result(tmp_path: Path) -> None:
    good = synthetic.sweep(batch_size=[1], output_tokens=[11])[0]
    crash = {"status": "crashed", "latencies_s": None, "latency_s": None, "started_at": good["started_at"] + timedelta(hours=1)}
    jobs = read_jobs([synthetic.write(tmp_path, [good, {**good, **crash}])])
    assert jobs["status"].tolist() == ["ok"]


def test_a_quantity_with_one_value_a_round_is_the_median_of_its_rounds_and_says_so(tmp_path: Path) -> None:
    first = synthetic.sweep(batch_size=[1], output_tokens=[11])[0]
    rows = [{**first, "round": number, "itl_p99_s": value} for number, value in enumerate([0.3, 0.1, 0.2])]
    settings = pool_rounds(read_jobs([synthetic.write(tmp_path, rows)]))
    assert settings["itl_p99_s"].tolist() == [0.2]
    assert [pooled_in_words(settings, column) for column in ("latency_s", "itl_p99_s", "threads")] == [
        *("median of 15 repeats", "median of 3 rounds", "latest value")
    ]


def test_settings_without_a_column_of_their_own_still_tell_series_apart(tmp_path: Path) -> None:
    def with_cache(kind: str) -> list[dict[str, object]]:
        config = f'{{"framework":{{"name":"pace","kv_cache":"{kind}"}}}}'
        return [{**row, "config": config, "point_id": row["point_id"] + kind} for row in synthetic.sweep(framework=["pace"])]

    settings = pool_rounds(read_jobs([synthetic.write(tmp_path, [*with_cache("BMC"), *with_cache("PAGED")])]))
    assert telling_apart(settings) == ["framework.kv_cache"]


def test_an_out_of_memory_point_belongs_to_the_curve_of_the_points_that_loaded(tmp_path: Path) -> None:
    # The row of a point that never loaded only knows the host, not the GPU that the engine would have named.
    rows = synthetic.sweep(most_tokens=500)
    rows = [row if row["status"] == "ok" else {**row, "hardware": "AMD EPYC (2 CPUs)", "threads": None} for row in rows]
    settings = pool_rounds(read_jobs([synthetic.write(tmp_path, rows)]))
    assert "oom" in set(settings["status"])
    assert set(settings["hardware"]) == {"1xA100-80GB"}


def test_what_all_settings_share_is_said_once(tmp_path: Path) -> None:
    settings = pool_rounds(read_jobs([synthetic.write(tmp_path, synthetic.sweep(framework=["hf", "pace"]))]))
    assert facts(settings) == ["LLaMA-7B", "1xA100-80GB", "bf16", "128 prompt tokens"]
    assert telling_apart(settings) == ["framework"]


def test_a_folder_without_rows_is_named(tmp_path: Path) -> None:
    with pytest.raises(NoRows, match="no rows in"):
        read_jobs([tmp_path / "nowhere"])


def test_a_folder_of_sweeps_is_answered_with_their_names(tmp_path: Path) -> None:
    mine = synthetic.write(tmp_path / "mine", synthetic.sweep(batch_size=[1]))
    with pytest.raises(NoRows, match=f"Name a sweep in it: {mine}"):
        read_jobs([tmp_path])


def test_the_table_fits_eighty_columns_and_says_how_many_lines_it_leaves_out(tmp_path: Path) -> None:
    many = synthetic.sweep(framework=["hf", "deepspeed_tp", "pace"], batch_size=[1, 2, 4, 8, 16, 32], most_tokens=5_000)
    text = printed(synthetic.write(tmp_path, many))
    assert max(map(len, text.splitlines()[:42])) <= 80
    assert "... and 11 more settings" in text
    assert "3 oom: hf in 128 out 101 batch 32, " in text


def test_each_reason_for_a_missing_result_is_told_once_with_its_first_points(tmp_path: Path) -> None:
    rows = synthetic.sweep(most_tokens=900)
    rows[0] |= {"status": "crashed", "error": "killed by signal 9\n  traceback"}
    rows += [row | {"round": 1} for row in rows if row["status"] == "oom"]
    text = printed(synthetic.write(tmp_path, rows))
    assert "1 crashed: in 128 out 1 batch 1 (killed by signal 9)" in text
    assert "8 oom: in 128 out 1 batch 8, in 128 out 11 batch 8, in 128 out 101 batch 4, ... (CUDA out of memory)" in text


def test_a_noisy_result_is_shown_with_its_warning(tmp_path: Path) -> None:
    rows = synthetic.sweep(batch_size=[1, 2], output_tokens=[11])
    rows[0] |= {"noisy": True, "noise": ["other load 35 %"]}
    text = printed(synthetic.write(tmp_path, rows))
    assert " ~ " in text
    assert "~ 1 of 2 settings are noisy, for reasons like:\n  other load 35 %" in text


def test_markdown_escapes_what_could_be_taken_for_markup(tmp_path: Path) -> None:
    jobs = read_jobs([synthetic.write(tmp_path, synthetic.sweep(model=["<img src=x>|*a*", "b"]))])
    text = terminal.markdown(jobs, pool_rounds(jobs))
    assert r"&lt;img src=x>\|\*a\*" in text
    assert text.count("\n|") == 2 + 24
