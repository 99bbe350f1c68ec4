"""From results.json and a verdict to a model card and its figures."""

from ldm_eval.report.card import build_card
from ldm_eval.report.figures import draw_figure, sample_grid
from ldm_eval.report.markdown import escape
from ldm_eval.report.render import load_calibration, load_declared, write_report

__all__ = ["build_card", "draw_figure", "escape", "load_calibration", "load_declared", "sample_grid", "write_report"]
