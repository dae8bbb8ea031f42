"""Expand a literal '...' between numbers: 1,2,4,...,64 becomes 1,2,4,8,16,32,64."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import pairwise
from typing import Any

from bench.errors import SeriesError

ELLIPSIS = "..."
MAX_TERMS = 10_000

Step = Callable[[Fraction], Fraction]


def expand(items: Sequence[Any]) -> list[Any]:
    """The items with every '...' replaced by the terms it stands for.

    The terms before '...' (back to the end of an earlier series) must fit one arithmetic or geometric
    series, and the item after it must be one of its terms. A list without '...' comes back as it is.
    """
    out: list[Any] = []
    head_start = 0
    pending = list(items)
    while pending:
        item = pending.pop(0)
        if item != ELLIPSIS:
            out.append(item)
            continue
        if not pending or pending[0] == ELLIPSIS:
            raise SeriesError(f"{_spell(items)}: give the last term after '...', as in 1,2,4,...,64")
        out += _continue(out[head_start:], pending.pop(0), _spell(items))
        head_start = len(out) - 1
    return out


def _continue(head: list[Any], end: Any, source: str) -> list[Any]:
    """The terms after `head`, up to and including `end`."""
    for value in (*head, end):
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise SeriesError(f"{source}: '...' stands between numbers, but {value!r} is none; list every value instead")
    if len(head) < 2:
        raise SeriesError(f"{source}: one term before '...' could go on in many ways; give at least two, as in 1,3,5,...,9 or 1,2,4,...,64")
    terms, last = [_exact(value) for value in head], _exact(end)
    steps = {kind: step for kind, step in (("arithmetic", _adder(terms)), ("geometric", _multiplier(terms))) if step}
    if not steps:
        raise SeriesError(f"{source}: the terms before '...' are neither an arithmetic nor a geometric series; list every value instead")
    found = {kind: tail for kind, step in steps.items() if (tail := _walk(terms, step, last)) is not None}
    if not found:
        near = ", ".join(f"{_near(terms, step, last)} ({kind})" for kind, step in steps.items())
        raise SeriesError(f"{source}: the series never lands on {end}; it passes {near}. End it on one of these, or list every value")
    if len({tuple(tail) for tail in found.values()}) > 1:
        ways = " or ".join(f"{_spell([*head, *_shortest(tail)])} ({kind})" for kind, tail in found.items())
        raise SeriesError(f"{source} can be read in two ways; write {ways}")
    whole = all(isinstance(value, int) for value in (*head, end))
    tail = next(iter(found.values()))
    return [int(term) if whole else float(term) for term in tail]


def _shortest(tail: list[Fraction]) -> list[Any]:
    """A tail so spelled that it can only be read in one way."""
    first, last = _plain(tail[0]), _plain(tail[-1])
    return [first, ELLIPSIS, last] if len(tail) > 1 else [first]


def _adder(terms: list[Fraction]) -> Step | None:
    steps = {later - earlier for earlier, later in pairwise(terms)}
    step = steps.pop()
    return None if steps or step == 0 else lambda term: term + step


def _multiplier(terms: list[Fraction]) -> Step | None:
    if 0 in terms:
        return None
    ratios = {later / earlier for earlier, later in pairwise(terms)}
    ratio = ratios.pop()
    return None if ratios or ratio in (1, -1) or ratio < 0 else lambda term: term * ratio


def _walk(terms: list[Fraction], step: Step, end: Fraction) -> list[Fraction] | None:
    """The terms that follow, up to `end`; None where the series passes or never reaches it."""
    tail = [terms[-1]]
    while tail[-1] != end:
        following = step(tail[-1])
        if not _approaches(tail[-1], following, end):
            return None
        tail.append(following)
        if len(tail) > MAX_TERMS:
            raise SeriesError(f"'...' up to {_plain(end)} stands for more than {MAX_TERMS:,} terms; take larger steps")
    return tail[1:]


def _approaches(current: Fraction, following: Fraction, end: Fraction) -> bool:
    return (end - current) * (end - following) >= 0 and abs(end - following) < abs(end - current)


def _near(terms: list[Fraction], step: Step, end: Fraction) -> str:
    """The terms on both sides of `end`, or the first two where the series runs away from it."""
    current = terms[-1]
    for _ in range(MAX_TERMS):
        following = step(current)
        if not _approaches(current, following, end):
            return f"{_plain(current)}, {_plain(following)}"
        current = following
    return f"{_plain(current)}, ..."


def _exact(value: int | float) -> Fraction:
    return Fraction(str(value))  # by the decimal spelling, so that 0.1,0.2,...,0.5 holds 0.3


def _plain(value: Fraction) -> int | float:
    return int(value) if value.denominator == 1 else float(value)


def _spell(items: Sequence[Any]) -> str:
    return ",".join(str(item) for item in items)
