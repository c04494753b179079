"""Every check of one case: what is found is named, counted and told, never repaired silently."""

from components.prepare_dataset.checks.case import CheckedCase, check_case

__all__ = ["CheckedCase", "check_case"]
