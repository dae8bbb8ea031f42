"""A folder of results that somebody else may have made: nothing in it leads out of it."""

from __future__ import annotations

import os
import stat
from collections.abc import Container, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench.errors import InvalidSetting

_OURS = ("rows", "logs", "charts", "report.html", ".lock", ".slurm.json")  # in an output folder


def refuse_links(folder: Path, names: Sequence[str] = _OURS) -> None:
    """Raise InvalidSetting where one of these, or what is inside of it, is a link, a pipe or a device.

    A link to a file beside it leads nowhere else: submitit leaves such. Files of rows are left out: each is looked at as it is read.
    """
    for path in _leading_elsewhere(folder, names):
        problem = "is a link, a pipe or a device, which leads elsewhere; remove it, or name another folder"
        raise InvalidSetting("output_dir", path, problem)


@contextmanager
def drawing_into(out: Path) -> Iterator[None]:
    """Charts and a page. Raises InvalidSetting where they cannot be written, or where their places lead elsewhere."""
    try:
        refuse_links(out, ["charts", "report.html"])
        yield
    except OSError as error:
        raise InvalidSetting("--out", out, f"cannot be written ({error.strerror}); name a folder that you may write to") from error


def _leading_elsewhere(folder: Path | str, names: Container[str] | None = None) -> Iterator[str]:
    """What leads elsewhere in this folder and those below: of these names, or of all. A listing tells files from links by itself."""
    try:
        with os.scandir(folder) as listing:
            entries = [entry for entry in listing if names is None or entry.name in names]
    except (OSError, ValueError):  # what cannot be listed is not read either; ValueError: a name that no file can have
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from _leading_elsewhere(entry.path) if entry.name != "rows" else ()
        elif not (entry.is_file(follow_symlinks=False) or _leads_beside(entry.path)):
            yield entry.path


def _leads_beside(path: str) -> bool:
    """Whether this is a link to a file in its own folder, or is gone."""
    folder = os.path.dirname(path)
    try:
        target = os.path.join(folder, os.readlink(path))
    except OSError:  # no link
        return not os.path.lexists(path)  # another process of the sweep may have taken it away
    try:
        return os.path.samefile(folder, os.path.dirname(target)) and stat.S_ISREG(os.lstat(target).st_mode)
    except OSError:  # it leads nowhere
        return False
