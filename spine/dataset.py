"""What a prepared data set says of itself: a row a case, findings, and who is in which split."""

from pathlib import Path
from typing import Final, Literal

from spine.nnunet.workspace import CHANNEL_SUFFIX
from spine.storage import read_json
from spine.values import StoredValue, Value

MANIFEST_FILE = "manifest.json"
SPLITS_FILE = "splits_final.json"
FOLDS: Final = 5

Severity = Literal["reject", "warn", "note"]
Split = Literal["train", "test"]


class Finding(Value):
    """One thing that a check found in one case."""

    check: str
    """The check's name: one of a fixed list, the same in every release."""
    severity: Severity
    case: str
    value: float
    """The number that the check measured; what it counts or measures is told by the message."""
    message: str


class Scan(Value):
    """What is known of an accepted image and its mask, whatever set they are in."""

    image_sha256: str
    labels_sha256: str
    voxels_sha256: str
    """Of the image's HU in canonical order, whatever file they came in: by it duplicates are known."""
    spacing_mm: tuple[float, float, float]
    shape: tuple[int, int, int]
    source_orientation: str
    label_voxels: dict[str, int]
    """Voxels by vertebra name."""
    border: tuple[str, ...]
    """Names of the vertebrae that the border of the field of view cuts."""
    fragments: tuple[str, ...]
    """Those of them of which only a sliver is seen."""


class Case(Scan):
    """One accepted case of a prepared data set."""

    case: str
    patient: str
    split: Split
    fold: int | None
    """The fold that validates on this case; None for the locked test set."""
    source: tuple[str, ...]
    """Where the case came from, relative to the raw folder: its image, then its mask."""
    findings: tuple[Finding, ...]


class Quarantined(Value):
    """One case that was left out, with the reason."""

    case: str
    patient: str
    findings: tuple[Finding, ...]


class Manifest(StoredValue):
    """A row a case, accepted or quarantined."""

    seed: int
    layout: str
    label_map: str
    cases: tuple[Case, ...]
    quarantine: tuple[Quarantined, ...]

    @classmethod
    def of(cls, dataset: Path) -> "Manifest":
        """Read the manifest of a prepared data set."""
        path = dataset / MANIFEST_FILE
        return cls.from_stored(read_json(path, expected="the manifest of a prepared data set"), where=path)

    def members(self, *, split: str, fold: int | None = None) -> list[Case]:
        """Return the cases of a split, of one fold's validation where ``fold`` is given."""
        return [case for case in self.cases if case.split == split and (fold is None or case.fold == fold)]

    @property
    def empty_folds(self) -> tuple[int, ...]:
        """Folds that no case validates: with fewer than five patients to train on, they can't be trained."""
        return tuple(fold for fold in range(FOLDS) if not self.members(split="train", fold=fold))

    @property
    def patients(self) -> dict[str, str]:
        """Patient by case."""
        return {case.case: case.patient for case in self.cases}

    @property
    def quarantined(self) -> tuple[str, ...]:
        """Names of the cases that were left out."""
        return tuple(row.case for row in self.quarantine)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All findings, in order of their cases."""
        rows: list[Case | Quarantined] = [*self.cases, *self.quarantine]
        return tuple(finding for row in sorted(rows, key=lambda row: row.case) for finding in row.findings)


def image_path(dataset: Path, case: Case) -> Path:
    """Return where a prepared data set keeps a case's image."""
    return dataset / f"images{_folder(case)}" / f"{case.case}{CHANNEL_SUFFIX}.nii.gz"


def labels_path(dataset: Path, case: Case) -> Path:
    """Return where a prepared data set keeps a case's label map."""
    return dataset / f"labels{_folder(case)}" / f"{case.case}.nii.gz"


def _folder(case: Case) -> str:
    return "Tr" if case.split == "train" else "Ts"
