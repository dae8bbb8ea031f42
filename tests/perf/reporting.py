"""What a report costs at a thousand rows and at ten thousand, and how fast its page opens."""

from __future__ import annotations

import tempfile
from pathlib import Path
from statistics import median

from bench.results import Row
from tests import browser, synthetic
from tests.perf.figures import Figure, cost_of

_OPENED = "const [page] = performance.getEntriesByType('navigation'); return page.loadEventEnd"


def reports() -> list[Figure]:
    with tempfile.TemporaryDirectory() as folder:
        thousand, ten_thousand = Path(folder) / "1080", Path(folder) / "9720"
        synthetic.write(thousand, _rows([128]))
        synthetic.write(ten_thousand, _rows([16, 32, 64, 128, 256, 512, 1024, 2048, 4096]))
        first_s = median(cost_of(["-m", "bench.report", str(thousand)], Path(folder)).wall_s for _ in range(3))
        second = cost_of(["-m", "bench.report", str(ten_thousand)], Path(folder))
        page = thousand / "report.html"
        size_kb = page.stat().st_size / 1000
        return [
            Figure("report of 1,080 rows, wall", f"{first_s:.1f} s", "6 s", first_s <= 6),
            Figure("report of 9,720 compacted rows, wall", f"{second.wall_s:.1f} s", "15 s", second.wall_s <= 15),
            Figure("report.html of 1,080 rows", f"{size_kb:.0f} kB", "300 kB", size_kb <= 300),
            *_opening(page),
        ]


def _rows(input_tokens: list[int]) -> list[Row]:
    return synthetic.sweep(
        model=["MPT-7B", "LLaMA-7B", "Falcon-7B", "OPT-6.7B"],
        framework=["hf", "pace", "deepspeed_tp"],
        hardware=["1xA100-80GB", "1xH100-80GB", "AMD EPYC 9654 (192 CPUs)"],
        input_tokens=input_tokens,
        output_tokens=[1, 11, 101],
        batch_size=[1, 2, 4, 8, 16, 32, 64, 128, 256, 512],
        most_tokens=90_000,
    )


def _opening(page: Path) -> list[Figure]:
    if reason := browser.missing():
        return [Figure("report.html of 1,080 rows opens in Chromium", reason)]
    with browser.chromium() as session:
        times_s = []
        for _ in range(5):
            session.get(f"file://{page}")
            times_s.append(session.execute_script(_OPENED) / 1000)
    opened_s = median(times_s)
    return [Figure("report.html of 1,080 rows opens in Chromium", f"{opened_s:.2f} s", "0.5 s", opened_s <= 0.5)]
