"""python -m bench.report outputs/NAME: the table and the charts of a sweep."""

from pathlib import Path

from rich.console import Console


def main() -> None: ...
def show(folder: Path, console: Console) -> None:
    print(folder)
