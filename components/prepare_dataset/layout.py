"""The raw layout ``volumes/`` and ``segmentations/``: one mask a volume, found by name, never by position."""

import csv
from dataclasses import dataclass
from pathlib import Path

from spine.errors import MalformedFileError, MissingPathError
from spine.volume.nifti import SUFFIXES, case_name

_EXPECTED = "a folder with volumes/ and segmentations/ holding files of the same names (.nii or .nii.gz)"


@dataclass(frozen=True)
class RawCase:
    """A volume and its mask before anything was read of them; either may be missing."""

    case: str
    patient: str
    image: Path | None
    labels: Path | None
    duplicates: tuple[Path, ...] = ()
    """Further files that claim the same case, such as both ``a.nii`` and ``a.nii.gz``."""


def find_cases(raw: Path) -> list[RawCase]:
    """List the cases of a raw folder, sorted by name; patients come from ``patients.csv`` where it is there."""
    if not raw.is_dir():
        raise MissingPathError(raw, expected=_EXPECTED)
    images, labels = (_by_case(raw / name, within=raw) for name in ("volumes", "segmentations"))
    if not images:
        raise MissingPathError(raw / "volumes", expected="at least one .nii or .nii.gz volume")
    patients = _patients(raw / "patients.csv")
    if patients and not patients.keys() & (images.keys() | labels.keys()):
        reason = f"names no case of {raw}; its first is '{next(iter(patients))}'"
        raise MalformedFileError(raw / "patients.csv", reason=reason, expected=f"names such as '{min(images)}'")
    cases = []
    for case in sorted(images.keys() | labels.keys()):
        volumes, masks = images.get(case, []), labels.get(case, [])
        cases.append(
            RawCase(
                case=case,
                patient=patients.get(case, case),
                image=volumes[0] if volumes else None,
                labels=masks[0] if masks else None,
                duplicates=tuple(volumes[1:] + masks[1:]),
            )
        )
    return cases


def _by_case(folder: Path, *, within: Path) -> dict[str, list[Path]]:
    if not folder.is_dir():
        raise MissingPathError(folder, expected=f"{_EXPECTED} below {within}")
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        if path.name.endswith(SUFFIXES) and not path.name.startswith("."):
            found.setdefault(case_name(path), []).append(path)
    return found


def _patients(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    expected = "a CSV with the header case,patient"
    try:
        # Spreadsheets begin a CSV with a byte order mark.
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream)
            header, rows = reader.fieldnames or [], list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise MalformedFileError(path, reason=f"can't be read ({error})", expected=expected) from error
    if not {"case", "patient"} <= set(header):
        raise MalformedFileError(path, reason=f"header is '{','.join(header)}'", expected=expected)
    patients: dict[str, str] = {}
    for row in rows:
        case, patient = row["case"], row["patient"]
        if case and patient and patients.setdefault(case, patient) != patient:
            reason = f"case '{case}' is of patients '{patients[case]}' and '{patient}'"
            raise MalformedFileError(path, reason=reason, expected="one patient a case")
    return patients
