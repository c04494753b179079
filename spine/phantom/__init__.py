"""Procedural CT phantoms of the spine, deterministic by seed, for tests, the demonstration and golden cases."""

from spine.phantom.field_of_view import FieldOfView
from spine.phantom.raw_layouts import RawCase
from spine.phantom.raw_set import write_raw_set
from spine.phantom.scans import PhantomScan, make_scan

__all__ = ["FieldOfView", "PhantomScan", "RawCase", "make_scan", "write_raw_set"]
