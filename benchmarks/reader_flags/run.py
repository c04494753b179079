"""How often each flag for the reader is raised on right references, and on faults planted into them: the tables."""

import argparse
import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import zoom

from benchmarks.reader_flags.planting import Planted, planted
from model_registry.scan_flags import OUTSIDE_HU, scan_flags
from model_registry.segmentation_report import FLAG_NAMES, report
from model_registry.training_distribution import TrainingDistribution
from spine.labels import MAX_LABEL
from spine.phantom import make_scan
from spine.postprocessing.choice import NOTHING, apply
from spine.postprocessing.decoding import Decoded
from spine.postprocessing.flags import CUT
from spine.postprocessing.instances import find_instances
from spine.postprocessing.label_scores import sampled_evidence, vote_evidence
from spine.postprocessing.volumes import LEVEL_SHARES, NEIGHBOUR_SHARES, VOLUME_MM3
from spine.volume.grid import Grid
from spine.volume.nifti import Volume, read_image, read_labels

Case = tuple[str, Volume, Volume]
REAL = ("abdomen_3mm", "l3_crop_pir")
SPACINGS = ((3.0, 3.0, 3.0), (2.0, 2.0, 2.0), (1.5, 1.5, 5.0))
TRAINED = TrainingDistribution(
    scans=871, least_spacing_mm=(1.5,) * 3, largest_spacing_mm=(1.5,) * 3, bone_hu=(-83.0, 276.0, 1442.0)
)
"""Of the real data set, from its plans."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="real scans (default: %(default)s)")
    parser.add_argument("--phantoms", type=int, default=60)
    given = parser.parse_args()
    sources = {"real": list(real_cases(given.data)), "phantoms": list(phantoms(given.phantoms))}
    for name, cases in sources.items():
        print(f"\n{name}: {len(cases)} scans")
        false_alarms(cases)
        sensitivity(cases)
        wrong_values(cases)
    summary = given.data / "reference_results" / "validation_summary.json"
    if summary.is_file():
        volumes_of_real_masks(summary)
    print(f"\nreport of a 512 x 512 x 400 map: {report_s():.3f} s")


def real_cases(folder: Path) -> Iterator[Case]:
    """Yield the real scans that there are."""
    for name in REAL:
        if (folder / name).is_dir():
            yield name, read_image(folder / name / "ct.nii.gz"), read_labels(folder / name / "labels.nii.gz")


def phantoms(count: int) -> Iterator[Case]:
    """Yield phantoms of any field of view."""
    for patient in range(count):
        random = np.random.default_rng(patient)
        first = int(random.integers(1, MAX_LABEL))
        last = int(random.integers(first, MAX_LABEL + 1))
        scan = make_scan(seed=77, patient=patient, first=first, last=last, spacing_mm=SPACINGS[patient % 3])
        yield f"phantom {patient}", scan.image, scan.labels


def decoded_of(fault: Planted) -> Decoded:
    """Find and name the vertebrae as the server does where nothing is renamed."""
    found = find_instances(fault.labels)
    minds = fault.softmax
    evidence = (
        vote_evidence(found)
        if minds is None
        else sampled_evidence(found, lambda at: minds[fault.reference.array[tuple(at.T)]].astype(np.float32))
    )
    return apply(fault.labels, postprocessing=NOTHING, evidence=evidence, instances=found)


def false_alarms(cases: Sequence[Case]) -> None:
    """Print how often each flag is raised on the references."""
    raised: Counter[str] = Counter()
    vertebrae = 0
    for _, image, labels in cases:
        told = report(
            decoded_of(Planted("none", labels, (), labels, None)),
            image,
            version=1,
            model_digest="",
            training_distribution=TRAINED,
        )
        vertebrae += len(told.vertebrae)
        raised.update(told.raised())
    print(f"right references ({vertebrae} vertebrae), raised:")
    for flag in FLAG_NAMES:
        print(f"  {flag}: {raised[flag]}, {raised[flag] / len(cases):.3f} a scan")


def sensitivity(cases: Sequence[Case]) -> None:
    """Print how many of the planted faults raise a flag that is defined for them, and any flag but a cut."""
    planted_of: Counter[str] = Counter()
    caught: Counter[str] = Counter()
    doubted: Counter[str] = Counter()
    for _, _, labels in cases:
        for fault in planted(labels):
            flags = {flag for named in decoded_of(fault).vertebrae for flag in named.flags}
            key = f"{fault.fault} ({', '.join(fault.expected)})"
            planted_of[key] += 1
            caught[key] += bool(flags & set(fault.expected))
            doubted[key] += bool(flags - {CUT})
    print(f"planted; by a flag that is defined for it; by any but '{CUT}':")
    for key, count in planted_of.items():
        print(f"  {key}: {count}, {caught[key]}, {doubted[key]}")


def wrong_values(cases: Sequence[Case]) -> None:
    """Print how many scans are told whose values are no HU."""
    caught: Counter[str] = Counter()
    for _, image, labels in cases:
        hu = image.array.astype(np.float32)
        for name, array in {
            "offset +1024": hu + 1024,
            "offset -1024": hu - 1024,
            "8 bit, soft tissue window": np.clip((hu + 160) / 400 * 255, 0, 255).round(),
            "8 bit, bone window": np.clip((hu + 450) / 1500 * 255, 0, 255).round(),
            "0-1": np.clip((hu + 1024) / 4095, 0, 1),
            "standardised": (hu - hu.mean()) / hu.std(),
            "inverted": -hu,
            "clipped to -200..200": np.clip(hu, -200, 200),
            "right, clipped to -1000..1000": np.clip(hu, -1000, 1000),
        }.items():
            caught[name] += OUTSIDE_HU in scan_flags(
                Volume(array=array, grid=image.grid), labels, training_distribution=TRAINED
            )
    print(f"{OUTSIDE_HU}:")
    for name, count in caught.items():
        print(f"  {name}: {count} of {len(cases)}")


def volumes_of_real_masks(summary: Path) -> None:
    """Print how often the rule on volumes calls a real vertebra odd that lies two levels inside what is in view.

    Only counts of voxels are known of these masks, by label; S1 is left out as the rule leaves it.
    """
    cases = json.loads(summary.read_text())["metric_per_case"]
    counts = np.array([[case["metrics"][str(label)]["n_ref"] for label in range(1, MAX_LABEL)] for case in cases])
    dice = np.array([[case["metrics"][str(label)]["Dice"] for label in range(1, MAX_LABEL)] for case in cases], float)
    with_sacrum = np.array([case["metrics"]["25"]["n_ref"] > 0 for case in cases])
    shares = counts * 1.5**3 / VOLUME_MM3[1:MAX_LABEL]
    present = np.column_stack([np.ones((len(cases), 2)), counts > 0, with_sacrum, with_sacrum]).astype(bool)
    inside = np.logical_and.reduce([present[:, 2 + by : 26 + by] for by in (-2, -1, 0, 1, 2)])
    odd = np.array([_odd(row, which) for row, which in zip(shares, inside, strict=True)])
    worst = int((dice[odd] < 0.85).sum())
    print(f"\n175 real reference masks, rule on volumes: {int(odd.sum())} of {int(inside.sum())} vertebrae,")
    print(f"{odd.sum() / inside.any(axis=1).sum():.3f} a scan; of {worst} the model's Dice is below 0.85")
    for name, factor in (("half", 0.5), ("a third", 1 / 3), ("two in one", 2.0)):
        caught = [
            _odd(np.where(np.arange(24) == at, row * factor, row), which)[at]
            for row, which in zip(shares, inside, strict=True)
            for at in np.flatnonzero(which)
        ]
        print(f"  {name}: {np.mean(caught):.1%} of {len(caught)} are told")


def _odd(shares: NDArray[np.float64], inside: NDArray[np.bool_]) -> list[bool]:
    row = np.flatnonzero(inside)
    odd = [False] * len(shares)
    for at in row:
        around = [*row[row < at][-2:], *row[row > at][:2]]
        odd[at] = not LEVEL_SHARES[0] <= shares[at] <= LEVEL_SHARES[1]
        if len(around) > 1:
            ratio = shares[at] / np.median(shares[around])
            odd[at] |= not NEIGHBOUR_SHARES[0] <= ratio <= NEIGHBOUR_SHARES[1]
    return odd


def report_s() -> float:
    """Return the median seconds that the report of a large scan takes, once its vertebrae are named."""
    scan = make_scan(seed=31, patient=20, first=8, last=25, spacing_mm=(1.5,) * 3)
    factors = [size / edge for size, edge in zip((512, 512, 400), scan.labels.grid.shape, strict=True)]
    labels, hu = (np.asarray(zoom(each.array, factors, order=0), order="F") for each in (scan.labels, scan.image))
    matrix = scan.labels.grid.matrix.copy()
    matrix[:3, :3] /= factors
    grid = Grid.of(labels.shape, matrix)
    volume, image = Volume(array=labels, grid=grid), Volume(array=hu.astype(np.float32), grid=grid)
    decoded = decoded_of(Planted("none", volume, (), volume, None))
    spent = []
    for _ in range(5):
        started = time.perf_counter()
        report(decoded, image, version=1, model_digest="", training_distribution=TRAINED)
        spent.append(time.perf_counter() - started)
    return sorted(spent)[2]


if __name__ == "__main__":
    main()
