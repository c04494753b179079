"""Reports for people: on a verdict, with pictures of the worst cases, and on a comparison of models."""

from components.gate_candidate.report.comparison import write_comparison
from components.gate_candidate.report.page import write_report
from components.gate_candidate.report.pictures import CasePicture, make_pictures, write_pictures

__all__ = ["CasePicture", "make_pictures", "write_comparison", "write_pictures", "write_report"]
