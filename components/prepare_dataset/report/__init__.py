"""The report on a data set: a page with pictures for people, strict JSON for programs."""

from components.prepare_dataset.report.writing import REPORT_FILE, write_report

__all__ = ["REPORT_FILE", "write_report"]
