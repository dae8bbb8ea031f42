"""The house style of charts: colours that mean something, axes in human units, names at the lines instead of a legend."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from zlib import crc32

import matplotlib as mpl
from matplotlib import font_manager, patheffects
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap, to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.text import Annotation, Text

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

_DPI = 200
_RC: dict[Any, Any] = {
    "figure.dpi": _DPI,  # texts are fitted at the size they are saved at: hinting changes their width
    "font.size": 10.5,
    "text.color": INK,
    "savefig.facecolor": "white",
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "bench",  # a rerun is byte-identical
    "pdf.fonttype": 42,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.edgecolor": AXIS,
    "axes.linewidth": 0.8,
    "axes.labelcolor": MUTED,
    "axes.labelsize": 10.5,
    "axes.titlesize": 11.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.7,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.major.size": 3.5,
    "ytick.major.size": 0,
    "lines.linewidth": 2.0,
    "lines.markersize": 5.6,
    "lines.solid_capstyle": "round",
    "legend.frameon": False,
    "legend.fontsize": 9.5,
}


@contextmanager
def house_style() -> Iterator[None]:
    """Everything drawn and saved within looks alike, and nothing outside it changes."""
    with mpl.rc_context({**_RC, "font.family": [*_installed_fonts(), "DejaVu Sans"]}):
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
    n, taken, places = len(UNORDERED), set[int](), dict[int, int]()
    for i, framework in enumerate(frameworks):
        if framework and frameworks.index(framework) == i and (place := framework_place(framework)) not in taken:
            places[i] = place
            taken.add(place)
    free = (place for place in range(len(frameworks) + n) if place not in taken)
    found = [places[i] if i in places else next(free) for i in range(len(frameworks))]
    return [LineStyle(UNORDERED[i % n], _MARKERS[i % n], list(DASHES.values())[i // n % len(DASHES)]) for i in found]


def framework_place(name: str) -> int:
    """Which of the unordered colours is this framework's: from its name alone, so that nobody has to list them.

    With this salt those that come along have seven places.
    """
    return crc32(f"2096{name}".encode()) % len(UNORDERED)


def new_figure(width: float, height: float) -> Figure:
    """With a canvas that keeps its renderer: without one, each look at the size of a text would make another."""
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    return figure


def save(figure: Figure, stem: Path) -> list[Path]:
    """`stem`.png and `stem`.svg, without a date in them."""
    png, svg = (stem.with_name(f"{stem.name}.{kind}") for kind in ("png", "svg"))
    # Level 3 takes a third of the time of the default for a tenth more bytes.
    figure.savefig(png, dpi=_DPI, metadata={"Software": None}, pil_kwargs={"compress_level": 3})
    figure.savefig(svg, dpi=_DPI, metadata={"Date": None})
    return [png, svg]


def save_all(figures: Iterable[tuple[str, Figure]], folder: Path) -> list[Path]:
    """Each under its name, as PNG and SVG. What makes the figures may be a generator: it runs within the house style."""
    folder.mkdir(parents=True, exist_ok=True)
    with house_style():
        return [file for name, figure in figures for file in save(figure, folder / name)]


def put_header(figure: Figure, title: str, subtitle: str, footer: str, x: float = 0.03) -> None:
    height_pt = figure.get_figheight() * 72
    figure.text(x, 1 - 14 / height_pt, title, ha="left", va="top", fontsize=15, fontweight="bold", color=INK)
    fit(figure.text(x, 1 - 38 / height_pt, subtitle, ha="left", va="top", fontsize=10.5, color=MUTED), figure.bbox.width * 0.98)
    fit(figure.text(x, 6 / height_pt, footer, ha="left", va="bottom", fontsize=8.2, color=MUTED), figure.bbox.width * 0.98)


def fit(text: Any, available: float, smallest_pt: float = 7.0) -> None:
    """Make a long text smaller until it ends left of `available` pixels; what still does not fit is cut, and says so."""
    _shrink(text, [text], available, smallest_pt)
    while text.get_window_extent().x1 > available and len(text.get_text()) > 12:
        kept = text.get_text().removesuffix(" …")
        text.set_text((kept.rpartition(" · ")[0] or kept[:-4].rstrip()) + " …")


def _shrink(whole: Any, texts: Sequence[Any], available: float, smallest_pt: float) -> None:
    size_pt = texts[0].get_fontsize() if texts else smallest_pt
    while whole.get_window_extent().x1 > available and size_pt > smallest_pt:
        size_pt -= 0.5
        for text in texts:
            text.set_fontsize(size_pt)


def put_key(figure: Figure, handles: list[Artist], x: float = 0.03, y_pt: float = 62) -> None:
    """What the marks mean, in one line under the subtitle, where it never covers data."""
    top = 1 - y_pt / (figure.get_figheight() * 72)
    spacing: dict[str, float] = {"borderaxespad": 0, "borderpad": 0, "handletextpad": 0.6, "columnspacing": 1.8}
    legend = figure.legend(handles=handles, loc="upper left", bbox_to_anchor=(x, top), ncol=max(1, len(handles)), labelcolor=INK, **spacing)
    _shrink(legend, legend.get_texts(), figure.bbox.width * 0.98, 6)


def swatches(colors: Mapping[str, str]) -> list[Artist]:
    """The key to colours."""
    return [Patch(fc=color, label=name) for name, color in colors.items()]


def put_caption(ax: Axes, text: str) -> None:
    """The name of the vertical axis, level, over its top."""
    ax.text(0.0, 1.012, text, transform=ax.transAxes, ha="left", va="bottom", color=MUTED, fontsize=10)


@dataclass(frozen=True)
class EndLabel:
    x: float
    y: float
    text: str
    color: str


def put_end_labels(ax: Axes, labels: Sequence[EndLabel], size: float = 10, gap_pt: float = 13) -> list[Annotation]:
    """Each line's name right of its last point, moved apart where they would overlap."""
    places: Any = ax.transData.transform([(label.x, label.y) for label in labels]) if labels else []
    pixel = ax.get_figure(root=True).dpi / 72  # type: ignore[union-attr]
    lengths = [(12 + 0.6 * size * len(label.text)) * pixel for label in labels]
    found: list[Annotation] = []
    for group in _columns([x for x, _ in places], lengths):
        heights = spread([places[i][1] for i in group], gap_pt * pixel)
        found += [_end_label(ax, labels[i], (height - places[i][1]) / pixel, size) for i, height in zip(group, heights, strict=True)]
    return found


def _columns(starts: Sequence[float], lengths: Sequence[float]) -> list[list[int]]:
    """Which words stand over each other: those that begin before the ones left of them end."""
    groups: list[list[int]] = []
    end = float("-inf")
    for i in sorted(range(len(starts)), key=lambda i: starts[i]):
        if starts[i] > end:
            groups.append([])
        groups[-1].append(i)
        end = max(end, starts[i] + lengths[i])
    return groups


def _end_label(ax: Axes, label: EndLabel, shift_pt: float, size: float) -> Annotation:
    moved = abs(shift_pt) > 2
    leader = (
        {"arrowstyle": "-", "color": label.color, "lw": 0.6, "alpha": 0.6, "shrinkA": 1, "shrinkB": 3, "relpos": (0, 0.5)}
        if moved
        else None
    )
    return ax.annotate(
        label.text,
        xy=(label.x, label.y),
        xytext=(11 if moved else 7, shift_pt),
        textcoords="offset points",
        va="center",
        ha="left",
        color=label.color,
        fontsize=size,
        fontweight="bold",
        annotation_clip=False,
        zorder=6,
        path_effects=[HALO],
        arrowprops=leader,
    )


def spread(values: Sequence[float], gap: float) -> list[float]:
    """The same values, moved apart as little as can be so that neighbours are `gap` away.

    Values that crowd become a block, evenly spaced around their mean; blocks that meet become one.
    """
    order = sorted(range(len(values)), key=lambda i: values[i])
    blocks: list[list[float]] = []  # [centre, how many]
    for i in order:
        blocks.append([values[i], 1])
        while len(blocks) > 1 and blocks[-1][0] - blocks[-2][0] < gap * (blocks[-1][1] + blocks[-2][1]) / 2:
            centre, count = blocks.pop()
            other, many = blocks[-1]
            blocks[-1] = [(centre * count + other * many) / (count + many), count + many]
    placed = [centre + gap * (k - (count - 1) / 2) for centre, count in blocks for k in range(int(count))]
    return [height for _, height in sorted(zip(order, placed, strict=True))]


def fit_right(figure: Figure, texts: Sequence[Annotation], pad_pt: float = 8) -> None:
    """Pull the panels' right edge in until the line names lie inside the figure, which must come from new_figure."""
    canvas: Any = figure.canvas
    for _ in range(3):
        width = figure.bbox.width
        edge = max((_right_edge(text, canvas.get_renderer()) for text in texts), default=0.0)
        over = (edge - (width - pad_pt * figure.dpi / 72)) / width
        if over <= 0.001:
            return
        figure.subplots_adjust(right=max(0.4, figure.subplotpars.right - over))


def _right_edge(text: Annotation, renderer: Any) -> float:
    """Of the words alone: where the stroke to them runs takes long to find, and it ends at them."""
    text.update_positions(renderer)
    return float(Text.get_window_extent(text, renderer).x1)
