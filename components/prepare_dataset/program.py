"""Prepare a data set: check every raw case, bring it to one canonical form, split by patient, write a manifest."""

import argparse
import hashlib
from dataclasses import dataclass
from pathlib import Path

from components.prepare_dataset.checks import CheckedCase, check_case
from components.prepare_dataset.layout import find_cases
from components.prepare_dataset.splits import FOLDS, locked_test_patients, validation_folds
from spine import progress
from spine.dataset import MANIFEST_FILE, SPLITS_FILE, Case, Finding, Manifest, image_path, labels_path
from spine.errors import InvalidValueError
from spine.labels import IDS, NAMES
from spine.logs import run_program
from spine.storage import atomic_folder, digest_file, write_json
from spine.volume.nifti import Volume, write_volume

STEP = "prepare_dataset"


@dataclass(frozen=True)
class Choices:
    """How a data set is split, and when too much of it was refused."""

    seed: int = 1
    test_share: float = 0.2
    rejects_allowed: float = 0.5
    """The share of cases that may be quarantined before the whole set is refused."""


def prepare_dataset(*, raw: Path, output: Path, choices: Choices) -> Manifest:
    """Check, canonicalise and split the scans of ``raw`` into ``output``, whole or not at all."""
    if not 0 < choices.test_share < 1:
        raise InvalidValueError("test share", choices.test_share, expected="a number between 0 and 1")
    raw_cases = find_cases(raw)
    _require_replaceable(output, raw=raw)
    test = locked_test_patients({case.patient for case in raw_cases}, seed=choices.seed, share=choices.test_share)
    folds = validation_folds({case.patient for case in raw_cases} - test, seed=choices.seed)
    accepted: list[Case] = []
    findings: list[Finding] = []
    quarantined: list[str] = []
    first_with: dict[str, str] = {}
    with atomic_folder(output) as partial:
        for index, raw_case in enumerate(raw_cases):
            checked, found = check_case(raw_case)
            findings += found
            if checked:
                twin = first_with.setdefault(_voxel_hash(checked), raw_case.case)
                if twin != raw_case.case:
                    message = f"same voxels as {twin}"
                    findings.append(Finding(check="duplicate", severity="reject", case=raw_case.case, message=message))
                    checked = None
            if checked:
                accepted.append(_write_case(partial, checked, fold=folds.get(raw_case.patient)))
            else:
                quarantined.append(raw_case.case)
            progress.report(STEP, "check and convert", done=index + 1, total=len(raw_cases))
        _require_enough(accepted, quarantined, findings, allowed=choices.rejects_allowed, raw=raw)
        manifest = Manifest(
            seed=choices.seed,
            cases=tuple(accepted),
            quarantined=tuple(quarantined),
            findings=tuple(findings),
        )
        _write_descriptions(partial, manifest)
    return manifest


def _require_replaceable(output: Path, *, raw: Path) -> None:
    """Refuse an output whose replacement as a whole would delete something else than a prepared data set."""
    if raw.resolve().is_relative_to(output.resolve()):
        raise InvalidValueError("output", str(output), expected=f"a folder that doesn't hold the raw scans of {raw}")
    if output.is_dir() and any(output.iterdir()) and not (output / MANIFEST_FILE).is_file():
        raise InvalidValueError("output", str(output), expected="a new folder, or a prepared data set to replace")
    if output.exists() and not output.is_dir():
        raise InvalidValueError("output", str(output), expected="a folder, not a file")


def _write_case(output: Path, checked: CheckedCase, *, fold: int | None) -> Case:
    case = Case(
        case=checked.raw.case,
        patient=checked.raw.patient,
        split="test" if fold is None else "train",
        fold=fold,
        image_sha256="",
        labels_sha256="",
        spacing_mm=checked.image.grid.spacing_mm,
        shape=checked.image.grid.shape,
        source_orientation=checked.source_orientation,
        label_voxels={NAMES[label]: count for label, count in checked.label_voxels.items()},
        border=tuple(NAMES[label] for label in checked.border),
    )
    image, labels = image_path(output, case), labels_path(output, case)
    write_volume(image, Volume(array=checked.image.array.round().astype("int16"), grid=checked.image.grid))
    write_volume(labels, checked.labels)
    return case.model_copy(update={"image_sha256": digest_file(image), "labels_sha256": digest_file(labels)})


def _voxel_hash(checked: CheckedCase) -> str:
    return hashlib.sha256(checked.image.array.tobytes()).hexdigest()


def _require_enough(
    accepted: list[Case], quarantined: list[str], findings: list[Finding], *, allowed: float, raw: Path
) -> None:
    share = len(quarantined) / (len(accepted) + len(quarantined))
    rejects = [finding for finding in findings if finding.severity == "reject"]
    if share > allowed or not accepted:
        first = f"; first: {rejects[0].case}: {rejects[0].message}" if rejects else ""
        raise InvalidValueError(
            f"share of refused cases in {raw}", round(share, 3), expected=f"at most {allowed}{first}"
        )
    for split in ("train", "test"):
        if not any(case.split == split for case in accepted):
            raise InvalidValueError(
                f"number of {split} cases in {raw}",
                0,
                expected="at least one; change the seed or the test share",
            )


def _write_descriptions(output: Path, manifest: Manifest) -> None:
    training = manifest.members(split="train")
    splits = [
        {
            "train": sorted(case.case for case in training if case.fold != fold),
            "val": sorted(case.case for case in training if case.fold == fold),
        }
        for fold in range(FOLDS)
    ]
    write_json(output / SPLITS_FILE, splits)
    write_json(output / MANIFEST_FILE, manifest.model_dump(mode="json"))
    write_json(
        output / "dataset.json",
        {
            "name": "Vertebrae",
            "channel_names": {"0": "CT"},
            "labels": {"background": 0, **IDS},
            "numTraining": len(training),
            "file_ending": ".nii.gz",
            "overwrite_image_reader_writer": "SimpleITKIO",
        },
    )


def main(argv: list[str] | None = None) -> int:
    """Run the step from the command line, as ``dvc.yaml`` does."""
    parser = argparse.ArgumentParser(prog="python -m components.prepare_dataset", description=__doc__)
    parser.add_argument("--raw", type=Path, required=True, help="folder with volumes/ and segmentations/")
    parser.add_argument("--output", type=Path, required=True, help="folder of the prepared data set")
    parser.add_argument("--seed", type=int, default=Choices.seed, help="seed of the splits (default: %(default)s)")
    parser.add_argument("--test-share", type=float, default=Choices.test_share, help="share of patients to lock away")
    arguments = parser.parse_args(argv)

    def work() -> str:
        choices = Choices(seed=arguments.seed, test_share=arguments.test_share)
        manifest = prepare_dataset(raw=arguments.raw, output=arguments.output, choices=choices)
        return (
            f"{len(manifest.members(split='train'))} training and {len(manifest.members(split='test'))} test cases, "
            f"{len(manifest.quarantined)} quarantined"
        )

    return run_program(work)
