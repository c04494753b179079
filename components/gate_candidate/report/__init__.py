"""The report on a verdict: one HTML file for people, and pictures of the worst cases."""

from components.gate_candidate.report.page import write_report
from components.gate_candidate.report.pictures import CasePicture, make_pictures, write_pictures

__all__ = ["CasePicture", "make_pictures", "write_pictures", "write_report"]
