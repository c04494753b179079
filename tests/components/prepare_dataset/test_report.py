"""The report on a data set: strict JSON, a page that stands alone beside its pictures, every warned case drawn."""

import json
import re

import numpy as np
import pytest
from PIL import Image

from components.prepare_dataset.checks.catalogue import CHECKS
from components.prepare_dataset.main import Choices, prepare_dataset
from spine.labels import IDS


@pytest.fixture
def reported(many, files_of, tmp_path):
    """Sixteen scans with a skipped level in one, an empty mask in another, prepared: (report, manifest)."""
    files_of(many, "case_02").change("labels", lambda array: np.where(array == IDS["L2"], 0, array))
    files_of(many, "case_04").change("labels", np.zeros_like)
    manifest = prepare_dataset(raw=many, output=tmp_path / "out", choices=Choices(test_share=0.3))
    return tmp_path / "out.report", manifest


def test_the_json_is_strict_and_counts_every_case_once(reported):
    folder, manifest = reported

    def refused(constant):
        raise AssertionError(constant)

    told = json.loads((folder / "report.json").read_text(), parse_constant=refused)
    cases = told["cases"]
    assert cases["found"] == 16 == cases["training"] + cases["test"] + cases["quarantined"]
    assert told["quarantine"] == ["case_04"] == list(manifest.quarantined)
    assert [check["check"] for check in told["checks"]] == list(CHECKS)
    by_check = {check["check"]: check for check in told["checks"]}
    (gap,) = by_check["contiguous-levels"]["findings"]
    assert gap == {"case": "case_02", "value": 1.0, "message": "L1 is followed by L3"}
    assert by_check["mask-not-empty"]["severity"] == "reject"
    assert sum(len(check["findings"]) for check in told["checks"]) == len(manifest.findings)


def test_every_warned_case_has_a_picture_on_the_page_and_no_other_case(reported):
    folder, manifest = reported
    warned = {case.case for case in manifest.cases if any(each.severity == "warn" for each in case.findings)}
    page = (folder / "index.html").read_text()
    shown = set(re.findall(r'src="pictures/(\w+)\.png"', page))
    assert "case_02" in warned
    assert shown == warned == {path.stem for path in (folder / "pictures").iterdir()}
    with Image.open(folder / "pictures" / "case_02.png") as picture:
        assert picture.width > 600 and len(picture.getcolors(1 << 16)) > 16


def test_the_page_needs_nothing_from_elsewhere_and_names_no_place_of_this_machine(reported, tmp_path):
    page = (reported[0] / "index.html").read_text()
    assert "<script" not in page and "http" not in page and str(tmp_path) not in page
    assert "not for clinical use" in page


def test_the_page_says_why_a_case_was_left_out_and_shows_the_splits(reported):
    page = (reported[0] / "index.html").read_text()
    assert "mask holds no vertebra" in page and "locked test set" in page and "fold 4" in page
    assert page.count("data:image/png;base64,") == 4


def test_a_report_replaces_the_one_before_as_a_whole(reported, many, tmp_path):
    folder, _ = reported
    (folder / "stray").write_text("x")
    before = (folder / "report.json").read_text()
    prepare_dataset(raw=many, output=tmp_path / "out", choices=Choices(test_share=0.3))
    assert not (folder / "stray").exists()
    assert (folder / "report.json").read_text() == before
