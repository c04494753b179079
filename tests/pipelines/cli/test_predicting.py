"""What `spineline predict` tells of a scan is the server's report of it, as JSON and as text."""

import json
from pathlib import Path

import numpy as np
import pytest

from model_registry.scan_flags import NOT_COMPARED
from model_registry.segmentation_report import SegmentationReport
from spine.phantom import make_scan
from spine.volume.nifti import read_labels, write_volume

pytestmark = pytest.mark.slow  # each loads a real network


@pytest.fixture
def scan(tmp_path, root, registry_with_two_versions):
    image = make_scan(seed=4, patient=2, first=18, last=22, spacing_mm=(6.0,) * 3).image
    write_volume(tmp_path / "scan.nii.gz", image)
    return tmp_path / "scan.nii.gz"


def test_json_is_the_report_with_the_path_of_the_mask(scan, spineline, tmp_path):
    told = spineline("predict", scan, tmp_path / "mask.nii.gz", "--version", 1, "--json")
    assert told.code == 0, told.err
    answer = json.loads(told.out)
    mask = read_labels(Path(answer.pop("mask")))
    report = SegmentationReport.parse(answer, where="stdout")
    assert report.version == 1
    assert report.remarks == (NOT_COMPARED,)
    told_of = sum(each.voxels for each in report.vertebrae) + sum(report.stray_voxels.values())
    assert told_of == np.count_nonzero(mask.array)


def test_text_has_a_row_a_vertebra_and_a_line_a_remark(scan, spineline, tmp_path):
    report = json.loads(spineline("predict", scan, tmp_path / "mask.nii.gz", "--version", 1, "--json").out)
    told = spineline("predict", scan, tmp_path / "mask.nii.gz", "--version", 1)
    assert told.code == 0, told.err
    assert f"  {NOT_COMPARED}" in told.out.splitlines()
    lines = told.out.splitlines()
    for found in report["vertebrae"]:
        assert any(found["name"] in line and all(flag in line for flag in found["flags"]) for line in lines)
    for name, count in report["stray_voxels"].items():
        voxels = "voxel" if count == 1 else "voxels"
        assert f"  {count} {voxels} labelled {name} belong to no vertebra" in lines
