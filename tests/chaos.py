"""make chaos: a sweep struck by a fault at two of three points, run again until nothing is left; then count what is there."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from bench.results import Row, Status, Store
from tests.conftest import PYTHONPATH
from tests.faulty import drawn
from tests.perf.figures import PAGE, SURVIVAL, with_survival

MARK = "BENCH_CHAOS"  # in the environment of every process that the sweep starts
MOST_LAUNCHES = 1000
SHARE = 2 / 3  # of the points is struck


@dataclass
class Chaos:
    """One chaotic sweep, and what was seen of it."""

    folder: Path
    points: int
    seed: int
    share: float = SHARE
    launches: int = 0
    exit_codes: Counter[int] = field(default_factory=Counter)
    complaints: list[str] = field(default_factory=list)
    _mark: str = field(default_factory=lambda: uuid.uuid4().hex)
    _rows: dict[tuple[str, ...], Row] = field(default_factory=dict)
    _segments: set[str] = field(default_factory=lambda: _segments())

    @property
    def store(self) -> Store:
        return Store(self.folder / "outputs" / "chaos")

    def run(self) -> None:
        marks = self.folder / "marks"
        marks.mkdir()
        while not self._launch(marks):
            self._compare_rows()
            if self.launches > MOST_LAUNCHES:
                self.complaints.append(f"not done after {MOST_LAUNCHES} launches")
                break
        self._compare_rows()
        self._check_final_rows()
        self._check_leftovers()

    def _launch(self, marks: Path) -> bool:
        """Run the sweep once; whether it said that nothing was left to do."""
        self.launches += 1
        settings = ["framework=faulty", "framework.fault=any", f"framework.fault_seed={self.seed}", f"framework.marks={marks}"]
        small = [
            "framework.tp=2",
            "framework.rank_processes=true",
            f"framework.fault_share={self.share}",
            "num_runs=1",
            "warmup_runs=0",
            "output_tokens=2",
            "timeout_s=3",
        ]
        settings += [f"framework.fault_share={self.share}"]
        plain = ["prune=false", "report=false", "name=chaos"]
        command = [sys.executable, "-m", "bench.run", "-m", *settings, *small, *plain, f"input_tokens=range(1,{self.points + 1})"]
        environment = {**os.environ, "PYTHONPATH": PYTHONPATH, MARK: self._mark}
        ran = subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True)
        self.exit_codes[ran.returncode] += 1
        if "Traceback" in ran.stderr:
            self.complaints.append(f"a traceback: {ran.stderr}")
        return "nothing left to do" in ran.stdout

    def _compare_rows(self) -> None:
        """Each row that was there must still be there, unchanged."""
        table, skipped = self.store.read()
        rows = {tuple(str(row[key]) for key in ("started_at", "point_id", "config_id", "round")): row for row in table.to_pylist()}
        self.complaints += [f"lost or changed: {key}" for key, row in self._rows.items() if rows.get(key) != row]
        self.complaints += [f"unreadable: {file}" for file in skipped]
        self._rows = rows

    def _check_final_rows(self) -> None:
        final = Counter(row["point_id"] for row in self._rows.values() if Status(row["status"]).is_result)
        twice = [point for point, count in final.items() if count > 1]
        if len(final) != self.points or twice:
            self.complaints.append(f"{len(final)} of {self.points} points have a final row, {len(twice)} more than one")

    def _check_leftovers(self) -> None:
        deadline = time.monotonic() + 2  # within two seconds of the launching process
        while (alive := _marked_processes(self._mark)) and time.monotonic() < deadline:
            time.sleep(0.1)
        self.complaints += [f"process left: {pid}" for pid in alive]
        self.complaints += [f"segment left: {name}" for name in _segments() - self._segments]
        self.complaints += [f"file left: {file}" for file in self.store.rows_folder.glob(".*")]

    def report(self) -> str:
        statuses = Counter(row["status"] for row in self._rows.values())
        told = "  ".join(f"{status} {count}" for status, count in statuses.most_common())
        codes = "  ".join(f"{code}: {count}" for code, count in sorted(self.exit_codes.items()))
        faults = Counter(filter(None, (drawn(self.seed, f"1-{i}-2", self.share) for i in range(1, self.points + 1))))
        struck = ", ".join(f"{fault} {count}" for fault, count in sorted(faults.items()))
        verdict = (
            "\n".join(self.complaints[:20]) or "each point has one final row; no row lost or changed; no process, segment or file left"
        )
        launched = f"{self.points} points, seed {self.seed}: {self.launches} launches (exit codes {codes})"
        return f"{launched}\n{faults.total()} faults: {struck}\n{len(self._rows)} rows: {told}\n{verdict}"


def _segments() -> set[str]:
    return set(os.listdir("/dev/shm"))


def _marked_processes(mark: str) -> list[int]:
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if f"{MARK}={mark}".encode() in (entry / "environ").read_bytes():
                found.append(int(entry.name))
        except OSError:  # gone, or not ours to see
            continue
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--points", type=int, default=1500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--write", action="store_true", help=f"put what was seen into {PAGE.name}")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        chaos = Chaos(Path(folder), arguments.points, arguments.seed)
        started = time.monotonic()
        chaos.run()
        seen = f"{chaos.report()}\n{time.monotonic() - started:.0f} s"
        print(seen)
    if arguments.write:
        PAGE.write_text(with_survival(PAGE.read_text(), f"\n{SURVIVAL}\n\n```text\n{seen}\n```\n"))
    sys.exit(bool(chaos.complaints))


if __name__ == "__main__":
    main()
