"""Two hosts beside each other: what differs in hardware and versions, and what each was measured to allow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rich.table import Table
from rich.text import Text

from bench.analysis.compare.pairs import Part
from bench.cells import json_object

# Columns of the rows, as people call them.
_FACTS = {
    **{"host": "host", "cpu": "CPU", "gpu": "GPU", "driver": "driver", "threads": "threads", "python": "Python"},
    **{"torch": "torch", "transformers": "transformers", "framework_version": "engine"},
}
_COUNTS = {"cpus": "CPUs"}
Pairs = Mapping[str, tuple[str, str]]


@dataclass(frozen=True)
class Hosts:
    facts: Pairs  # that differ: {"CPU": ("AMD EPYC", "Intel Xeon")}
    ceilings: Mapping[str, tuple[float | None, float | None]]  # the best that was measured, in bytes/s and FLOP/s
    columns: tuple[str, ...] = (*_FACTS, *_COUNTS)  # what is told here, and need not be told again


def of(base: Part, new: Part) -> Hosts:
    facts = {name: (_facts(base, column), _facts(new, column)) for column, name in {**_FACTS, **_COUNTS}.items()}
    ceilings = [_ceilings(part) for part in (base, new)]
    both = {name: (ceilings[0].get(name), ceilings[1].get(name)) for name in dict.fromkeys((*ceilings[0], *ceilings[1]))}
    return Hosts({name: values for name, values in facts.items() if values[0] != values[1]}, both)


def table(hosts: Hosts, base: str, new: str) -> Table | None:
    """For a terminal; None where both sides were measured on one host with the same versions."""
    if not hosts.facts:
        return None
    drawn = Table(title="hosts", title_justify="left", title_style="bold", box=None, padding=(0, 2, 0, 0))
    for head in ("", base, new, "new / base"):
        drawn.add_column(Text(head))
    for name, values in hosts.facts.items():
        drawn.add_row(name, *map(Text, values))
    for name, (one, other) in hosts.ceilings.items():
        unit = "GB/s" if name == "memory" else "GFLOP/s"
        told = [f"{rate / 1e9:,.1f} {unit}" if rate else "not measured" for rate in (one, other)]
        drawn.add_row(f"{name}, ceiling", *told, f"{other / one:.2f}" if one and other else "")
    return drawn


def as_json(hosts: Hosts) -> dict[str, object]:
    return {
        "differences": {name: {"base": base, "new": new} for name, (base, new) in hosts.facts.items()},
        "ceilings": {name: {"base": base, "new": new} for name, (base, new) in hosts.ceilings.items()},
    }


def _facts(part: Part, column: str) -> str:
    """What the jobs of this part tell, mostly one thing."""
    told = {str(_from_environment(one.jobs["environment"].iloc[-1], column) or one.around.get(column) or "-") for one in part}
    return ", ".join(sorted(told))[:60]


def _from_environment(environment: object, column: str) -> object:
    return json_object(environment).get(column) if column in _COUNTS else None


def _ceilings(part: Part) -> dict[str, float]:
    """The best of all jobs: a busy moment only makes a ceiling look lower."""
    found: dict[str, float] = {}
    for one in part:
        for column, name in (("ceiling_bytes_per_s", "memory"), ("ceiling_flops_per_s", str(one.jobs["dtype"].iloc[-1]))):
            rates = one.jobs[column].dropna()
            if len(rates):
                found[name] = max(found.get(name, 0.0), float(rates.max()))
    return found
