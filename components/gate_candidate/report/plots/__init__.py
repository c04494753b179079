"""The report's charts, as PNG bytes: legible in grey, sharp in print, the same on every run."""

from components.gate_candidate.report.plots.boxes import MOST_POINTS, vertebra_plot
from components.gate_candidate.report.plots.differences import difference_plot
from components.gate_candidate.report.plots.margins import margin_plot
from components.gate_candidate.report.plots.scatter import scan_pairs, scatter_plot

__all__ = ["MOST_POINTS", "difference_plot", "margin_plot", "scan_pairs", "scatter_plot", "vertebra_plot"]
