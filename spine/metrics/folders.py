"""Evaluating a folder of predictions against a folder of references, one score per reference."""

from collections.abc import Callable, Mapping
from pathlib import Path

from spine.errors import InvalidValueError, MissingPathError
from spine.metrics.scans import score_scan
from spine.metrics.scores import Evaluation, ScanScores
from spine.metrics.summary import summarize
from spine.volume.nifti import SUFFIXES, case_name, read_labels


def evaluate_folders(
    *,
    references: Path,
    predictions: Path,
    name: str,
    patients: Mapping[str, str] | None = None,
    on_case: Callable[[str], None] | None = None,
) -> Evaluation:
    """Score every reference (``.nii`` or ``.nii.gz``) against the prediction of the same case name.

    A reference without a prediction scores 0 and is named; a prediction without a reference is not looked at.
    ``patients`` maps case to patient, ``on_case`` is told each case once it is scored, in order of name.

    Raises MissingPathError (a folder is not there, or has no references), InvalidValueError (two files for
    one case, or not one prediction with the name of a reference), UnreadableVolumeError, LabelValueError and
    GridMismatchError (a volume that can't be scored; each names the file or case).
    """
    reference_files = _volumes(references, kind="reference")
    if not reference_files:
        raise MissingPathError(references / "*.nii.gz", expected="at least one reference label map (.nii.gz or .nii)")
    prediction_files = _volumes(predictions, kind="prediction")
    _require_shared_names(predictions, reference_files, prediction_files)
    scans = []
    for case, path in reference_files.items():
        patient = patients.get(case) if patients else None
        scans.append(_score_files(case, patient, path, prediction_files.get(case)))
        if on_case:
            on_case(case)
    return Evaluation(name=name, scans=tuple(scans), summary=summarize(scans))


def _score_files(case: str, patient: str | None, reference: Path, prediction: Path | None) -> ScanScores:
    return score_scan(
        case=case,
        patient=patient,
        reference=read_labels(reference),
        prediction=read_labels(prediction) if prediction else None,
    )


def _volumes(folder: Path, *, kind: str) -> dict[str, Path]:
    if not folder.is_dir():
        raise MissingPathError(folder, expected=f"a folder of {kind} label maps")
    files: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        # Hidden files are half-written ones, or what macOS leaves beside real ones.
        if not path.name.endswith(SUFFIXES) or path.name.startswith("."):
            continue
        case = case_name(path)
        if case in files:
            found = f"{files[case].name} and {path.name}"
            raise InvalidValueError(f"{kind} of case '{case}' in {folder}", found, expected="one file per case")
        files[case] = path
    return dict(sorted(files.items()))


def _require_shared_names(folder: Path, references: Mapping[str, Path], predictions: Mapping[str, Path]) -> None:
    if references.keys() & predictions.keys():
        return
    first = next(iter(predictions), "nothing")
    expected = f"files named as the references, such as '{next(iter(references))}'"
    raise InvalidValueError(f"first prediction in {folder}", first, expected=expected)
