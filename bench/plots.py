"""Charts inside a notebook: `from bench import plots`."""

from __future__ import annotations

import pandas as pd

from bench.analysis import charts
from bench.analysis.charts import Picture

chart = charts.own_picture


def standard(settings: pd.DataFrame) -> list[Picture]:
    """The charts that bench-report draws, the ones that most people want first."""
    return charts.standard_pictures(settings)[: charts.MOST_PICTURES]
