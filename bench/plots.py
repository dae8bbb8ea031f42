"""Charts inside a notebook: `from bench import plots`."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from bench.analysis import charts
from bench.analysis.charts import Picture


def standard(settings: pd.DataFrame) -> list[Picture]:
    """The charts that bench-report draws, the ones that most people want first."""
    return charts.standard_pictures(settings)[: charts.MOST_PICTURES]


def chart(settings: pd.DataFrame, x: str, y: str, line: Sequence[str] = (), facet: Sequence[str] = (), where: str | None = None) -> Picture:
    """Any column against any other. Without `line`, whatever else varies gets a line. Raises BenchError where that cannot be drawn."""
    return charts.own_picture(settings, x, y, line, facet, where)
