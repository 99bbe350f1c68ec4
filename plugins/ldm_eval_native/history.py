"""Losses along a training: kept with its state, written as a table and as curves that show overfitting."""

from __future__ import annotations

import io
import itertools
import math
import textwrap
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ldm_eval.errors import ModelError
from ldm_eval_native.atomic import write_bytes
from ldm_eval_native.outputs import losses_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["LossEntry", "LossHistory", "write_curves"]

_TRAINING_COLOUR, _HOLDOUT_COLOUR = "#0072B2", "#D55E00"  # Okabe and Ito: told apart by the colour-blind too
_STYLE: dict[str, Any] = {
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "grid.color": "#DDDDDD",
    "legend.frameon": False,
}
_LOGARITHMIC_FROM = 4.0
"""From this ratio of highest to lowest loss on, the axis is logarithmic: the first steps would hide the rest."""

_LABEL_CHARACTERS = 36
"""How many characters fit beside the axis in one line."""


@dataclass(frozen=True, slots=True)
class LossEntry:
    """Losses at one step: running mean over training batches, and the held-out loss where it was computed."""

    step: int
    loss: float
    holdout_loss: float | None = None


@dataclass(frozen=True, slots=True)
class LossHistory:
    """Losses of a training in order of their steps.

    Attributes:
        entries: Strictly rising in ``step``.
    """

    entries: tuple[LossEntry, ...] = ()

    @classmethod
    def empty(cls) -> LossHistory:
        """The history of a training that has not begun."""
        return cls()

    def add(self, step: int, loss: float, holdout_loss: float | None = None) -> LossHistory:
        """A history that ends in this entry; those at or after ``step`` are replaced, as after a resumed training.

        Each call copies the references: 10,000 entries (10^5 steps, one in ten reported) cost 0.1 s in all.
        """
        kept = self.entries
        while kept and kept[-1].step >= step:
            kept = kept[:-1]
        return LossHistory(
            (*kept, LossEntry(int(step), float(loss), None if holdout_loss is None else float(holdout_loss)))
        )

    def state(self) -> list[list[float | int | None]]:
        """Plain values ``[step, loss, holdout_loss or None]`` for a file; ``from_state`` reads them back exactly."""
        return [[entry.step, entry.loss, entry.holdout_loss] for entry in self.entries]

    @classmethod
    def from_state(cls, state: Any) -> LossHistory:
        """The history that ``state()`` described.

        Raises:
            ModelError: when it is not a list of entries with rising steps.
        """
        try:
            entries = tuple(
                LossEntry(int(step), float(loss), None if holdout is None else float(holdout))
                for step, loss, holdout in state
            )
        except (TypeError, ValueError, OverflowError) as error:
            raise ModelError(f"The losses kept with the training are damaged ({error}). Train afresh.") from error
        if any(later.step <= earlier.step for earlier, later in itertools.pairwise(entries)):
            raise ModelError("The losses kept with the training are not in order of their steps. Train afresh.")
        return cls(entries)


def write_curves(history: LossHistory, output: Path, *, loss_name: str = "mean squared error per element") -> None:
    """Write ``m.losses.csv`` and ``m.losses.png`` beside an output ``m.pt``; equal histories give equal bytes.

    Args:
        history: May be empty: then the files are not written.
        output: The checkpoint of the training; only its folder and name matter.
        loss_name: What the loss is, with its unit, for the axis.

    Raises:
        StoreError: when they cannot be written.
    """
    if not history.entries:
        return
    write_bytes(losses_path(output, ".csv"), _table(history).encode())
    write_bytes(losses_path(output, ".png"), _drawing(history, loss_name))


def _table(history: LossHistory) -> str:
    rows = [f"{e.step},{e.loss!r},{'' if e.holdout_loss is None else repr(e.holdout_loss)}" for e in history.entries]
    return "\n".join(["step,loss,holdout_loss", *rows, ""])


def _drawing(history: LossHistory, loss_name: str) -> bytes:
    import matplotlib
    import matplotlib.style
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    with warnings.catch_warnings(), matplotlib.rc_context():
        warnings.simplefilter("ignore")  # a glyph the font lacks is drawn as a box; that is no reason to stop
        matplotlib.style.use(["default", _STYLE])  # whatever matplotlibrc the user has
        figure = Figure(figsize=(7.2, 4.4), dpi=120, layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        _draw(axes, history)
        axes.set_title("Loss along the training")
        axes.set_xlabel("optimiser step")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_ylabel(textwrap.fill(f"loss ({loss_name})", _LABEL_CHARACTERS))
        figure.legend(loc="outside lower left")  # inside it would cover a curve that stays flat
        stream = io.BytesIO()
        figure.savefig(stream, format="png", metadata={"Software": None})
    return stream.getvalue()


def _draw(axes: Axes, history: LossHistory) -> None:
    entries = history.entries
    judged = [(e.step, e.holdout_loss) for e in entries if e.holdout_loss is not None and math.isfinite(e.holdout_loss)]
    trained = [(e.step, e.loss) for e in entries if math.isfinite(e.loss)]
    few = {"marker": "o", "markersize": 3} if len(entries) < 40 else {}
    if trained:
        label = "training (running mean, weights of the moment)"
        axes.plot(*zip(*trained, strict=True), color=_TRAINING_COLOUR, linewidth=1.2, label=label, **few)  # type: ignore[arg-type]
    if judged:
        label = "held out (averaged weights)"
        axes.plot(
            *zip(*judged, strict=True), color=_HOLDOUT_COLOUR, linewidth=2.0, marker="o", markersize=3, label=label
        )
        _mark_minimum(axes, judged)
    values = [value for _, value in trained + judged]
    if values and min(values) > 0 and max(values) / min(values) >= _LOGARITHMIC_FROM:
        axes.set_yscale("log")


def _mark_minimum(axes: Axes, judged: list[tuple[int, float]]) -> None:
    """A star where the held-out loss was lowest; what follows it and rises is overfitting."""
    step, lowest = min(judged, key=lambda point: point[1])
    last = judged[-1][1]
    since = f"; last {last:.4g} ({(last / lowest - 1) * 100:+.1f} %)" if lowest > 0 and last > lowest else ""
    label = f"lowest held out: {lowest:.4g} at step {step:,}{since}"
    axes.axvline(step, color=_HOLDOUT_COLOUR, linewidth=0.8, linestyle=":")
    axes.plot([step], [lowest], color=_HOLDOUT_COLOUR, marker="*", markersize=13, linestyle="none", label=label)
