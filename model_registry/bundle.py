"""The bundle of a model version: everything that serves and explains it, in one folder under one digest."""

from pathlib import Path
from typing import Any

from model_registry.errors import UnlistedFileError
from spine.errors import DigestMismatchError, MissingPathError
from spine.storage import digest_file, read_json
from spine.values import StoredValue

MANIFEST_FILE = "bundle.json"
MODEL_FOLDER = "model"
GOLDEN_IMAGE, GOLDEN_LABELS = "golden/image.nii.gz", "golden/labels.nii.gz"
_EXPECTED = "the bundle of a model version"
_PASSED_OVER = ("__pycache__", "registered_model_meta")
"""Names of what Python and MLflow put beside the files of a bundle that they use."""


class BundleManifest(StoredValue):
    """What a bundle holds: a digest a file, and the digests of the records that it comes from."""

    files: dict[str, str]
    folds: dict[int, str]
    """Digest of the weights by fold."""
    configuration: str
    recipe_name: str
    plan: str
    evaluation: str
    verdict: str
    git_revision: str
    dvc_hash: str


class Bundle:
    """A bundle in a folder; nothing of it is trusted before ``verify``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.manifest = BundleManifest.from_stored(
            read_json(folder / MANIFEST_FILE, expected=_EXPECTED), where=folder / MANIFEST_FILE
        )

    @property
    def digest(self) -> str:
        """One digest over all files: that of the manifest that lists theirs."""
        return self.manifest.digest

    def require(self, expected: str) -> None:
        """Raise DigestMismatchError where this is another bundle than the one of a recorded digest."""
        if self.digest != expected:
            raise DigestMismatchError(self.folder / MANIFEST_FILE, found=self.digest, expected=expected)

    def verify(self, *, expected: str) -> None:
        """Check the manifest against the recorded digest and every file against the manifest.

        Raises DigestMismatchError, MissingPathError or UnlistedFileError naming the file.
        """
        self.require(expected)
        for name, digest in self.manifest.files.items():
            path = self.folder / name
            if not path.is_file():
                raise MissingPathError(path, expected=f"a file of {_EXPECTED}")
            found = digest_file(path)
            if found != digest:
                raise DigestMismatchError(path, found=found, expected=digest)
        self._require_listed()

    def fold_digest(self, fold: int) -> str:
        """Return the digest of a fold's weights; raises MissingPathError where the version lacks the fold."""
        if fold not in self.manifest.folds:
            held = ", ".join(str(number) for number in sorted(self.manifest.folds))
            raise MissingPathError(self.fold_path(fold), expected=f"one of the version's folds: {held}")
        return self.manifest.folds[fold]

    def fold_path(self, fold: int) -> Path:
        """Return where a fold's checkpoint lies."""
        return self.folder / MODEL_FOLDER / f"fold_{fold}" / "checkpoint_final.pth"

    def json(self, name: str) -> Any:
        """Read one of the bundle's JSON files, such as ``verdict.json``."""
        return read_json(self.folder / name, expected=_EXPECTED)

    def _require_listed(self) -> None:
        for path in sorted(self.folder.rglob("*")):
            name = path.relative_to(self.folder)
            known = name.as_posix() in self.manifest.files or name == Path(MANIFEST_FILE)
            if path.is_file() and not known and not any(part in _PASSED_OVER for part in name.parts):
                raise UnlistedFileError(path)


def evidence_pack_path(bundle: Path, version: int) -> Path:
    """Return where the evidence pack of a version lies: beside the folder of its bundle."""
    return bundle.parent / f"evidence-{version}.zip"


def list_files(folder: Path) -> dict[str, str]:
    """Return the digest of every file below ``folder`` by its relative name, the manifest left out."""
    return {
        path.relative_to(folder).as_posix(): digest_file(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != MANIFEST_FILE
    }
