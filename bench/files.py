"""A folder of results that somebody else may have made: nothing in it leads out of it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.errors import InvalidSetting

_OURS = ("rows", "logs", "charts", "report.html", ".lock", ".slurm.json")  # in an output folder


def refuse_links(folder: Path, names: Sequence[str] = _OURS) -> None:
    """Raise InvalidSetting where one of these, or what is inside of it, is a link, a pipe or a device.

    A link to a file beside it leads nowhere else: submitit leaves such. Files of rows are left out: each is looked at as it is read.
    """
    for path in (found for name in names for found in _below(folder / name)):
        if _leads_elsewhere(path):
            problem = "is a link, a pipe or a device, which leads elsewhere; remove it, or name another folder"
            raise InvalidSetting("output_dir", path, problem)


def _leads_elsewhere(path: Path) -> bool:
    try:
        mode = path.lstat().st_mode
        if stat.S_ISLNK(mode):
            return not (path.is_file() and path.resolve().parent == path.parent.resolve())
    except FileNotFoundError:  # another process of the sweep has taken it away
        return False
    except (OSError, RuntimeError):  # links in a circle
        return True
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def _below(path: Path) -> Iterator[Path]:
    if os.path.lexists(path):
        yield path
    if os.path.isdir(path) and not os.path.islink(path) and path.name != "rows":  # False for a name that no file can have
        for each in path.iterdir():
            yield from _below(each)
