"""What all fuzz tests share: how many examples, how long one may take, and what it means that a command ends well."""

from __future__ import annotations

import io
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any

from hypothesis import HealthCheck, settings

from bench.errors import BenchError

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "40"))
fuzz = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    derandomize="FUZZ_EXAMPLES" not in os.environ,
    suppress_health_check=list(HealthCheck),
    print_blob=False,
)

_LONGEST_S = 300  # that an example may take, also on a busy machine: one that hangs must end, and say where


def message_of(error: BenchError) -> str:
    told = str(error)
    assert told.strip()
    assert "Traceback" not in told
    assert len(told) < 12_000
    return told


@contextmanager
def in_time() -> Iterator[None]:
    def too_long(*_: Any) -> None:
        raise AssertionError(f"an example took longer than {_LONGEST_S} s")

    signal.signal(signal.SIGALRM, too_long)
    signal.alarm(_LONGEST_S)
    try:
        yield
    finally:
        signal.alarm(0)


def ends_well(main: Callable[[Sequence[str]], None], *arguments: object) -> tuple[int, str]:
    """Run a command in this process; its exit code and what it printed. What it refuses, it refuses with one message of ours."""
    out, err = io.StringIO(), io.StringIO()
    code: Any = 0
    with redirect_stdout(out), redirect_stderr(err), in_time():
        try:
            main([str(argument) for argument in arguments])
        except SystemExit as left:
            code = left.code or 0
    said = err.getvalue()
    if isinstance(code, str):  # sys.exit prints it, and leaves with 1
        code, said = 1, said + code
    assert code in (0, 1, 2, 130)
    assert "Traceback" not in said + out.getvalue()
    out.getvalue().encode()  # what a terminal takes
    if code and not out.getvalue():
        assert said.strip()
        assert len(said) < 12_000
    return code, out.getvalue()
