"""What a prepared data set says of itself: cases, findings, and who is in which split."""

from pathlib import Path
from typing import Literal

from spine.nnunet.workspace import CHANNEL_SUFFIX
from spine.storage import read_json
from spine.values import Value

MANIFEST_FILE = "manifest.json"
SPLITS_FILE = "splits_final.json"


class Finding(Value):
    """One thing that a check found in one case."""

    check: str
    severity: Literal["reject", "warn", "note"]
    case: str
    message: str


class Case(Value):
    """One accepted case of a prepared data set."""

    case: str
    patient: str
    split: Literal["train", "test"]
    fold: int | None
    """The fold that validates on this case; None for the locked test set."""
    image_sha256: str
    labels_sha256: str
    spacing_mm: tuple[float, float, float]
    shape: tuple[int, int, int]
    source_orientation: str
    label_voxels: dict[str, int]
    """Voxels by vertebra name."""
    border: tuple[str, ...]
    """Names of the vertebrae that the border of the field of view cuts."""


class Manifest(Value):
    """A row a case, the findings, and what was quarantined."""

    seed: int
    cases: tuple[Case, ...]
    quarantined: tuple[str, ...]
    findings: tuple[Finding, ...]

    @classmethod
    def of(cls, dataset: Path) -> "Manifest":
        """Read the manifest of a prepared data set."""
        path = dataset / MANIFEST_FILE
        return cls.parse(read_json(path, expected="the manifest of a prepared data set"), where=path)

    def members(self, *, split: str, fold: int | None = None) -> list[Case]:
        """Return the cases of a split, of one fold's validation where ``fold`` is given."""
        return [case for case in self.cases if case.split == split and (fold is None or case.fold == fold)]

    @property
    def patients(self) -> dict[str, str]:
        """Patient by case."""
        return {case.case: case.patient for case in self.cases}


def image_path(dataset: Path, case: Case) -> Path:
    """Return where a prepared data set keeps a case's image."""
    return dataset / f"images{_folder(case)}" / f"{case.case}{CHANNEL_SUFFIX}.nii.gz"


def labels_path(dataset: Path, case: Case) -> Path:
    """Return where a prepared data set keeps a case's label map."""
    return dataset / f"labels{_folder(case)}" / f"{case.case}.nii.gz"


def _folder(case: Case) -> str:
    return "Tr" if case.split == "train" else "Ts"
