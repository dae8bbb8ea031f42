"""A heat map of throughput: batch size by prompt length, the best cell framed, what ran out of memory hatched."""

from __future__ import annotations

from functools import cache

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, ListedColormap, LogNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from bench.analysis import scales, style
from bench.analysis.columns import column_of
from bench.analysis.draw import Chart
from bench.analysis.settings import OUT_OF_MEMORY, pooled_in_words
from bench.results import Status


def draw(chart: Chart, frame: pd.DataFrame, references: pd.DataFrame | None = None) -> Figure:
    """A cell per x and `chart.line`, coloured and labelled by y."""
    import seaborn as sns  # late: it costs a quarter of a second, and few reports have a heat map

    [down] = chart.line
    show = column_of(chart.y).show
    ok = frame[frame["status"] == Status.ok]
    # Nullable columns would end as objects, which imshow refuses.
    values = ok.pivot_table(index=down, columns=chart.x, values=chart.y, aggfunc="median").astype(float)
    rows, columns = sorted(frame[down].unique(), reverse=True), sorted(frame[chart.x].unique())
    values = values.reindex(index=rows, columns=columns)
    figure = style.new_figure(7.6, 5.9)
    figure.subplots_adjust(left=0.095, right=0.88, top=0.845, bottom=0.125)
    ax, bar = figure.add_subplot(), figure.add_axes((0.902, 0.125, 0.016, 0.66))
    norm = LogNorm(ok[chart.y].min() / 1.001, ok[chart.y].max() * 1.001)
    texts = values.map(show, na_action="ignore").astype(object).fillna("")
    look = {"linewidths": 1.6, "linecolor": "white", "annot_kws": {"fontsize": 10}}
    sns.heatmap(values, cmap=_colors(), norm=norm, annot=texts, fmt="", cbar_ax=bar, ax=ax, **look)
    _frame_best(ax, values)
    _hatch(ax, frame[frame["status"].isin(OUT_OF_MEMORY)], values, chart)
    _name_axes(ax, values, chart)
    _scale(bar, chart, norm)
    shown = column_of(chart.y).caption.rpartition(", ")[2]
    style.put_header(
        figure, chart.title, f"{chart.subtitle} · {shown}, {pooled_in_words(ok, chart.y)}", f"{chart.footer} · framed: the highest"
    )
    return figure


@cache
def _colors() -> Colormap:
    import seaborn as sns

    mako = sns.color_palette("mako_r", as_cmap=True)
    return ListedColormap([mako(0.04 + 0.86 * i / 255) for i in range(256)])


def _frame_best(ax: Axes, values: pd.DataFrame) -> None:
    i, j = divmod(int(values.fillna(0).to_numpy().argmax()), values.shape[1])
    ax.add_patch(Rectangle((j + 0.03, i + 0.03), 0.94, 0.94, fill=False, ec=style.BAD, lw=2.2, zorder=5))


def _hatch(ax: Axes, missing: pd.DataFrame, values: pd.DataFrame, chart: Chart) -> None:
    places = {key: i for i, key in enumerate(values.index)}, {key: j for j, key in enumerate(values.columns)}
    for down, across in zip(missing[chart.line[0]], missing[chart.x], strict=True):
        i, j = places[0][down], places[1][across]
        if values.isna().iat[i, j]:
            ax.add_patch(Rectangle((j + 0.02, i + 0.02), 0.96, 0.96, fc="#F1F3F5", ec="#C9D0D7", hatch="////", lw=0))
            box = {"fc": "#F1F3F5", "ec": "none", "pad": 1.2}
            ax.text(j + 0.5, i + 0.5, "OOM", ha="center", va="center", fontsize=8.6, color=style.MUTED, bbox=box)


def _name_axes(ax: Axes, values: pd.DataFrame, chart: Chart) -> None:
    down, across = column_of(chart.line[0]), column_of(chart.x)
    ax.set_xticks([j + 0.5 for j in range(values.shape[1])], [across.show(value) for value in values.columns])
    ax.set_yticks([i + 0.5 for i in range(values.shape[0])], [down.show(value) for value in values.index], rotation=0)
    ax.tick_params(length=0)
    ax.grid(False)
    ax.spines[:].set_visible(False)
    ax.set(xlabel=across.caption, ylabel=down.caption)


def _scale(bar: Axes, chart: Chart, norm: LogNorm) -> None:
    column = column_of(chart.y)
    low, high = float(norm.vmin or 1), float(norm.vmax or 1)
    scales.apply(bar.yaxis, scales.Scale("log", low, high, tuple(scales.round_values(column.kind, low, high))), column.show)
    bar.tick_params(length=0, labelsize=9, pad=3)
    bar.set_title(column.head, fontsize=9, color=style.MUTED, fontweight="normal", loc="left", pad=7)
