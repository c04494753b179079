"""The metrics: names and types that scrapers accept, what is counted, and labels that never grow without end."""

import shutil
import subprocess
from dataclasses import dataclass

import pytest
from prometheus_client.parser import text_string_to_metric_families

from components.serve_model.telemetry import Telemetry
from model_registry.segmentation_report import FLAG_NAMES, GridOfScan, SegmentationReport


@dataclass(frozen=True)
class Live:
    """What metrics need of a live model."""

    version: int
    digest: str = "sha256:" + "a" * 64
    golden_dice: float = 0.997


def samples(telemetry: Telemetry) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    families = text_string_to_metric_families(telemetry.text().decode())
    return {
        (sample.name.removeprefix("spineline_"), tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def report(*, flags: tuple[str, ...] = (), spacing_mm: tuple[float, float, float] = (3.0, 0.8, 0.7)):
    grid = GridOfScan(shape=(4, 4, 4), spacing_mm=spacing_mm, orientation="RAS", affine=((1.0,) * 4,) * 4)
    return SegmentationReport(
        version=1, model_digest="sha256:0", grid=grid, vertebrae=(), stray_voxels={}, flags=flags, remarks=()
    )


def used() -> Telemetry:
    telemetry = Telemetry()
    telemetry.requested("/v1/model", 200)
    telemetry.swapped("loaded", live=Live(1))
    telemetry.answered(status=200, version=1)
    telemetry.segmented(report(flags=FLAG_NAMES[:1]))
    with telemetry.stage("predict"):
        pass
    telemetry.watch_tokens(lambda: None)
    return telemetry


def test_every_name_has_the_prefix_and_a_help() -> None:
    families = list(text_string_to_metric_families(used().text().decode()))
    assert len(families) > 10
    assert all(family.name.startswith("spineline_") and family.documentation for family in families)


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_promtool_has_nothing_to_say() -> None:
    told = subprocess.run(["promtool", "check", "metrics"], input=used().text(), capture_output=True)
    assert (told.returncode, told.stdout, told.stderr) == (0, b"", b"")


def test_requests_are_counted_by_status_and_the_version_that_answered() -> None:
    telemetry = Telemetry()
    telemetry.answered(status=503, version=None)
    telemetry.swapped("loaded", live=Live(1))
    telemetry.answered(status=200, version=1)
    telemetry.answered(status=200, version=1)
    telemetry.answered(status=422, version=1)
    told = samples(telemetry)
    assert told["segmentation_requests_total", (("status", "503"), ("version", "none"))] == 1
    assert told["segmentation_requests_total", (("status", "200"), ("version", "1"))] == 2
    assert told["segmentation_requests_total", (("status", "422"), ("version", "1"))] == 1


def test_versions_that_were_live_long_ago_leave_the_labels() -> None:
    telemetry = Telemetry()
    for version in range(1, 101):
        telemetry.swapped("loaded", live=Live(version))
        telemetry.answered(status=200, version=version)
    telemetry.answered(status=200, version=3)
    told = [dict(labels)["version"] for name, labels in samples(telemetry) if name == "segmentation_requests_total"]
    assert sorted(told) == sorted([*(str(version) for version in range(93, 101)), "other"])
    assert [dict(labels)["version"] for name, labels in samples(telemetry) if name == "live_model_info"] == ["100"]


def test_the_model_that_answers_and_its_golden_case_are_told() -> None:
    telemetry = Telemetry()
    telemetry.swapped("loaded", live=Live(1))
    telemetry.swapped("warm", live=Live(2, golden_dice=0.992))
    told = samples(telemetry)
    assert told["live_model_info", (("digest", "a" * 12), ("version", "2"))] == 1
    assert told["golden_case_dice", ()] == 0.992
    assert told["model_swaps_total", (("result", "loaded"),)] == 1
    assert told["model_swaps_total", (("result", "warm"),)] == 1
    assert told["model_swaps_total", (("result", "failed"),)] == 0
    telemetry.shows(None)
    assert not [name for name, _ in samples(telemetry) if name == "live_model_info"]


def test_a_stage_is_timed_up_to_ten_minutes_also_where_it_fails() -> None:
    telemetry = Telemetry()
    with pytest.raises(ValueError, match="odd"), telemetry.stage("predict"):
        raise ValueError("odd")
    told = samples(telemetry)
    assert told["segmentation_stage_seconds_count", (("stage", "predict"),)] == 1
    assert ("segmentation_stage_seconds_bucket", (("le", "600.0"), ("stage", "predict"))) in told


def test_flags_vertebrae_and_spacing_of_answers_are_counted() -> None:
    telemetry = Telemetry()
    telemetry.segmented(report(flags=FLAG_NAMES[:2]))
    telemetry.segmented(report(flags=(FLAG_NAMES[0], "made up by somebody")))
    told = samples(telemetry)
    flags = {dict(labels)["flag"]: value for (name, labels), value in told.items() if name == "flags_total"}
    assert set(flags) == {*FLAG_NAMES, "other"}
    assert (flags[FLAG_NAMES[0]], flags[FLAG_NAMES[1]], flags["other"]) == (2, 1, 1)
    assert told["vertebrae_found_count", ()] == 2
    assert told["input_spacing_mm_bucket", (("axis", "coarsest"), ("le", "2.5"))] == 0
    assert told["input_spacing_mm_bucket", (("axis", "coarsest"), ("le", "3.0"))] == 2
    assert told["input_spacing_mm_bucket", (("axis", "finest"), ("le", "0.75"))] == 2


def test_trouble_with_the_tokens_file_and_the_audit_log_is_told() -> None:
    telemetry = Telemetry()
    problem: list[str] = []
    telemetry.watch_tokens(lambda: problem[0] if problem else None)
    assert samples(telemetry)["tokens_file_problem", ()] == 0
    problem.append("broken")
    telemetry.audit_line_lost()
    told = samples(telemetry)
    assert (told["tokens_file_problem", ()], told["audit_lines_lost_total", ()]) == (1, 1)
