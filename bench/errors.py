"""What can go wrong, as types: every message tells what happened, with which value, and what to do next.

BenchError
├── InvalidSetting       a key, its value, and the remedy; raised before anything is loaded
├── UnknownSetting       a key that nobody reads, with the nearest one
├── UnknownName          a model, framework, ... that does not exist, with the nearest names
├── SeriesError          1,2,4,...,63 never lands
├── NoRows               an output folder without results
├── RowNotWritten        a full or broken disk; the sweep stops, and goes on where it was
├── NothingMeasured      rows, but none that holds a measurement
├── Unsupported          a framework can never run this point; becomes a row, never stops a sweep
│   └── Unavailable      it could, once something is there: a login, a folder, a GPU; its row is run again
│       ├── MissingExtra  an optional package is not installed, with the pip command
│       └── MissingEngine an engine is not installed, with the command that builds its environment
├── PointsFailed         the sweep went on to its end, but some points have no result
└── NothingSupported     the frameworks can run none of the points
"""

from __future__ import annotations

import difflib
import os
import signal
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class BenchError(Exception):
    """Base of everything a user can mend. Commands print its message and exit with 1, without a traceback."""


@contextmanager
def one_message(command: str, code: int = 1, interrupted: str = "interrupted") -> Iterator[None]:
    """Around a whole command: what a user can mend, or Ctrl-C, ends it with one line and this exit code, or 130.

    Where whoever read the output has closed it, as `| head` does, it ends without a word, as a program that this kills.
    """
    try:
        try:
            yield
        finally:
            if sys.stdout:  # None where it is closed
                sys.stdout.flush()
    except KeyboardInterrupt:
        print(f"{command}: {interrupted}", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python writes what it still has at its end
        sys.exit(128 + signal.SIGPIPE)
    except BenchError as error:
        print(f"{command}: {error}", file=sys.stderr)
        sys.exit(code)


class InvalidSetting(BenchError):
    def __init__(self, key: str, value: object, problem: str) -> None:
        super().__init__(f"{key}={value}: {problem}")


def require(holds: bool, key: str, value: object, problem: str) -> None:
    """Raise InvalidSetting unless this holds."""
    if not holds:
        raise InvalidSetting(key, value, problem)


class UnknownName(BenchError):
    def __init__(self, kind: str, name: str, known: Iterable[str], remedy: str) -> None:
        options = sorted(known)
        super().__init__(f"no {kind} named {name!r}; {_guess(name, options)}choose one of {', '.join(options)}, {remedy}")


class UnknownSetting(BenchError):
    """`elsewhere`: settings of that name in other groups."""

    def __init__(self, key: str, known: Iterable[str], elsewhere: Iterable[str] = ()) -> None:
        group, _, name = key.rpartition(".")
        options = sorted(known)
        guess = f"did you mean {' or '.join(elsewhere)}? " if elsewhere else _guess(name, options)
        where = f"{group} has" if group else "there are"
        super().__init__(f"no setting named {key!r}; {guess}{where} {', '.join(options)}")


def _guess(name: str, options: list[str]) -> str:
    alike = [option for option in options if option[:1] == name[:1]]  # gpu is no misspelt cpu
    near = difflib.get_close_matches(name, alike, n=1)
    return f"did you mean {near[0]!r}? " if near else ""


class SeriesError(BenchError):
    """A '...' that cannot be expanded into one series of numbers."""


class NoRows(BenchError):
    """`sweeps`: folders in it that have rows."""

    def __init__(self, folder: object, skipped: Iterable[str] = (), sweeps: Iterable[object] = ()) -> None:
        passed_over = "".join(f"\n  skipped {file}" for file in skipped)
        found = [str(sweep) for sweep in sweeps]
        named = ", ".join([*found[:9], "..."] if len(found) > 10 else found)
        remedy = (
            f"Name a sweep in it: {named}"
            if named
            else "Run a sweep first (python -m bench.run ...), or name the folder it printed at its end"
        )
        super().__init__(f"no rows in {folder}; expected {folder}/rows/*.parquet. {remedy}{passed_over}")


class RowNotWritten(BenchError):
    def __init__(self, folder: object, reason: str) -> None:
        super().__init__(
            f"a row could not be written to {folder}: {reason}; rows already there are safe. Make room, then run the same command again"
        )


class NothingMeasured(BenchError):
    def __init__(self, folder: object) -> None:
        super().__init__(
            f"nothing to draw: no point in {folder} was measured, for the reasons above. "
            "Mend them and run the sweep again; the points without a result are run first"
        )


class Unsupported(BenchError):
    """This framework can never run this point. The message is the reason, and the point becomes a row."""


class Unavailable(Unsupported):
    """What this point needs is not there, and can be had: a login, a folder, a GPU. The same command then runs it again."""


class MissingExtra(Unavailable):
    def __init__(self, setting: str, package: str, extra: str) -> None:
        super().__init__(f"{setting} needs {package}, which is not installed; pip install 'llm-bench-sweep[{extra}]'")


class MissingEngine(Unavailable):
    def __init__(self, name: str, modules: str) -> None:
        super().__init__(
            f"framework={name} needs {modules}, which is not installed; `make engines ENGINES={name}` in a checkout builds an environment "
            "that is then found by itself, or set framework.python to the interpreter of one that has it"
        )


class PointsFailed(BenchError):
    def __init__(self, failed: int, total: int, folder: object) -> None:
        super().__init__(
            f"{failed} of {total} points have no result; the table above names the errors, the logs are in "
            f"{folder}/logs. The same command runs just these again"
        )


class NothingSupported(BenchError):
    def __init__(self, folder: object) -> None:
        super().__init__(
            f"no point can be run by its framework; the reasons stand above, and python -m bench.report {folder} tells them again. "
            "Choose another framework, model or setting"
        )
