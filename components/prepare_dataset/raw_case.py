"""A case before anything was read of it, and the table that says which cases are of one patient."""

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from components.prepare_dataset.label_maps import OURS, LabelMap
from spine.errors import MalformedFileError, MissingPathError
from spine.volume.nifti import SUFFIXES, case_name

PATIENTS_FILE = "patients.csv"


@dataclass(frozen=True)
class RawCase:
    """A volume and its mask as a layout pairs them; either may be missing."""

    case: str
    image: Path | None
    """A NIfTI file, or the folder of a DICOM series."""
    labels: Path | None
    """A label map, or the folder of one mask a vertebra."""
    patient: str | None = None
    """None where neither the layout nor the table of patients says it."""
    in_patients_table: bool = True
    """False where there is a table of patients, and it leaves the case out."""
    label_map: LabelMap = OURS
    duplicates: tuple[Path, ...] = ()
    """Further files that claim the same case, such as both ``a.nii`` and ``a.nii.gz``."""
    centroids: Path | None = None
    """VerSe's centroid file, by which the mask is checked."""
    source: tuple[str, ...] = ()
    """Image and mask, relative to the raw folder."""

    def files(self) -> list[Path]:
        """Return every file that the case is made of, sorted."""
        places = [place for place in (self.image, self.labels, self.centroids) if place is not None]
        return sorted(file for place in places for file in _files_of(place))


def pair(images: dict[str, list[Path]], labels: dict[str, list[Path]], *, label_map: LabelMap = OURS) -> list[RawCase]:
    """Pair volumes and masks by the case that each claims, never by position; sorted by case."""
    cases = []
    for case in sorted(images.keys() | labels.keys()):
        volumes, masks = images.get(case, []), labels.get(case, [])
        cases.append(
            RawCase(
                case=case,
                image=volumes[0] if volumes else None,
                labels=masks[0] if masks else None,
                label_map=label_map,
                duplicates=tuple(volumes[1:] + masks[1:]),
            )
        )
    return cases


def volumes_in(paths: Iterable[Path], *, ending: str = "") -> dict[str, list[Path]]:
    """Return NIfTI files by case: their name without suffix and ``ending``; hidden and other files are left out."""
    found: dict[str, list[Path]] = {}
    for path in sorted(paths):
        name = case_name(path)
        if path.name.endswith(SUFFIXES) and not path.name.startswith(".") and name.endswith(ending):
            found.setdefault(name.removesuffix(ending), []).append(path)
    return found


def patients_of(raw: Path, *, cases: Iterable[str]) -> dict[str, str]:
    """Read ``patients.csv`` (case,patient) where it is there; one that could mix patients up is refused."""
    path = raw / PATIENTS_FILE
    if not path.is_file():
        return {}
    patients = read_patients(path)
    known = sorted(cases)
    if patients and known and not patients.keys() & set(known):
        reason = f"names no case of {raw}; its first is '{next(iter(patients))}'"
        raise MalformedFileError(path, reason=reason, expected=f"names such as '{known[0]}'")
    return patients


def read_patients(path: Path) -> dict[str, str]:
    """Read a CSV with columns case and patient as patients by case.

    Raises MissingPathError, and MalformedFileError where it is no such CSV or gives a case two patients.
    """
    expected = "a CSV with the header case,patient"
    if not path.is_file():
        raise MissingPathError(path, expected=expected)
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
        case, patient = (str(row[column] or "").strip() for column in ("case", "patient"))
        if case and patient and patients.setdefault(case, patient) != patient:
            reason = f"case '{case}' is of patients '{patients[case]}' and '{patient}'"
            raise MalformedFileError(path, reason=reason, expected="one patient a case")
    return patients


def _files_of(place: Path) -> Iterable[Path]:
    # A pipe or a device would be waited for, a link to nowhere has no content: reading tells what they are.
    return (file for file in (place.rglob("*") if place.is_dir() else (place,)) if file.is_file())
