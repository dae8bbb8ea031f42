"""make perf: measure the figures, print them with the machine's description, and write docs/performance.md."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

from rich.console import Console
from rich.table import Column, Table

from bench.host import machine
from tests.perf.engine import fresh_process_per_point, restart_after_death, ten_thousand_points
from tests.perf.engines import adapters
from tests.perf.figures import PAGE, SURVIVAL, Figure, with_survival
from tests.perf.monitoring import agreement_with_a_bare_loop, cost_of_watching
from tests.perf.orchestration import cost_of_a_point, cost_of_token_times, help_page, start, sweep_efficiency
from tests.perf.rates import error_rates
from tests.perf.reporting import reports
from tests.perf.sampled import sampling

FIGURES: dict[str, Callable[[], list[Figure]]] = {
    "point": cost_of_a_point,
    "efficiency": sweep_efficiency,
    "tokens": cost_of_token_times,
    "watching": cost_of_watching,
    "agreement": agreement_with_a_bare_loop,
    "engines": adapters,
    "rates": error_rates,
    "help": help_page,
    "start": start,
    "thousands": ten_thousand_points,
    "restart": restart_after_death,
    "fresh": fresh_process_per_point,
    "reports": reports,
    "sampled": sampling,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="make perf", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[[], *FIGURES], help="which figures; default: all")
    parser.add_argument("--write", action="store_true", help=f"put the table into {PAGE.name}")
    arguments = parser.parse_args()
    console = Console()
    console.print(machine.describe().summary)
    found = [figure for name in arguments.names or FIGURES for figure in FIGURES[name]()]
    table = Table(Column("figure", ratio=1), Column("measured", max_width=16), Column("bound", max_width=12), "kept", expand=True)
    for figure in found:
        table.add_row(figure.what, figure.value, figure.bound, figure.verdict)
    console.print(table)
    if arguments.write:
        _, heading, survived = PAGE.read_text().partition(f"\n{SURVIVAL}")
        PAGE.write_text(with_survival(page(found), heading + survived))


def page(figures: list[Figure]) -> str:
    host = machine.describe()
    versions = " · ".join(f"{name} {version}" for name, version in host.packages.items())
    rows = "\n".join(f"| {figure.what} | {figure.value} | {figure.bound} | {figure.verdict} |" for figure in figures)
    return f"""# Performance of the program itself

Measured by `make perf` on {time.strftime("%Y-%m-%d")}: {host.summary} · Python {host.python} · {versions}.
Medians of interleaved runs on a shared machine; a bound that is not kept says NO.

| figure | measured | bound | kept |
|---|---|---|---|
{rows}
"""


if __name__ == "__main__":
    main()
