"""Charts inside a notebook: `from bench import plots`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from bench.analysis import charts, style
from bench.analysis.charts import Picture

MOST_DRAWINGS = 12  # of a large grid, which has hundreds


@dataclass(frozen=True)
class Drawing:
    """A chart that a notebook shows by itself."""

    picture: Picture

    def figure(self) -> Figure:
        """Matplotlib's figure, to go on from."""
        with style.house_style():
            return self.picture.figure()

    def save(self, folder: Path | str) -> list[Path]:
        """Write it as PNG and SVG."""
        return charts.save([self.picture], Path(folder))

    def _repr_png_(self) -> bytes:
        page = BytesIO()
        with style.house_style():
            self.picture.figure().savefig(page, format="png", dpi=110)
        return page.getvalue()


def standard(settings: pd.DataFrame) -> list[Drawing]:
    """The charts that bench-report draws, the ones that most people want first."""
    return [Drawing(sketch()) for sketch in charts.standard_sketches(settings)[:MOST_DRAWINGS]]


def chart(settings: pd.DataFrame, x: str, y: str, line: Sequence[str] = (), facet: Sequence[str] = (), where: str | None = None) -> Drawing:
    """Any column against any other. Without `line`, whatever else varies gets a line. Raises BenchError where that cannot be drawn."""
    return Drawing(charts.own_picture(settings, charts.Question(x, y, tuple(line), tuple(facet), where)))
