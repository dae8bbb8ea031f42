"""What was typed behind bench-run, as Hydra wants to have it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence

from hydra._internal.utils import get_args_parser

from bench.errors import InvalidSetting

_RUN = ("-m", "--multirun", "-r", "--run")  # all the same here: one point is a small sweep
_NO_RUN = ("-c", "--cfg", "-i", "--info", "-sc", "--shell-completion", "--hydra-help")
_FROM = re.compile(r"^\+?from=")
_SWEEP = re.compile(r"^\+?sweeps=")
_DOTS = re.compile(r"(?<=\d), *(?:\.\.|\.{4,}|…) *,(?= *[\d-])")  # what people type for ...


def for_hydra(typed: Sequence[str]) -> list[str]:
    """The arguments with what a user need not think of. Raises InvalidSetting.

    That is -m, wherever it stands, the plus of a named sweep, and that such a file sets keys of the root, not of a group `sweeps`.
    """
    _refuse_unknown_options(typed)
    spelled = [_FROM.sub("+from=", _SWEEP.sub("+sweeps@_global_=", _DOTS.sub(",...,", argument))) for argument in typed]
    arguments = [argument for argument in spelled if argument not in _RUN]
    return arguments if any(argument.partition("=")[0] in _NO_RUN for argument in typed) else ["-m", *arguments]


def _refuse_unknown_options(typed: Sequence[str]) -> None:
    known = list(get_args_parser()._option_string_actions)
    for argument in typed:
        name = argument.partition("=")[0]
        if name.startswith("-") and name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            meant = f"did you mean {near[0]}? A" if near else "a"
            raise InvalidSetting("option", name, f"is none of bench-run; {meant} setting is written as key=value: batch_size=4. See --help")
