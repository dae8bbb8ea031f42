"""The house style of charts: colours that mean something, texts around the panels that always fit, names at the lines."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import count
from pathlib import Path
from textwrap import shorten
from typing import Any, NamedTuple
from zlib import crc32

import matplotlib as mpl
import numpy as np
from matplotlib import font_manager, patheffects
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap, to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import ArrayLike, NDArray

INK, MUTED, FAINT, PANEL, AXIS = "#1B1F24", "#5B6570", "#D9DEE3", "#F5F7F9", "#9AA4AE"
BAD = "#B3261E"  # kept for failure
# From light to dark, so that an ordered quantity keeps its order in grey; told apart under all three colour-vision deficiencies.
ORDERED = ("#C88400", "#D1495B", "#7B2D8E", "#14213D")
# After Okabe and Ito 2008, dark enough for names on white, without the yellow; https://jfly.uni-koeln.de/color/
UNORDERED = ("#0072B2", "#D55E00", "#009E73", "#B5578F", "#2A93CF", "#8A6100", "#333333")
# The same on dark paper.
UNORDERED_ON_DARK = ("#4FB0E8", "#FF9147", "#3FCF9F", "#E69AC6", "#8FD0F5", "#D3A53C", "#DDDDDD")
ORDERED_ON_DARK = ("#F0B23E", "#FF8291", "#EC84B8", "#CF8BE0", "#C3ABEC", "#B9CDF5")
_MARKERS = "osD^vPX"
DASHES: dict[str, Any] = {"solid": "solid", "dashed": (0, (5, 1.5)), "dashdot": (0, (5, 1.5, 1, 1.5))}
DASHED: Any = (0, (4, 2.5))
HALO = patheffects.withStroke(linewidth=2.6, foreground="white")  # so that no line strikes a text through

_LOOK = Path(__file__).with_name("house.mplstyle")
_LEFT = 0.03  # of the texts, in the figure
_LEAST = 0.5  # of the height that a figure is made with, for the panels
_MOST_COLUMNS = 15  # of a key: no figure has room for more, and each try takes a while


@contextmanager
def house_style() -> Iterator[None]:
    """Everything drawn and saved within looks alike, and nothing outside it changes."""
    with mpl.rc_context({"font.family": [*_installed_fonts(), "DejaVu Sans"]}, _LOOK):
        yield


@cache
def _installed_fonts() -> tuple[str, ...]:
    spec = importlib.util.find_spec("font_source_sans_pro")
    folders = list(spec.submodule_search_locations or ()) if spec else []
    files = [file for folder in folders for weight in ("Regular", "Bold") for file in Path(folder).rglob(f"*-{weight}.ttf")]
    for file in files:
        font_manager.fontManager.addfont(str(file))
    return ("Source Sans Pro",) if files else ()


@dataclass(frozen=True)
class LineStyle:
    color: str
    marker: str = "o"
    dash: Any = "solid"


def ordered_styles(count: int) -> list[LineStyle]:
    """For lines that stand for growing numbers: light to dark."""
    ramp = LinearSegmentedColormap.from_list("ordered", ORDERED)
    return [LineStyle(to_hex(ramp(i / (count - 1) if count > 1 else 1.0))) for i in range(count)]


def unordered_styles(frameworks: Sequence[str | None]) -> list[LineStyle]:
    """For lines that stand for names: a colour, and a marker that tells them apart in grey.

    A framework looks the same in every picture; of several lines of one (hf · TP 1, hf · TP 2) the first does. None: of no framework.
    """
    owners = {framework_place(framework): frameworks.index(framework) for framework in reversed(frameworks) if framework}
    places = {line: place for place, line in owners.items()}
    free = (place for place in count() if place not in owners)
    n, dashes = len(UNORDERED), list(DASHES.values())
    found = [places[line] if line in places else next(free) for line in range(len(frameworks))]
    return [LineStyle(UNORDERED[i % n], _MARKERS[i % n], dashes[i // n % len(dashes)]) for i in found]


def framework_place(name: str) -> int:
    """Which of the unordered colours is this framework's: from its name alone, so that nobody has to list them.

    With this salt those that come along have seven places.
    """
    return crc32(f"2096{name}".encode()) % len(UNORDERED)


def new_figure(width: float, height: float) -> Figure:
    """Laid out by what its texts need, on a canvas that keeps its renderer: without one, each look at the size of a text makes another."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save(figure: Figure, stem: Path) -> list[Path]:
    """`stem`.png and `stem`.svg, without a date in them."""
    for axis in (axis for ax in figure.axes for axis in (ax.xaxis, ax.yaxis) if not axis.get_label_text()):
        axis.set_label_coords(0, 0)  # no label needs no place, which would be looked for among all ticks
    if engine := figure.get_layout_engine():
        engine.execute(figure)
        figure.set_layout_engine(None)  # or each file would be laid out again
    png, svg = (stem.with_name(f"{stem.name}.{kind}") for kind in ("png", "svg"))
    # Level 3 takes a third of the time of the default for a tenth more bytes.
    figure.savefig(png, metadata={"Software": None}, pil_kwargs={"compress_level": 3})
    figure.savefig(svg, metadata={"Date": None})
    return [png, svg]


def save_all(figures: Iterable[tuple[str, Figure]], folder: Path) -> list[Path]:
    """Each under its name, as PNG and SVG. What makes the figures may be a generator: it runs within the house style."""
    folder.mkdir(parents=True, exist_ok=True)
    with house_style():
        return [file for name, figure in figures for file in save(figure, folder / name)]


def put_texts(
    figure: Figure, title: str, subtitle: str, footer: str, key: Sequence[Artist] = (), caption: str = "", least_in: float = 0.0
) -> None:
    """Under each other the title, what all points share, the key to the marks and the name of the vertical axis; below, the footer.

    The panels get what is left; where that is little, the picture gets higher.
    """
    point = 1 / (72 * figure.get_figheight())
    top = _put_text(figure, 1 - 13 * point, title, va="top", fontsize=15, fontweight="bold") - 8 * point
    top = _put_text(figure, top, subtitle, va="top", color=MUTED) - 9 * point
    if key:
        top = _put_key(figure, top, key) - 9 * point
    top = _put_text(figure, top, caption, va="top", fontsize=10, color=MUTED) - 2 * point
    foot = 6 * point
    bottom = 2 * foot - _put_text(figure, foot, footer, va="bottom", fontsize=8.2, color=MUTED) + 4 * point
    height_in = figure.get_figheight()
    least_in = least_in or _LEAST * height_in
    if (lacks_in := least_in - (top - bottom) * height_in) > 0.01:
        figure.set_figheight(height_in + lacks_in)
        for artist in (*figure.texts, *figure.legends):
            artist.remove()
        put_texts(figure, title, subtitle, footer, key, caption, least_in)
        return
    figure.set_layout_engine("constrained", rect=(_LEFT - 0.01, bottom, 1 - _LEFT, top - bottom))


def _put_text(figure: Figure, y: float, text: str, **look: Any) -> float:
    """As many lines of it as it needs; return its place less its height."""
    drawn = figure.text(_LEFT, y, text, **look)
    drawn.set_wrap(drawn.get_window_extent().x1 > 0.99 * figure.bbox.width)  # only where it must: each look at such a text wraps it again
    return y - drawn.get_window_extent().height / figure.bbox.height


def _put_key(figure: Figure, y: float, key: Sequence[Artist]) -> float:
    """In as many columns as fit beside each other; return where it ends."""
    spacing: dict[str, float] = {"borderaxespad": 0, "borderpad": 0, "handletextpad": 0.6, "columnspacing": 1.8}
    for columns in range(min(len(key), _MOST_COLUMNS), 0, -1):
        legend = figure.legend(handles=list(key), ncols=columns, loc="upper left", bbox_to_anchor=(_LEFT, y), **spacing)
        if columns == 1 or legend.get_window_extent().x1 < 0.99 * figure.bbox.width:
            break
        legend.remove()
    return y - legend.get_window_extent().height / figure.bbox.height


def swatches(colors: Mapping[str, str]) -> list[Artist]:
    """The key to colours."""
    return [Patch(fc=color, label=name) for name, color in colors.items()]


class EndLabel(NamedTuple):
    x: Any  # a number, or a category
    y: float
    text: str
    color: str


def put_end_labels(ax: Axes, labels: Sequence[EndLabel], gap_pt: float = 15, furthest_pt: float = 40) -> bool:
    """Each line's name right of its last point, moved up or down where names would overlap; False, and none of them, if one would get lost.

    The gap is that of panels as high as they are before the texts around them are put, which is a sixth too much.
    """
    if not labels:
        return True
    figure: Any = ax.get_figure(root=True)
    in_data: Any = [(ax.convert_xunits(label.x), label.y) for label in labels]  # type: ignore[no-untyped-call]
    places_pt = ax.transData.transform(in_data) * 72 / figure.dpi
    order, moved_pt = np.argsort(places_pt[:, 0], kind="stable"), places_pt[:, 1].copy()
    starts_pt = places_pt[order, 0]
    ends_pt = np.maximum.accumulate(starts_pt + [12 + 6 * len(labels[i].text) for i in order])
    for over_each_other in np.split(order, np.flatnonzero(starts_pt[1:] > ends_pt[:-1]) + 1):
        moved_pt[over_each_other] = spread(moved_pt[over_each_other], gap_pt)
    shifts_pt = moved_pt - places_pt[:, 1]
    if np.abs(shifts_pt).max() > furthest_pt:
        return False
    look: dict[str, Any] = {"va": "center", "fontsize": 10, "fontweight": "bold", "zorder": 6, "path_effects": [HALO]}
    stroke: dict[str, Any] = {"arrowstyle": "-", "lw": 0.6, "alpha": 0.6, "shrinkA": 0, "shrinkB": 0, "patchA": None, "relpos": (0, 0.5)}
    for label, shift_pt in zip(labels, shifts_pt, strict=True):
        leader = {**stroke, "color": label.color} if abs(shift_pt) > 2 else None
        name, place = shorten(label.text, 40, placeholder=" …"), (label.x, label.y)
        ax.annotate(name, place, (9, shift_pt), textcoords="offset points", color=label.color, arrowprops=leader, **look)
    return True


def spread(values: ArrayLike, gap: float) -> NDArray[np.float64]:
    """The same values, moved apart as little as can be so that neighbours are `gap` away: least squares, by isotonic regression.

    Its closed form is the largest of the smallest means: https://en.wikipedia.org/wiki/Isotonic_regression
    """
    order = np.argsort(values, kind="stable")
    steps = gap * np.arange(len(order))
    free = np.asarray(values, dtype=float)[order] - steps
    ends = range(len(order))
    placed = np.empty(len(order))
    placed[order] = [max(min(free[j : k + 1].mean() for k in ends[i:]) for j in ends[: i + 1]) for i in ends] + steps
    return placed
