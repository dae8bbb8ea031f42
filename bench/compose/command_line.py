"""What was typed behind bench-run, as Hydra wants to have it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence

from bench.errors import InvalidSetting

_RUN = ("-m", "--multirun", "-r", "--run")  # all the same here: one point is a small sweep
_QUESTIONS = ("-c", "--cfg", "-i", "--info", "-sc", "--shell-completion", "--hydra-help")
_WITH_QUESTIONS = ("-p", "--package", "--resolve")
_FROM = re.compile(r"^\+?from=")
_SWEEP = re.compile(r"^\+?sweeps=")
_DOTS = re.compile(r"(?<=\d), *(?:\.\.|\.{4,}|…) *,(?= *[\d-])")  # what people type for ...


def for_hydra(typed: Sequence[str]) -> list[str]:
    """The arguments with what a user need not think of. Raises InvalidSetting.

    That is -m, wherever it stands, the plus of a named sweep, and that such a file sets keys of the root, not of a group `sweeps`.
    """
    _refuse_unknown_options(typed)
    spelled = [_FROM.sub("+from=", _SWEEP.sub("+sweeps@_global_=", _DOTS.sub(",...,", argument))) for argument in typed]
    return [argument for argument in spelled if argument not in _RUN]


def is_question(typed: Sequence[str]) -> bool:
    """Whether Hydra shall show the config, complete a word, ...: nothing is run then."""
    return any(argument.partition("=")[0] in _QUESTIONS for argument in typed)


def _refuse_unknown_options(typed: Sequence[str]) -> None:
    known = ["--help", "--version", *_RUN, *_QUESTIONS, *(_WITH_QUESTIONS if is_question(typed) else ())]
    for argument in typed:
        name = argument.partition("=")[0]
        if name.startswith("-") and name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            meant = f"did you mean {near[0]}? A" if near else "a"
            raise InvalidSetting("option", name, f"is none of bench-run; {meant} setting is written as key=value: batch_size=4. See --help")
