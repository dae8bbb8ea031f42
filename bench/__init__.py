"""Offline inference benchmarks for large language models: sweep a grid, store a row per job, draw the curves.

In Python: `from bench import sweep, load, plots`, as docs/notebook.ipynb shows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

__version__ = "0.1.0"


def load(*folders: Path | str) -> pd.DataFrame:
    """What was measured in these output folders, a line per setting with its rounds pooled. Raises NoRows."""
    from pathlib import Path

    from bench.analysis.settings import pool_rounds, read_jobs

    return pool_rounds(read_jobs([Path(folder) for folder in folders]))
