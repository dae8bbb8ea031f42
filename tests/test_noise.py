"""What disturbs repeats is seen, named and waited out."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from bench.host import noise as noise_module
from bench.host.disturbance import Disturbance, HostReader
from bench.host.noise import noise, wait_until_quiet
from bench.results import Store
from tests.conftest import Command

QUIET = Disturbance(1.0, 0.0, 0.0, 0, 0.0, 0, None, None, None, None, (), None)
CPUS = len(os.sched_getaffinity(0))
STEADY = [1.0, 1.01, 0.99, 1.0, 1.02, 1.0]


def reasons(**changes: object) -> str:
    around = replace(QUIET, **changes)  # type: ignore[arg-type]
    return "; ".join(noise([around] * 6, STEADY))


def test_quiet_repeats_have_no_reasons() -> None:
    assert noise([QUIET] * 6, STEADY) == []
    assert noise([], []) == []


def test_each_kind_of_disturbance_is_named() -> None:
    assert "other processes took 50%" in reasons(other_cpu_s=0.5 * CPUS)
    assert "hypervisor took 10%" in reasons(stolen_s=0.1 * CPUS)
    assert "CPU limit held it back for 20%" in reasons(limited_s=0.2)
    assert "made to wait 100 times" in reasons(switches=100 * CPUS)
    assert "slowed down 6 times" in reasons(heat_events=1)
    assert reasons(gpu_throttles=("power brake", "power cap"), gpu_celsius=83.0) == "GPU throttled at 83 °C: power brake"


def test_a_falling_clock_and_a_drift_are_named() -> None:
    clocks = [replace(QUIET, clock_mhz=mhz) for mhz in (3000.0, 3000.0, 3000.0, 3000.0, 2500.0, 3000.0)]
    assert "CPU clock fell to 2500 MHz" in noise(clocks, STEADY)[0]
    assert "drift" in noise([QUIET] * 8, [1.0, 1.02, 1.05, 1.07, 1.11, 1.15, 1.2, 1.22])[0]


def test_a_tick_of_the_kernel_is_no_evidence() -> None:
    assert noise([replace(QUIET, seconds=0.01, other_cpu_s=0.01)], [0.01]) == []


def host(root: Path, busy: int, throttled: int, energy_uj: int) -> HostReader:
    """A host like a server's, as its kernel describes it in files."""
    cpu = min(os.sched_getaffinity(0))
    files = {
        "proc/stat": f"cpu 9 9 9 9\ncpu{cpu} {busy} 0 0 500 0 0 0 7 0 0\ncpu9999 100 0 0 0 0 0 0 0 0 0\nintr 5\n",
        f"sys/devices/system/cpu/cpu{cpu}/thermal_throttle/core_throttle_count": "3\n",
        f"sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_cur_freq": "2450000\n",
        "sys/class/hwmon/hwmon0/name": "k10temp\n",
        "sys/class/hwmon/hwmon0/temp1_input": "61500\n",
        "sys/class/hwmon/hwmon1/name": "nvme\n",
        "sys/class/hwmon/hwmon1/temp1_input": "99000\n",
        "sys/class/powercap/intel-rapl:0/energy_uj": f"{energy_uj}\n",
        "sys/fs/cgroup/cpu.stat": f"usage_usec 5\nthrottled_usec {throttled}\n",
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return HostReader(root=root)


def test_counters_are_read_where_the_kernel_keeps_them(tmp_path: Path) -> None:
    before = host(tmp_path, busy=1000, throttled=0, energy_uj=5_000_000).read()
    seen = host(tmp_path, busy=1200, throttled=500_000, energy_uj=8_000_000).since(before)
    assert seen.other_cpu_s == pytest.approx(2.0, abs=0.1)
    assert seen.limited_s == 0.5
    assert seen.stolen_s == seen.heat_events == 0
    assert (seen.clock_mhz, seen.celsius) == (2450, 61.5)
    assert seen.energy_j == 3.0


def test_an_energy_counter_that_started_again_gives_no_energy(tmp_path: Path) -> None:
    before = host(tmp_path, 0, 0, energy_uj=9_000_000).read()
    assert host(tmp_path, 0, 0, energy_uj=1_000_000).since(before).energy_j is None


def test_a_host_that_tells_nothing_is_no_error(tmp_path: Path) -> None:
    reader = HostReader(root=tmp_path)
    seen = reader.since(reader.read())
    assert seen.clock_mhz is seen.celsius is seen.energy_j is None


def _spin(seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


@contextmanager
def other_load() -> Iterator[None]:
    spinners = [multiprocessing.get_context("spawn").Process(target=_spin, args=(120,), daemon=True) for _ in range(CPUS)]
    for spinner in spinners:
        spinner.start()
    try:
        time.sleep(0.3)
        yield
    finally:
        for spinner in spinners:
            spinner.kill()
            spinner.join()


@pytest.mark.skipif(CPUS > 4, reason="would need a spinning process per CPU")
def test_real_load_of_other_processes_is_seen() -> None:
    with other_load():
        before = HostReader().read()
        time.sleep(0.6)
        seen = HostReader().since(before)
        assert "other processes took" in noise([seen], [0.6])[0]
        said: list[str] = []
        assert not wait_until_quiet(0.6, said.append)
        assert "other processes" in said[0]


def test_waiting_ends_when_the_host_is_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = iter([["busy"], ["busy"], []])
    monkeypatch.setattr(noise_module, "_cpu_reasons", lambda around: next(looks))
    monkeypatch.setattr(noise_module, "_LOOK_S", 0.001)
    said: list[str] = []
    assert wait_until_quiet(60, said.append)
    assert said == ["busy"]


def test_waiting_can_be_given_up() -> None:
    assert not wait_until_quiet(60, print, given_up=lambda: True)


def test_a_job_starts_after_a_bounded_wait(bench_run: Command, tmp_path: Path) -> None:
    ran = bench_run("framework=fake", "num_runs=1", "noise=wait", "noise_wait_s=0.1", "report=false")
    assert ran.returncode == 0, ran.stderr
    assert [row["status"] for row in Store(tmp_path / "outputs/sweep").rows()] == ["ok"]


@pytest.mark.skipif(CPUS > 4, reason="would need a spinning process per CPU")
def test_a_sweep_under_load_says_so_in_its_rows(bench_run: Command, tmp_path: Path) -> None:
    with other_load():
        ran = bench_run("framework=fake", "framework.step_s=0.03", "output_tokens=4", "num_runs=3", "report=false")
    assert ran.returncode == 0, ran.stderr
    rows = list(Store(tmp_path / "outputs/sweep").rows())
    assert ran.stdout.count("noisy") == 1
    assert all(row["noisy"] and "other processes" in row["noise"][0] for row in rows)
    assert rows[0]["disturbance"][0]["other_cpu_s"] > 0.01
