"""A heat map of throughput: batch size by prompt length, the best cell framed, what ran out of memory in grey."""

from __future__ import annotations

import pandas as pd
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from bench.analysis import scales, style
from bench.analysis.columns import column_of
from bench.analysis.draw import Chart
from bench.analysis.settings import OUT_OF_MEMORY, pooled_in_words, provenance
from bench.results import Status


def draw(chart: Chart, frame: pd.DataFrame) -> Figure:
    """A cell per x and `chart.line`, coloured and labelled by y."""
    import seaborn as sns  # late: it costs a quarter of a second

    down, across, column = column_of(chart.line[0]), column_of(chart.x), column_of(chart.y)
    ok = frame[frame["status"] == Status.ok]
    low, high = ok[column.name].min() / 1.001, ok[column.name].max() * 1.001
    shown = frame.assign(cell=frame[column.name].where(frame["status"] == Status.ok).astype(float))
    shown.loc[frame["status"].isin(OUT_OF_MEMORY), "cell"] = 0.0  # which a logarithm leaves without a colour
    values = shown.pivot_table(index=down.name, columns=across.name, values="cell", aggfunc="max").sort_index(ascending=False)
    figure = style.new_figure(7.6, 5.9)
    ax = figure.add_subplot()
    sns.heatmap(
        values.rename(index=down.show, columns=across.show),
        cmap=sns.color_palette("crest", as_cmap=True).with_extremes(bad=style.FAINT),
        norm=LogNorm(low, high),
        annot=values.map(lambda value: column.show(value) if value else "OOM"),
        fmt="",
        annot_kws={"in_layout": False},
        linewidths=1.6,
        cbar_kws={"format": lambda value, _: column.show(value), "ticks": scales.round_values(column.kind, low, high), "aspect": 40},
        ax=ax,
    )
    ax.collections[0].colorbar.minorticks_off()  # type: ignore[union-attr]
    best, there = divmod(int(values.fillna(0).to_numpy().argmax()), values.shape[1])
    ax.add_patch(Rectangle((there + 0.03, best + 0.03), 0.94, 0.94, fill=False, ec=style.BAD, lw=2.2, zorder=5))
    ax.tick_params(length=0, rotation=0)
    ax.grid(False)
    ax.set(xlabel=across.caption, ylabel="")
    subtitle = f"{chart.subtitle(frame)} · {column.caption.rpartition(', ')[2]}, {pooled_in_words(ok, chart.y)}"
    style.put_texts(figure, chart.title, subtitle, f"{provenance(frame)} · framed: the highest", caption=down.caption)
    return figure
