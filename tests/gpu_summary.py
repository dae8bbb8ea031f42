"""python -m tests.gpu_summary TESTS.xml DIR...: what held on this GPU, and how far it is from the published curves."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pandas as pd

from bench.analysis import published
from bench.analysis.settings import pool_rounds, read_jobs
from bench.host.devices import devices

Check = tuple[bool, str]


def main(tests: Path, folders: Sequence[Path]) -> None:
    there = [folder for folder in folders if (folder / "rows").is_dir()]
    print(f"{devices().summary or 'no GPU'}, driver {devices().driver}")
    for folder in folders:
        if folder not in there:
            print(f"  FAILED  {folder}: no rows; its sweep did not start")
    passed, told = tested(tests)
    print(f"  {'held  ' if passed else 'FAILED'}  {told}")
    held = passed and len(there) == len(folders)
    for folder in there:
        jobs = read_jobs([folder])
        print(f"\n{folder}: {', '.join(f'{count} {status}' for status, count in jobs['status'].value_counts().items())}")
        for good, text in checks(jobs):
            held = held and good
            print(f"  {'held  ' if good else 'FAILED'}  {text}")
        for line in beside_published(pool_rounds(jobs)):
            print(f"  {line}")
    sys.exit(0 if held else 1)


def tested(results: Path) -> Check:
    """What pytest wrote of its run; a test that was skipped shows nothing, and where all were, nothing held."""
    if not results.is_file():
        return False, f"{results}: the tests did not run"
    cases = list(ElementTree.parse(results).iter("testcase"))
    failed = [case.get("name") for case in cases if case.find("failure") is not None or case.find("error") is not None]
    skipped = sum(case.find("skipped") is not None for case in cases)
    names = f": {', '.join(map(str, failed))}" if failed else ""
    return not failed and skipped < len(cases), f"{len(cases)} tests, {skipped} skipped, {len(failed)} failed{names}"


def checks(jobs: pd.DataFrame) -> Iterator[Check]:
    """What must be so on any GPU, told with the figures."""
    ok = jobs[jobs["status"] == "ok"]
    lost = jobs[~jobs["status"].isin(["ok", "oom", "pruned"])]
    names = sorted(set(ok["device"].dropna()))
    suspect, noisy = (ok[ok[column].map(_tells)] for column in ("suspect", "noise"))
    shares = ok[["prefill_mfu", "decode_mbu"]].dropna()
    low = ok[ok["peak_device_bytes"].fillna(0) < ok["predicted_bytes"]]
    told = int(ok["energy_j"].notna().sum())
    yield lost.empty, f"every point ran or did not fit: {len(lost)} did neither{_first(lost['error'])}"
    yield bool(names) and "cpu" not in names, f"all ran on a GPU: {', '.join(names) or 'none did'}"
    yield suspect.empty, f"nothing is faster than its hardware: {len(suspect)} of {len(ok)} rows are{_first(suspect['suspect'])}"
    yield len(shares) > 0, f"MFU up to {shares['prefill_mfu'].max():.0%}, MBU up to {shares['decode_mbu'].max():.0%}"
    yield low.empty, f"no point needed less memory than predicted: {len(low)} of {len(ok)} did"
    yield told > 0, f"energy is told: for {told} of {len(ok)} rows"
    yield len(noisy) <= len(ok) / 10, f"at most a tenth of the rows is noisy: {len(noisy)} of {len(ok)} are{_first(noisy['noise'])}"


def beside_published(settings: pd.DataFrame) -> Iterator[str]:
    """The ratio to the published latencies, by model and batch size; below 1 is faster."""
    for sweep, measured in published.repeated(settings):
        found = published.ratios(measured, sweep)
        for (model, batch), group in found.groupby(["model", "batch_size"]):
            on = ", ".join(group["hardware_published"].unique())
            yield f"{model} batch {batch}: {group['ratio'].median():.2f} x the published latency on {on} ({len(group)} points)"


def _tells(reasons: Any) -> bool:
    return isinstance(reasons, Sequence) and len(reasons) > 0


def _first(reasons: pd.Series) -> str:
    told = next(iter(reasons.dropna()), None)
    return "" if told is None else f"; the first: {told if isinstance(told, str) else told[0]}"


if __name__ == "__main__":
    main(Path(sys.argv[1]), [Path(folder) for folder in sys.argv[2:]])
