"""nnU-Net's fingerprint of a data set, taken case by case, so that a run that was killed goes on where it was."""

import shutil
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from nnunetv2.experiment_planning.dataset_fingerprint.fingerprint_extractor import DatasetFingerprintExtractor
from numpy.typing import NDArray

from spine.errors import InvalidValueError
from spine.nnunet.cases import DecodedCase, OnCase, read_case, training_case, training_cases
from spine.nnunet.decoded import Scratch
from spine.nnunet.parallel import crew_for, each_case
from spine.storage import atomic_file, write_json
from spine.volume.cropping import content_box, slices_of

FINGERPRINT_FILE = "dataset_fingerprint.json"
_FOREGROUND_SAMPLES = 10e7
"""Foreground voxels that DatasetFingerprintExtractor draws over the whole set."""
_BYTES_A_VOXEL = 10
"""An image of up to four bytes, its decoded stream, a label map and two masks."""


def take_fingerprint(*, dataset: Path, target: Path, scratch: Scratch, threads: int, on_case: OnCase) -> None:
    """Write the fingerprint of a raw data set's training cases to ``target``, the same as nnU-Net's own.

    What is known of single cases is kept in a folder beside ``target`` until the whole is written. What was decoded
    is left in ``scratch`` as far as it has room.
    """
    cases = training_cases(dataset)
    samples = int(_FOREGROUND_SAMPLES // len(cases))
    partials = target.parent / ".fingerprint"
    partials.mkdir(parents=True, exist_ok=True)
    done = [case for case in cases if _part(partials, case, samples).is_file()]
    owed = {case: training_case(dataset, case) for case in cases if case not in done}
    voxels = {name: case.voxels for name, case in owed.items()}
    for index in range(len(done)):
        on_case("fingerprint", index + 1, len(cases))
    needed = {case: count * _BYTES_A_VOXEL + samples * 8 for case, count in voxels.items()}
    crew = crew_for(
        voxels=sum(voxels.values()), bytes_a_case=max(needed.values(), default=0), cases=len(needed), threads=threads
    )
    granted = scratch.grant({case.image: case.decoded_bytes for case in owed.values()})
    work = partial(_keep, dataset=dataset, partials=partials, samples=samples, scratch=granted)
    for index, _ in enumerate(each_case(work, needed, crew=crew), start=len(done)):
        on_case("fingerprint", index + 1, len(cases))
    write_json(target, _merged([_part(partials, case, samples) for case in cases], samples=samples))
    shutil.rmtree(partials)


def _part(partials: Path, case: str, samples: int) -> Path:
    return partials / f"{case}-{samples}.npz"


def _keep(case: str, *, dataset: Path, partials: Path, samples: int, scratch: Scratch) -> None:
    """Read a case and write what the fingerprint takes from it."""
    files = training_case(dataset, case)
    decoded = read_case(files.image, files.labels)
    scratch.keep(files.image, decoded)
    shape, cropped, spacing, foreground = _analyze(decoded)
    is_drawn = foreground.nbytes > samples * np.dtype(np.float32).itemsize
    intensities = _draw(foreground, samples) if is_drawn else foreground
    size = np.prod(cropped) / np.prod(shape)
    with atomic_file(_part(partials, case, samples)) as path:
        np.savez(path, shape=cropped, spacing=spacing, size=size, intensities=intensities, is_drawn=is_drawn)


def _analyze(case: DecodedCase) -> tuple[tuple[int, ...], tuple[int, ...], list[float], NDArray[Any]]:
    """Return the shape before and after cropping to what is not zero, the spacing, and values of labelled voxels."""
    image, labels = case.image[0], case.labels[0]
    box = slices_of(content_box(image != 0))
    cropped = tuple(extent.stop - extent.start for extent in box)
    return image.shape, cropped, case.properties["spacing"], image[box][labels[box] > 0]


def _draw(foreground: NDArray[Any], samples: int) -> NDArray[Any]:
    """Draw values as nnU-Net does, which looks at nothing but the foreground, in order: that is all it is given."""
    values = foreground.astype(np.float32)[None, None, None]
    (drawn,), _ = DatasetFingerprintExtractor.collect_foreground_intensities(
        np.ones_like(values, dtype=np.int8), values, num_samples=samples
    )
    return np.asarray(drawn)


def _merged(parts: list[Path], *, samples: int) -> dict[str, Any]:
    shapes, spacings, sizes, drawn = [], [], [], []
    for part in parts:
        with np.load(part) as kept:
            shapes.append([int(edge) for edge in kept["shape"]])
            spacings.append([float(edge) for edge in kept["spacing"]])
            sizes.append(float(kept["size"]))
            drawn.append(kept["intensities"] if kept["is_drawn"] else _draw(kept["intensities"], samples))
    values = np.concatenate(drawn)
    del drawn
    if not values.size:
        raise InvalidValueError("voxels with a label", 0, expected="some in the training cases")
    properties = {"mean": values.mean(), "std": values.std(), "min": values.min(), "max": values.max()}
    low, median, high = np.percentile(values, (0.5, 50.0, 99.5), overwrite_input=True)
    properties |= {"median": median, "percentile_99_5": high, "percentile_00_5": low}
    return {
        "spacings": spacings,
        "shapes_after_crop": shapes,
        "foreground_intensity_properties_per_channel": {
            "0": {name: float(value) for name, value in properties.items()}
        },
        "median_relative_size_after_cropping": float(np.median(sizes)),
    }
