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
    terms, last = [Fraction(str(value)) for value in head], Fraction(str(end))  # by its decimals, so that 0.1,0.2,...,0.5 holds 0.3
    walks = {kind: _walk(terms[-1], step, last) for kind, step in _steps(terms).items()}
    if not walks:
        raise SeriesError(f"{source}: the terms before '...' are neither an arithmetic nor a geometric series; list every value instead")
    found = {kind: walk[1:-1] for kind, walk in walks.items() if walk[-2] == last}
    if not found:
        near = ", ".join(f"{_spell(walk[-2:], ', ')} ({kind})" for kind, walk in walks.items())
        raise SeriesError(f"{source}: the series never lands on {end}; it passes {near}. End it on one of these, or list every value")
    if len({tuple(tail) for tail in found.values()}) > 1:
        ways = " or ".join(f"{_spell([*head, *_shortest(tail)])} ({kind})" for kind, tail in found.items())
        raise SeriesError(f"{source} can be read in two ways; write {ways}")
    number = int if all(isinstance(value, int) for value in (*head, end)) else float
    return [number(term) for term in next(iter(found.values()))]


def _steps(terms: list[Fraction]) -> dict[str, Step]:
    """How the series may go on: from each term to the next."""
    steps: dict[str, Step] = {}
    differences = {later - earlier for earlier, later in pairwise(terms)}
    ratios = {later / earlier for earlier, later in pairwise(terms) if earlier} - {0}
    if len(differences) == 1 and (difference := differences.pop()):
        steps["arithmetic"] = lambda term: term + difference
    if len(ratios) == 1 and 0 not in terms and (ratio := ratios.pop()) > 0 and ratio != 1:
        steps["geometric"] = lambda term: term * ratio
    return steps


def _walk(term: Fraction, step: Step, end: Fraction) -> list[Fraction]:
    """The term and those that follow, as far as each comes nearer to `end` without passing it, and the first that does not."""
    walk = [term, step(term)]
    while (end - walk[-2]) * (end - walk[-1]) >= 0 and abs(end - walk[-1]) < abs(end - walk[-2]):
        if len(walk) > MAX_TERMS:
            raise SeriesError(f"'...' up to {_spell([end])} stands for more than {MAX_TERMS:,} terms; take larger steps")
        walk.append(step(walk[-1]))
    return walk


def _shortest(tail: list[Fraction]) -> list[Any]:
    """A tail so spelled that it can only be read in one way."""
    return [tail[0], ELLIPSIS, tail[-1]] if len(tail) > 1 else tail


def _spell(items: Sequence[Any], between: str = ",") -> str:
    return between.join(str(float(item) if isinstance(item, Fraction) and item.denominator > 1 else item) for item in items)
