"""Ranks work as one: all are asked, any error is told once, and nobody waits for ever."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from bench.config import RunConfig
from bench.errors import Unsupported
from bench.frameworks import failure
from bench.frameworks.failure import JobLost, Witness, of_exception
from bench.frameworks.ranks import Ranks
from bench.host.devices import Slot
from bench.results import Status
from bench.worker.resident import ResidentWorker
from tests.conftest import PYTHONPATH, ROOT
from tests.engines import measured, point
from tests.faulty import Fault, Settings


class Toy:
    def __init__(self, rank: int) -> None:
        self.rank = rank

    def double(self, number: int) -> int:
        return self.rank * 100 + 2 * number

    def fail(self, *ranks: int) -> str:
        if self.rank in ranks:
            raise Unsupported(f"no luck on {self.rank}")
        return "fine"

    def fail_alone(self, rank: int) -> None:
        """As in a collective: the others wait for the one that is gone."""
        if self.rank == rank:
            raise MemoryError("gone")
        time.sleep(1e6)


def two_ranks(fault: Fault | None = None) -> RunConfig:
    return point(Settings(name="faulty", tp=2, rank_processes=True, fault=fault))


@pytest.fixture(autouse=True)
def known_to_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", PYTHONPATH)


@pytest.fixture(scope="module")
def three() -> Iterator[Ranks]:
    together = Ranks(Toy, 3)
    yield together
    together.stop()


def test_every_rank_is_called_and_their_results_come_in_order(three: Ranks) -> None:
    assert three.call("double", 4) == [8, 108, 208]


def test_one_rank_is_only_this_process() -> None:
    alone = Ranks(Toy, 1)
    assert alone.call("double", 1) == [2]
    alone.stop()


@pytest.mark.parametrize(("failing", "told"), [((0,), "^no luck on 0"), ((0, 1, 2), "^no luck on 0"), ((2,), "^rank 2: no luck on 2")])
def test_whoever_refuses_is_heard_and_the_next_call_works(three: Ranks, failing: tuple[int, ...], told: str) -> None:
    with pytest.raises((Unsupported, JobLost), match=told):
        three.call("fail", *failing)
    assert three.call("double", 1) == [2, 102, 202]


def test_where_the_others_wait_for_the_first_rank_its_error_is_raised() -> None:
    two = Ranks(Toy, 2)
    with pytest.raises(MemoryError, match="gone"):
        two.call("fail_alone", 0)
    two.stop()


def test_where_the_others_wait_for_a_rank_that_failed_its_error_is_the_last_word() -> None:
    program = (
        "import sys\nfrom bench.frameworks import ranks\nfrom tests.test_ranks import Toy\n"
        "ranks.Ranks.last_words = lambda lost: print(lost.status, lost)\n"
        "if __name__ == '__main__': ranks.Ranks(Toy, 2).call('fail_alone', 1)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stdout.strip() == "oom rank 1: MemoryError: gone"


def test_the_point_gets_the_status_of_the_rank_that_failed_alone(tmp_path: Path) -> None:
    """With an engine whose second rank is killed, raises, aborts in C++ or runs out of memory while rank 0 waits for it."""
    faults = (
        (Fault.kill_rank, Status.crashed, "^rank 1 died of SIGKILL; its output is in "),
        (Fault.bad_alloc_rank, Status.oom, "^an allocation failed and ended rank 1; raise hardware.memory_limit_gb"),
        (Fault.oom_rank, Status.oom, r"^rank 1: MemoryError: does not fit \(pretend\)$"),
    )
    for fault, status, told in faults:
        with pytest.raises(JobLost, match=told) as lost:
            measured(two_ranks(fault=fault), tmp_path)
        assert lost.value.status is status


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[ResidentWorker]:
    worker = ResidentWorker(two_ranks(), tmp_path / "log", Slot())
    worker.load(two_ranks())
    yield worker
    worker.close()


def rank_of(worker: ResidentWorker) -> psutil.Process:
    return next(child for child in psutil.Process(worker.pid).children() if "multiprocessing.spawn" in " ".join(child.cmdline()))


def test_ranks_die_with_their_worker(worker: ResidentWorker) -> None:
    children = psutil.Process(worker.pid).children(recursive=True)
    assert rank_of(worker) in children
    os.kill(worker.pid, signal.SIGKILL)
    assert psutil.wait_procs(children, timeout=10)[1] == []


def test_a_rank_that_hangs_ends_the_point_after_its_time(worker: ResidentWorker) -> None:
    children = psutil.Process(worker.pid).children(recursive=True)
    rank_of(worker).suspend()
    with pytest.raises(JobLost, match="no answer within") as lost:
        worker.measure(replace(two_ranks(), timeout_s=2.0), lambda *_: None)
    assert lost.value.status is Status.timeout
    assert psutil.wait_procs(children, timeout=10)[1] == []


@pytest.mark.parametrize(
    "said",
    [
        "CUDA out of memory. Tried to allocate 2.00 GiB",
        "Exception from src/core/src/runtime/allocator.cpp:79:\nstd::bad_alloc",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
        "NCCL error: unhandled cuda error. Last error: Failed to CUDA calloc 10485760 bytes",
    ],
)
def test_libraries_of_cuda_run_out_of_memory_in_words_of_their_own(said: str) -> None:
    assert of_exception(RuntimeError(said)).status is Status.oom


def test_a_signal_without_a_name_is_told_by_its_number(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.touch()
    assert str(Witness(log).of_death("rank 1", -37)) == "rank 1 died of signal 37"


def test_where_the_kernel_does_not_tell_whom_it_killed_a_death_is_a_crash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failure, "_VMSTAT", tmp_path / "none")
    log = tmp_path / "log"
    log.touch()
    assert Witness(log).of_death("the worker", -9).status is Status.crashed
