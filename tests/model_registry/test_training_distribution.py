"""What a version was trained on is read from its bundle, axis by axis; an old bundle has none."""

from collections.abc import Callable
from pathlib import Path

import pytest

from model_registry.bundle import Bundle
from model_registry.training_distribution import FINGERPRINT, training_distribution_of
from spine.errors import MalformedFileError
from spine.storage import write_json

HU = {"mean": 300.0, "median": 276.0, "std": 1.0, "percentile_00_5": -83.0, "percentile_99_5": 1442.0}


@pytest.fixture
def bundle(tmp_path: Path, write_evidence: Callable[..., Bundle]) -> Bundle:
    made = write_evidence(tmp_path / "bundle")
    (made.folder / FINGERPRINT).parent.mkdir(exist_ok=True)
    (made.folder / FINGERPRINT).unlink(missing_ok=True)
    return made


def with_fingerprint(bundle: Bundle, content: object) -> Bundle:
    write_json(bundle.folder / FINGERPRINT, content)
    return bundle


def test_ranges_are_those_of_the_body_s_axes(bundle: Bundle) -> None:
    spacings = [[5.0, 0.7, 0.8], [1.0, 0.9, 0.6], [2.0, 0.8, 0.8]]
    found = training_distribution_of(
        with_fingerprint(
            bundle, {"spacings": spacings, "foreground_intensity_properties_per_channel": {"0": HU}, "more": 1}
        )
    )
    assert found is not None
    assert found.scans == 3
    assert found.least_spacing_mm == (0.6, 0.7, 1.0)
    assert found.largest_spacing_mm == (0.8, 0.9, 5.0)
    assert found.bone_hu == (-83.0, 276.0, 1442.0)


def test_an_old_bundle_without_a_fingerprint_has_none(bundle: Bundle) -> None:
    assert training_distribution_of(bundle) is None


@pytest.mark.parametrize(
    "content",
    [
        {},
        [],
        {"spacings": [], "foreground_intensity_properties_per_channel": {"0": HU}},
        {"spacings": [[1, 2]], "foreground_intensity_properties_per_channel": {"0": HU}},
        {"spacings": [[1, 2, "x"]], "foreground_intensity_properties_per_channel": {"0": HU}},
        {"spacings": [[1, 2, 3]], "foreground_intensity_properties_per_channel": {"0": {"median": 1}}},
        {"spacings": [[1, 2, 3]], "foreground_intensity_properties_per_channel": {}},
    ],
)
def test_what_is_no_fingerprint_is_told_in_one_line(bundle: Bundle, content: object) -> None:
    with pytest.raises(MalformedFileError, match=r"dataset_fingerprint\.json") as caught:
        training_distribution_of(with_fingerprint(bundle, content))
    assert "\n" not in str(caught.value)
