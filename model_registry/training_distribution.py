"""What a version's network was trained on, as far as a scan can be compared with it: voxel sizes and HU."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from model_registry.bundle import MODEL_FOLDER, Bundle
from spine.errors import MalformedFileError
from spine.storage import read_json
from spine.values import Value

FINGERPRINT = f"{MODEL_FOLDER}/dataset_fingerprint.json"


class TrainingDistribution(Value):
    """The training scans of a version; axes are left-right, anterior-posterior, superior-inferior."""

    scans: int
    least_spacing_mm: tuple[float, float, float]
    largest_spacing_mm: tuple[float, float, float]
    bone_hu: tuple[float, float, float]
    """Of the voxels of vertebrae: percentile 0.5, median, percentile 99.5."""


def training_distribution_of(bundle: Bundle) -> TrainingDistribution | None:
    """Return what a bundle's network was trained on; None where the bundle holds no fingerprint of its data.

    Raises MalformedFileError for a file that is none of nnU-Net's fingerprints.
    """
    file = bundle.folder / FINGERPRINT
    if not file.is_file():
        return None
    return _read(read_json(file, expected="nnU-Net's fingerprint of a data set"), file)


def _read(fingerprint: Any, file: Path) -> TrainingDistribution:
    try:
        spacings: list[Sequence[float]] = [tuple(float(edge) for edge in case) for case in fingerprint["spacings"]]
        # nnU-Net's axes run superior-inferior, anterior-posterior, left-right, before it transposes them.
        superior, anterior, right = zip(*spacings, strict=True)
        hu = fingerprint["foreground_intensity_properties_per_channel"]["0"]
        return TrainingDistribution(
            scans=len(spacings),
            least_spacing_mm=(min(right), min(anterior), min(superior)),
            largest_spacing_mm=(max(right), max(anterior), max(superior)),
            bone_hu=(float(hu["percentile_00_5"]), float(hu["median"]), float(hu["percentile_99_5"])),
        )
    except (KeyError, TypeError, ValueError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise MalformedFileError(file, reason=reason, expected="spacings and intensities of a data set") from error
