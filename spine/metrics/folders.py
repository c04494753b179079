"""Evaluating a folder of predictions against a folder of references, one score per reference."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from spine.errors import InvalidValueError, MissingPathError, SpinelineError
from spine.metrics.headers import needed_bytes, read_head, require_same_space
from spine.metrics.scans import score_scan
from spine.metrics.scores import Evaluation, ScanScores
from spine.metrics.summary import summarize
from spine.metrics.surfaces import require_perpendicular
from spine.volume.nifti import SUFFIXES, Volume, case_name, read_labels, to_canonical
from spine.workers import each

_NO_FILE = f"nothing that ends in {' or '.join(SUFFIXES)}"
Reader = Callable[[Path], Volume]
"""Reads a label map as uint8 in our ids."""


class WorkerEndedError(SpinelineError):
    """A process that scored a case was ended from outside, and again when it had the machine to itself."""

    def __init__(self, case: str) -> None:
        super().__init__(f"{case}: the process that scored it was killed; expected enough memory for this one case")


@dataclass(frozen=True)
class _Pair:
    case: str
    patient: str | None
    reference: Path
    prediction: Path | None


def evaluate_folders(
    *,
    references: Path,
    predictions: Path,
    name: str,
    patients: Mapping[str, str] | None = None,
    on_case: Callable[[str, int, int], None] | None = None,
    workers: int = 1,
    surfaces: bool = True,
    only_predicted: bool = False,
    read_reference: Reader = read_labels,
    read_prediction: Reader = read_labels,
) -> Evaluation:
    """Score every reference (``.nii`` or ``.nii.gz``) against the prediction of the same case name.

    A reference without a prediction scores 0 and is named; a prediction without a reference is not looked at. The two
    files of a case may store their axes in another order or direction, as tools do, if their voxels are the same.

    ``patients`` maps case to patient. ``on_case`` is told each case once it is scored, how many are, and of how many.
    Up to ``workers`` processes score at a time, as many as the free memory holds of the largest case by what headers
    say; the result doesn't depend on their number. ``surfaces`` adds NSD and HD95. ``read_reference`` and
    ``read_prediction``, picklable, read label maps that use other ids.

    ``only_predicted`` leaves references without a prediction out, as nnU-Net's evaluator does: then it is not known
    that none is missing.

    Raises MissingPathError (a folder is not there, or has no references), InvalidValueError (two files for one case;
    not one prediction, or not one case of the patients, named as a reference), UnreadableVolumeError, LabelValueError
    and GridMismatchError (a volume that can't be scored; each names the file or case), InvalidValueError (slanted axes,
    with ``surfaces``), WorkerEndedError. What headers tell is refused before the first case is scored.
    """
    pairs = _pairs(references, predictions, patients or {}, only_predicted=only_predicted)
    needed = [_checked(pair, surfaces=surfaces) for pair in pairs]
    work = partial(_score, surfaces=surfaces, read_reference=read_reference, read_prediction=read_prediction)
    on_crash = _give_up if workers > 1 else None
    scans: dict[int, ScanScores] = {}
    for index, scan in each(work, pairs, workers=workers, bytes_a_worker=max(needed), on_crash=on_crash):
        scans[index] = scan.model_copy(update={"missing": None}) if only_predicted else scan
        if on_case:
            on_case(scan.case, len(scans), len(pairs))
    ordered = tuple(scans[index] for index in sorted(scans))
    return Evaluation(name=name, scans=ordered, summary=summarize(ordered))


def _score(pair: _Pair, *, surfaces: bool, read_reference: Reader, read_prediction: Reader) -> ScanScores:
    reference = read_reference(pair.reference)
    prediction = read_prediction(pair.prediction) if pair.prediction else None
    if prediction and prediction.grid.orientation != reference.grid.orientation:
        reference, prediction = to_canonical(reference), to_canonical(prediction)
    return score_scan(
        case=pair.case, patient=pair.patient, reference=reference, prediction=prediction, surfaces=surfaces
    )


def _checked(pair: _Pair, *, surfaces: bool) -> int:
    """Return the memory that a case needs, in bytes, once its headers have shown that it can be scored."""
    reference = read_head(pair.reference)
    prediction = read_head(pair.prediction) if pair.prediction else None
    if prediction:
        require_same_space(pair.case, reference, prediction)
    if surfaces:
        require_perpendicular(case=pair.case, grid=reference.grid)
    return needed_bytes(reference, prediction)


def _give_up(pair: _Pair) -> ScanScores:
    raise WorkerEndedError(pair.case)


def _pairs(references: Path, predictions: Path, patients: Mapping[str, str], *, only_predicted: bool) -> list[_Pair]:
    reference_files = _volumes(references, kind="reference")
    if not reference_files:
        raise MissingPathError(references / "*.nii.gz", expected="at least one reference label map (.nii.gz or .nii)")
    prediction_files = _volumes(predictions, kind="prediction")
    if not reference_files.keys() & prediction_files.keys():
        expected = f"files named as the references, such as '{next(iter(reference_files))}'"
        raise InvalidValueError(
            f"first prediction in {predictions}", next(iter(prediction_files), _NO_FILE), expected=expected
        )
    if only_predicted:
        reference_files = {case: path for case, path in reference_files.items() if case in prediction_files}
    unknown = [case for case in reference_files if patients and case not in patients]
    if unknown:
        expected = f"a patient for every reference ({len(unknown)} have none)"
        raise InvalidValueError(f"patient of case '{unknown[0]}'", None, expected=expected)
    return [
        _Pair(case=case, patient=patients.get(case), reference=path, prediction=prediction_files.get(case))
        for case, path in reference_files.items()
    ]


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
