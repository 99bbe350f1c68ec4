"""Figures from data to PNG: the same data gives the same bytes, whatever the user's matplotlib settings."""

from __future__ import annotations

import io
import itertools
import math
import textwrap
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ldm_eval.api import Figure, Measured, Series
from ldm_eval.errors import EvidenceError
from ldm_eval.report.markdown import plain, slug
from ldm_eval.store.results import Results

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

__all__ = ["FigureFile", "draw_figure", "drawn_on_axes", "figure_files", "sample_grid"]

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's colours: told apart by people with the common forms of colour blindness."""
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_DASHES = ("--", ":", "-.")
_STYLE: dict[str, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": "#444444",
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "figure.constrained_layout.h_pad": 0.1,
    "figure.constrained_layout.w_pad": 0.1,
    "font.size": 10.0,
    "grid.color": "#DDDDDD",
    "legend.frameon": False,
}
_SIZE_INCHES, _DOTS_PER_INCH = (7.2, 4.0), 120
_LABEL_CHARACTERS = 84
"""How many characters fit below the x axis in one line."""
GRID_WIDTH = 800
"""Width in pixels that a sample grid is brought to, about the width of a card."""


@dataclass(frozen=True, slots=True)
class FigureFile:
    """Where a figure of a check is written, relative to the run folder."""

    check: str
    figure: Figure
    path: str


def figure_files(results: Results) -> tuple[FigureFile, ...]:
    """All figures of a run with the files they belong in, none of them named twice."""
    taken: set[str] = set()
    files: list[FigureFile] = []
    for record in results.checks:
        figures = record.outcome.figures if isinstance(record.outcome, Measured) else ()
        for figure in figures:
            stem = f"{slug(record.check)}-{slug(figure.name)}"
            name = next(n for n in _numbered(stem, len(taken) + 1) if n not in taken)
            taken.add(name)
            files.append(FigureFile(record.check, figure, f"figures/{name}.png"))
    return tuple(files)


def _numbered(stem: str, count: int) -> list[str]:
    return [stem, *(f"{stem}-{i}" for i in range(2, count + 2))]


def draw_figure(figure: Figure) -> bytes:
    """Draw a figure at card width; deterministic PNG bytes.

    Raises:
        EvidenceError: when its series do not fit together or it is of a kind that cannot be drawn.
    """
    _refuse_misfits(figure)

    def draw(axes: Axes) -> None:
        _DRAWERS[figure.kind](axes, figure.series)
        _finish(axes, figure)

    return drawn_on_axes(draw, _SIZE_INCHES)


def drawn_on_axes(draw: Callable[[Axes], None], size: tuple[float, float]) -> bytes:
    """The PNG of what ``draw`` puts on empty axes of this size in inches; the same drawing gives the same bytes."""
    import matplotlib
    import matplotlib.style
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Canvas

    with warnings.catch_warnings(), matplotlib.rc_context():
        warnings.simplefilter("ignore")  # a glyph the font lacks is drawn as a box; that is no reason to fail
        matplotlib.style.use(["default", _STYLE])  # whatever matplotlibrc the user has
        canvas = Canvas(figsize=size, dpi=_DOTS_PER_INCH, layout="constrained")
        FigureCanvasAgg(canvas)
        draw(canvas.add_subplot())
        stream = io.BytesIO()
        canvas.savefig(stream, format="png", metadata={"Software": None})
    return stream.getvalue()


def sample_grid(images: NDArray[np.uint8], columns: int = 0) -> bytes:
    """A grid of samples as PNG, about 800 pixels wide; small images are enlarged without smoothing.

    Args:
        images: ``(N, 3, H, W) uint8``, or ``(N, 1, H, W)``.
        columns: Images per row; 0 chooses, at most ten.

    Raises:
        EvidenceError: for any other shape or type, or no image.
    """
    import numpy as np
    from PIL import Image

    if images.ndim != 4 or images.shape[1] not in (1, 3) or images.dtype != np.uint8 or len(images) == 0:
        raise EvidenceError(
            f"A sample grid needs (N, 3, H, W) uint8 images, N > 0; found {images.shape} {images.dtype}."
        )
    count, _, height, width = images.shape
    per_row = min(count, columns or max(1, min(10, math.ceil(math.sqrt(count * height / width)))))
    cell = max(1, GRID_WIDTH // per_row - 2)
    factor = cell // width if width <= cell else cell / width
    size = (max(1, int(width * factor)), max(1, int(height * factor)))
    rows = math.ceil(count / per_row)
    sheet = Image.new("RGB", (per_row * (size[0] + 2) - 2, rows * (size[1] + 2) - 2), "white")
    pixels = images if images.shape[1] == 3 else np.repeat(images, 3, axis=1)
    filter_ = Image.Resampling.NEAREST if width <= cell else Image.Resampling.BOX
    for i, picture in enumerate(pixels):
        tile = Image.fromarray(np.ascontiguousarray(picture.transpose(1, 2, 0))).resize(size, filter_)
        sheet.paste(tile, ((i % per_row) * (size[0] + 2), (i // per_row) * (size[1] + 2)))
    stream = io.BytesIO()
    sheet.save(stream, format="PNG")
    return stream.getvalue()


def _refuse_misfits(figure: Figure) -> None:
    if figure.kind not in _DRAWERS:
        raise EvidenceError(f"Figure '{figure.name}' is of the kind '{figure.kind}'; known: {', '.join(_DRAWERS)}.")
    if not figure.series or not any(series.y for series in figure.series):
        raise EvidenceError(f"Figure '{figure.name}' has nothing to draw.")
    for series in figure.series:
        edges = figure.kind == "histogram" and len(series.x) == len(series.y) + 1
        if not edges and len(series.x) != len(series.y):
            raise EvidenceError(
                f"Series '{series.name}' of figure '{figure.name}' has {len(series.x)} x and {len(series.y)} y."
            )
        if any(len(bound) not in (0, len(series.y)) for bound in (series.low, series.high)):
            raise EvidenceError(f"Series '{series.name}' of figure '{figure.name}' has bounds for only some points.")
        if figure.kind in ("lines", "histogram") and any(isinstance(x, str) for x in series.x):
            raise EvidenceError(f"Series '{series.name}' of figure '{figure.name}' needs numbers for x.")
        if not all(math.isfinite(number) for number in (*series.y, *series.low, *series.high)):
            raise EvidenceError(f"Series '{series.name}' of figure '{figure.name}' holds a number that is not finite.")


def _text(text: str, keep: str = "") -> str:
    """Text that matplotlib draws as it is, never as mathematics; ``keep`` is a separator that stays."""
    parts = text.split(keep) if keep else [text]
    return keep.join(plain(part) for part in parts).replace("$", r"\$")


def _wrapped(text: str, width: int) -> str:
    return _text("\n".join(textwrap.wrap(plain(text), width, break_on_hyphens=False)[:3]), keep="\n")


def _colour(index: int) -> str:
    return PALETTE[index % len(PALETTE)]


def _numbers(values: Sequence[float] | Sequence[str]) -> list[float]:
    return [float(value) for value in values]


def _name(x: str | float) -> str:
    return x if isinstance(x, str) else f"{x:g}"


def _positions(series: Sequence[Series]) -> list[str]:
    """Every x of every series once: names in order of appearance, numbers sorted."""
    every = [x for one in series for x in one.x]
    if not any(isinstance(x, str) for x in every):
        every = sorted(every, key=float)
    return list(dict.fromkeys(_name(x) for x in every))


def _slots(axes: Axes, series: Sequence[Series], width: float) -> list[list[float]]:
    """Places beside each other on a named x axis, ``width`` apart: one list per series; sets the tick labels."""
    names = _positions(series)
    room = _LABEL_CHARACTERS // len(names)
    if room >= 8:
        labels = ["\n".join(textwrap.wrap(plain(name), room)[:3]) for name in names]
        axes.set_xticks(range(len(names)), [_text(label, keep="\n") for label in labels])
    else:
        labels = [textwrap.shorten(plain(name), 24, placeholder="…") or plain(name)[:24] for name in names]
        upright = max(len(label) for label in labels) <= room
        turn, side = (0, "center") if upright else (35, "right")
        axes.set_xticks(range(len(names)), [_text(label) for label in labels], rotation=turn, ha=side)
    axes.set_xlim(-0.5, len(names) - 0.5)
    axes.grid(visible=False, axis="x")
    known = {name: i for i, name in enumerate(names)}
    middle = (len(series) - 1) / 2
    return [[known[_name(x)] + width * (i - middle) for x in one.x] for i, one in enumerate(series)]


def _whiskers(axes: Axes, x: Sequence[float], series: Series, colour: str, width: float) -> None:
    """Error bars drawn from bound to bound: an estimate may lie outside its own interval."""
    low, high = series.low or series.y, series.high or series.y
    if not (series.low or series.high):
        return
    axes.vlines(x, low, high, colors=colour, linewidth=1.6, zorder=3)
    for bound in (series.low, series.high):
        if bound:
            axes.hlines(bound, [p - width for p in x], [p + width for p in x], colors=colour, linewidth=1.6, zorder=3)


def _draw_intervals(axes: Axes, series: Sequence[Series]) -> None:
    step = min(0.15, 0.8 / len(series))
    cap = min(0.012 * len(_positions(series)), step / 3)
    for i, (x, one) in enumerate(zip(_slots(axes, series, step), series, strict=True)):
        axes.plot(x, one.y, _MARKERS[i % 7], color=_colour(i), label=_text(one.name), markersize=6, zorder=4)
        _whiskers(axes, x, one, _colour(i), cap)


def _draw_bars(axes: Axes, series: Sequence[Series]) -> None:
    width = 0.8 / len(series)
    for i, (x, one) in enumerate(zip(_slots(axes, series, width), series, strict=True)):
        hatch = None if i < len(PALETTE) else "//"
        axes.bar(x, one.y, width=width * 0.94, color=_colour(i), label=_text(one.name), hatch=hatch, zorder=2)
        _whiskers(axes, x, one, "#222222", min(0.012 * len(_positions(series)), width / 3))


def _draw_lines(axes: Axes, series: Sequence[Series]) -> None:
    for i, one in enumerate(series):
        x = _numbers(one.x)
        marker = _MARKERS[i % 7] if len(x) <= 40 and len(x) != 2 else ""  # two points are an edge, not data
        axes.plot(x, one.y, color=_colour(i), marker=marker, markersize=4, linewidth=1.8, label=_text(one.name))
        if one.low or one.high:
            axes.fill_between(x, one.low or one.y, one.high or one.y, color=_colour(i), alpha=0.2, linewidth=0)


def _draw_histogram(axes: Axes, series: Sequence[Series]) -> None:
    for i, one in enumerate(series):
        edges = _edges(_numbers(one.x), len(one.y))
        axes.stairs(one.y, edges, fill=True, color=_colour(i), alpha=0.3)
        axes.stairs(one.y, edges, color=_colour(i), linewidth=1.8, label=_text(one.name))


def _edges(x: list[float], bins: int) -> list[float]:
    """Bin edges: x itself when it has one more entry than there are bins, else half-way between the centres in x."""
    if len(x) == bins + 1:
        return x
    if bins == 1:
        return [x[0] - 0.5, x[0] + 0.5]
    middles = [(left + right) / 2 for left, right in itertools.pairwise(x)]
    return [2 * x[0] - middles[0], *middles, 2 * x[-1] - middles[-1]]


_DRAWERS = {
    "intervals": _draw_intervals,
    "lines": _draw_lines,
    "bars": _draw_bars,
    "histogram": _draw_histogram,
}


def _finish(axes: Axes, figure: Figure) -> None:
    _reference_lines(axes, figure.lines)
    every_y = [y for series in figure.series for y in (*series.y, *series.low, *series.high)] + [*figure.lines.values()]
    _scale(axes, "y", figure.log_y, every_y)
    if figure.kind in ("lines", "histogram"):
        _scale(axes, "x", figure.log_x, [float(x) for series in figure.series for x in series.x])
    axes.set_title(_wrapped(figure.title, 64))
    axes.set_xlabel(_wrapped(figure.x_label, 90))
    axes.set_ylabel(_wrapped(figure.y_label, 40))
    handles, labels = axes.get_legend_handles_labels()
    if len(labels) > 1 or figure.lines:
        columns = 3 if max(len(label) for label in labels) < 32 else 1
        axes.figure.legend(handles, labels, fontsize=9, loc="outside lower center", ncols=min(columns, len(labels)))


def _reference_lines(axes: Axes, lines: Mapping[str, float]) -> None:
    for i, (name, value) in enumerate(sorted(lines.items())):
        axes.axhline(value, color="#555555", linewidth=1.4, linestyle=_DASHES[i % 3], label=_text(name), zorder=2.5)


def _scale(axes: Axes, which: str, logarithmic: bool, values: Sequence[float]) -> None:
    """A logarithmic axis, linear around zero where there are zeros or negative numbers."""
    if not logarithmic:
        return
    setter = axes.set_yscale if which == "y" else axes.set_xscale
    smallest = min((abs(value) for value in values if value), default=1.0)
    if min(values) > 0:
        setter("log")
        axis = axes.yaxis if which == "y" else axes.xaxis
        if min(values) > 1e-5 and max(values) < 1e7:
            axis.set_major_formatter(lambda value, _: f"{value:,.10g}")  # 0.01, not 10 to the minus two
        _label_points(axes, which, sorted(set(values)))
    else:
        setter("symlog", linthresh=smallest)


def _label_points(axes: Axes, which: str, values: Sequence[float]) -> None:
    """A few known points along x are labelled where they are."""
    if which == "x" and len(values) <= 8:
        axes.set_xticks(values, [f"{value:,.10g}" for value in values])
        axes.minorticks_off()
