"""python -m bench.hardware: describe this host, and measure what its hardware allows."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from bench.errors import one_message

if TYPE_CHECKING:
    from rich.console import Console

    from bench.host.ceilings import HostCeilings
    from bench.host.machine import Machine

_ABOUT = """\
Describes this host and measures its ceilings: memory bandwidth with all
threads, and the rate of matrix products per dtype, on the CPU and on the first
GPU. Takes a few seconds, in which nothing else should run, and is kept in your
cache folder; sweeps take it from there, and each row holds it.
"""


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser("bench-hardware", description=_ABOUT, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    parser.add_argument("--fresh", action="store_true", help="measure again although there are kept ceilings")
    options = parser.parse_args(arguments)
    with one_message("bench-hardware"):
        show(options.fresh, options.json)


def show(fresh: bool, as_json: bool) -> None:
    from rich.console import Console

    from bench.host import ceilings, machine

    host = machine.describe()
    messages = Console(stderr=True)
    found = None if fresh else ceilings.cached(host)
    if found is None:
        with messages.status("measuring the ceilings, a few seconds"):
            found = ceilings.measure(host)
    if as_json:
        print(json.dumps({"host": asdict(host), "variables": machine.timing_environment(), "ceilings": asdict(found)}, indent=2))
    else:
        _print(Console(), host, found)


def _print(console: Console, host: Machine, found: HostCeilings) -> None:
    from rich.table import Table
    from rich.text import Text

    facts = {"host": host.host, "hardware": host.summary, "driver": host.driver, "kernel": host.kernel, "python": host.python}
    about = Table.grid(padding=(0, 2))
    for name, value in {**facts, **host.packages, **host.details}.items():
        if value:
            about.add_row(Text(name, "dim"), Text(value))
    console.print(about, "")
    dtypes = list(dict.fromkeys(dtype for device in found.devices for dtype in device.flops_per_s))
    table = Table(title=f"ceilings, measured {found.measured_at}", title_justify="left", box=None, padding=(0, 2, 0, 0))
    table.add_column("device")
    for name in ("read GB/s", "copy GB/s", *(f"{dtype} GFLOP/s" for dtype in dtypes)):
        table.add_column(name, justify="right")
    for device in found.devices:
        rates = (device.read_bytes_per_s, device.copy_bytes_per_s, *(device.flops_per_s.get(dtype) for dtype in dtypes))
        name = f"{device.device}, {device.threads} threads" if device.threads else device.device
        table.add_row(name, *(f"{rate / 1e9:,.1f}" if rate else "" for rate in rates))
    console.print(table)


if __name__ == "__main__":
    main()
