"""The report on a data set: a page with pictures for people, strict JSON for programs."""

from components.prepare_dataset.report.writing import write_report

__all__ = ["write_report"]
